"""Names and runs without end, so that memory runs out or what is known is pushed out.

Each ends in a bound that holds, whatever comes.
"""

from __future__ import annotations

import msgspec
import pytest
from detector_kit import AGENT, Worker, event, fair

from midflight.domain.errors import NotFound
from midflight.services.detectors.burst import WARM_RUNS, Burst
from midflight.services.detectors.learning import (
    MAX_RUNS,
    MAX_WORKLOADS,
    PARTS,
    Learner,
    part_of,
)
from midflight.services.detectors.novelty import MAX_HOSTS, MAX_NAME, MAX_TOOLS, Novelty
from midflight.services.detectors.pipeline import MAX_STEPS, Pipeline
from midflight.services.detectors.standard import standard
from midflight.testing import OPERATOR, ListSink, MemoryPlane, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio

BYTES_OF_A_WORKLOAD = 250_000
"""What one workload can make of all baselines at most, as stored."""


def learners() -> list[Learner]:
    return [each for each in standard() if isinstance(each, Learner)]


def test_workloads_that_nobody_registered() -> None:
    for detector in learners():
        for number in range(5_000):
            detector.see(
                event(
                    workload=f"spiffe://example.org/{number}", owner="", run=f"run_{number}",
                    pipeline=number % 2 == 0,
                )
            )  # fmt: skip
        assert detector.memory.sizes() == (0, 0, 0)


def test_more_workloads_than_there_is_room_for() -> None:
    for detector in learners():
        for number in range(MAX_WORKLOADS + 200):
            for pipeline in (True, False):
                run = f"run_{number}_{pipeline}"
                detector.see(
                    event(workload=f"spiffe://example.org/{number}", run=run, pipeline=pipeline)
                )
                detector.run_ended(run)
        assert detector.memory.sizes() == (MAX_WORKLOADS, 0, 0)
        kept = [detector.memory.save(part) for part in range(PARTS)]
        assert sum(map(len, kept)) == MAX_WORKLOADS


def test_more_runs_than_there_is_room_for() -> None:
    for detector in learners():
        for number in range(MAX_RUNS + 500):
            detector.see(event(run=f"run_{number}", pipeline=detector.name == "pipeline"))
        workloads, runs, suspects = detector.memory.sizes()
        assert (workloads, runs, suspects) == (1, MAX_RUNS, 500)


def test_runs_of_one_workload_do_not_push_out_those_of_others() -> None:
    """Else the others would never be learned from: a warm-up without an end."""
    for detector in learners():
        pipeline = detector.name == "pipeline"
        other = "spiffe://example.org/agents/other"
        for number in range(50):
            detector.see(event(run=f"other_{number}", workload=other, pipeline=pipeline))
        for number in range(3 * MAX_RUNS):
            detector.see(event(run=f"run_{number}", pipeline=pipeline))
        for number in range(50):
            detector.run_ended(f"other_{number}")
        usual = detector.memory.usual(other)
        assert usual is not None
        assert usual.runs == 50
        assert detector.memory.sizes()[1] <= MAX_RUNS


def test_pushing_a_run_out_teaches_nothing_and_ends_no_window() -> None:
    worker = Worker(Burst())
    for _ in range(WARM_RUNS):
        worker.work(["look"] * 20, pause=2.0)
    runs = 1
    while not fair(worker.call("look", worker.open())):  # one call a run: none is unusual alone
        runs += 1
    assert runs == 61


def test_names_without_end() -> None:
    for detector in learners():
        worker = Worker(detector, pipeline=detector.name == "pipeline")
        for run_number in range(3):
            run = worker.open()
            for number in range(1_500):
                worker.call(
                    f"{run_number}_{number}" + "x" * 4_000,
                    run,
                    upstream=f"upstream-{number}",
                    peer=f"10.{run_number}.{number // 256}.{number % 256}",
                )
            worker.end(run)
        saved = msgspec.json.encode(detector.memory.save(part_of(AGENT)))
        assert len(saved) < BYTES_OF_A_WORKLOAD


def test_what_names_are_kept_of_a_workload() -> None:
    novelty, pipeline = Novelty(), Pipeline()
    for detector, is_pipeline in ((novelty, False), (pipeline, True)):
        worker = Worker(detector, pipeline=is_pipeline)
        for number in range(4):
            worker.work([f"{number}_{each}" + "y" * 4_000 for each in range(400)], pause=0)
    known = novelty.memory.usual(AGENT)
    assert known is not None
    assert len(known.tools) == MAX_TOOLS
    assert len(known.hosts) <= MAX_HOSTS
    assert max(map(len, known.tools)) <= MAX_NAME
    jobs = pipeline.memory.usual(AGENT)
    assert jobs is not None
    assert (len(jobs.tools), len(jobs.steps)) == (MAX_TOOLS, MAX_STEPS)


async def test_tools_that_nobody_serves_are_not_learned() -> None:
    upstream = ScriptedUpstream("one", [])
    plane = MemoryPlane(upstream=upstream, detectors=standard())
    await plane.start()
    for number in range(300):
        await plane.guard.perform(call(f"no_such_{number}"), caller(), sink=ListSink())
    for live in plane.runs.known():
        await plane.runs.close_run(live.run.id, author=OPERATOR)
    with pytest.raises(NotFound):
        plane.baselines.show(caller().workload + "x")
    for detector in plane.baselines.show(caller().workload).detectors:
        assert not any("no_such" in words for words in detector.usual)
    await plane.close()
