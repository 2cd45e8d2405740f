"""Pipeline: a job that does not do what its pipeline's jobs do."""

from __future__ import annotations

from typing import Any

from detector_kit import Worker, fair

from midflight.domain.finding import Strength
from midflight.domain.traits import Effect
from midflight.services.detectors.novelty import MAX_TOOLS
from midflight.services.detectors.pipeline import (
    FLOOR_BYTES,
    MORE,
    NEW_ORDER,
    TIMES,
    WARM_JOBS,
    Pipeline,
)

JOB = ["checkout", "build", "test", "push", "deploy"]
EFFECTS = ["push", "deploy"]


def warm(jobs: int = WARM_JOBS, **more: Any) -> Worker:
    """A pipeline whose jobs do the same."""
    worker = Worker(Pipeline(), pipeline=True, **more)
    for _ in range(jobs):
        worker.work(JOB, effects=EFFECTS)
    assert worker.said == []
    return worker


def test_jobs_as_ever_are_nothing_to_say() -> None:
    worker = warm()
    for number in range(40):
        worker.work(JOB[: 2 + number % 4], effects=EFFECTS)  # some end early
    assert worker.said == []


def test_a_new_call_that_changes_something_is_found_at_once() -> None:
    worker = warm()
    [said] = worker.work(["checkout", "build", "publish"], effects=["publish"])
    assert said.strength is Strength.FAIR
    assert said.seen == "first call of crm/publish by a job of this pipeline"
    assert said.usual == f"5 tools, in {WARM_JOBS} jobs on 1 days"
    assert said.after == 3


def test_a_new_call_that_reads_is_a_note() -> None:
    worker = warm()
    said = worker.work(["checkout", "read_secret"])
    assert [each.strength for each in said] == [Strength.WEAK]


def test_what_was_found_is_not_learned() -> None:
    worker = warm()
    for _ in range(5):
        assert fair(worker.work(["publish"], effects=["publish"]))


def test_a_pipeline_that_is_never_the_same_gets_notes() -> None:
    worker = Worker(Pipeline(), pipeline=True)
    for number in range(80):
        worker.work(["checkout", f"step_{number}"], effects=[f"step_{number}"])
    assert worker.said
    assert fair([each for _, each in worker.said]) == []


def test_another_order_is_found_after_three_calls() -> None:
    worker = warm(60)
    said = worker.work(["deploy", "test", "checkout", "push", "build"], effects=EFFECTS)
    [found] = fair(said)
    assert found.after == NEW_ORDER
    assert "in an order that no job had, the last: crm/test > crm/checkout" in found.seen
    assert len(found.records) == NEW_ORDER


def test_one_call_out_of_order_is_a_note() -> None:
    worker = warm(60)
    said = worker.work(["checkout", "build", "test", "test", "push", "deploy"], effects=EFFECTS)
    assert [each.strength for each in said] == [Strength.WEAK]


def test_a_tool_that_is_called_more_often_is_found() -> None:
    worker = warm()
    [found] = fair(worker.work(["checkout"] + ["build"] * 20))
    assert found.after == 1 + (1 + MORE) + 1
    assert found.seen == f"{MORE + 2} calls of crm/build by one job"
    assert found.usual.startswith(f"at most 1, in {WARM_JOBS} jobs")


def test_a_new_tool_that_reads_is_found_when_it_is_called_often() -> None:
    worker = warm()
    [found] = fair(worker.work(["read_secret"] * 20))
    assert found.after == MORE + 1


def test_what_a_job_usually_does_often_it_may_do_often() -> None:
    worker = Worker(Pipeline(), pipeline=True)
    for _ in range(WARM_JOBS):
        worker.work(["upload"] * 50, effects=["upload"])
    [found] = fair(worker.work(["upload"] * 200, effects=["upload"]))
    assert found.after == 50 * TIMES + 1
    assert worker.work(["upload"] * int(50 * TIMES), effects=["upload"]) == []


def test_a_job_that_sends_more_is_found() -> None:
    worker = warm()
    [found] = fair(worker.work(JOB, effects=EFFECTS, sent=FLOOR_BYTES // 3))
    assert found.seen == f"{FLOOR_BYTES // 3 * 4:,} bytes sent by one job"


def test_nothing_is_said_in_warm_up() -> None:
    worker = Worker(Pipeline(), pipeline=True)
    for number in range(WARM_JOBS):
        worker.work([f"step_{number}"] * 100, effects=[f"step_{number}"], sent=FLOOR_BYTES)
    assert worker.said == []


def test_what_is_no_pipeline_is_left_to_others() -> None:
    worker = Worker(Pipeline())
    for _ in range(WARM_JOBS * 2):
        worker.work(JOB, effects=EFFECTS)
    worker.call("publish", worker.open(), effect=Effect.SEND)
    assert worker.said == []
    pipeline = worker.detectors[0]
    assert isinstance(pipeline, Pipeline)
    assert pipeline.memory.usual(worker.workload) is None


def test_what_is_known_is_bounded() -> None:
    pipeline = Pipeline()
    worker = Worker(pipeline, pipeline=True)
    for number in range(4):
        worker.work([f"step_{number}_{each}" for each in range(2 * MAX_TOOLS)])
    usual = pipeline.memory.usual(worker.workload)
    assert usual is not None
    assert len(usual.tools) == MAX_TOOLS
    assert set(usual.most) <= set(usual.tools)


def test_what_is_usual_is_said_in_words() -> None:
    worker = warm()
    pipeline = worker.detectors[0]
    assert isinstance(pipeline, Pipeline)
    usual = pipeline.memory.usual(worker.workload)
    assert usual is not None
    said = list(pipeline.say(usual))
    assert said[0] == f"crm/build: at most 1 calls a job, in {WARM_JOBS} jobs"
    assert said[-1] == f"a tool that is new once in {WARM_JOBS + 1} jobs"
