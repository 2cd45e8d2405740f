"""Novelty: a tool, an upstream, a host or an hour that never was."""

from __future__ import annotations

from detector_kit import DAY_S, Worker, event, fair, strongest

from midflight.domain.finding import Strength
from midflight.domain.traits import Effect
from midflight.services.detectors.novelty import (
    FEW,
    MAX_HOSTS,
    MAX_NAME,
    MAX_SAID,
    MAX_TOOLS,
    WARM_DAYS,
    WARM_RUNS,
    Known,
    Novelty,
    expected,
    short,
    tool_of,
)

NAMES = ["look", "list", "write"]


def warm(runs: int = WARM_RUNS, **more: object) -> Worker:
    """A workload that does the same in every run."""
    worker = Worker(Novelty(), **more)
    for _ in range(runs):
        worker.work(NAMES, effects=["write"])
    assert worker.said == []
    return worker


def test_a_tool_that_was_never_used_is_worth_a_note() -> None:
    worker = warm()
    [said] = worker.work(["look", "export", "export"])
    assert said.strength is Strength.WEAK
    assert said.seen == "first use of crm/export"
    assert said.usual == "3 tools in 20 runs on 1 days"
    assert len(said.records) == 1
    assert worker.work(["export"]) == []  # the run has ended, and taught it


def test_an_upstream_that_was_never_used_is_named() -> None:
    worker = warm()
    run = worker.open()
    said = worker.call("fetch", run, upstream="web")
    assert [each.seen for each in said] == ["first use of the upstream web"]


def test_several_new_tools_that_change_something_are_more_than_a_note() -> None:
    worker = warm()
    new = [f"new_{number}" for number in range(FEW)]
    said = worker.work(["look", *new], effects=new)
    assert [each.strength for each in said] == [Strength.WEAK] * (FEW - 1) + [Strength.FAIR]
    assert f"{FEW} new tools that change something within one run" in said[-1].seen
    assert said[-1].after == FEW
    assert len(said[-1].records) == FEW
    assert worker.work(new, effects=new)[-1].strength is Strength.FAIR  # nothing was learned of it


def test_new_tools_that_read_are_notes() -> None:
    worker = warm()
    assert strongest(worker.work([f"new_{number}" for number in range(20)])) == Strength.WEAK


def test_notes_about_one_run_are_bounded() -> None:
    worker = warm()
    assert len(worker.work([f"new_{number}" for number in range(100)])) == MAX_SAID


def test_a_workload_that_still_finds_its_tools_is_not_found_for_it() -> None:
    worker = Worker(Novelty())
    for number in range(60):
        new = [f"tool_{number}_{each}" for each in range(FEW)]
        worker.work(["look", *new], effects=new)
    assert fair([each for _, each in worker.said]) == []


def test_a_new_workload_gets_no_word() -> None:
    worker = Worker(Novelty())
    for number in range(WARM_RUNS):
        worker.work([f"tool_{number}"], effects=[f"tool_{number}"])
    assert worker.said == []


def test_another_host_is_worth_a_note_where_hosts_stay_the_same() -> None:
    worker = warm()
    said = worker.call("look", worker.open(), peer="203.0.113.9")
    assert [each.seen for each in said] == ["first use from another host"]


def test_hosts_that_change_with_every_run_are_not() -> None:
    worker = Worker(Novelty())
    for number in range(60):
        run = worker.open()
        worker.call("look", run, peer=f"10.0.0.{number}")
        worker.end(run)
        worker.wait(600)
    assert worker.said == []


def test_an_hour_that_never_was_is_worth_a_note() -> None:
    worker = Worker(Novelty())
    for _ in range(WARM_DAYS):
        worker.work(NAMES, after=0)
        worker.work(NAMES, after=DAY_S)
    assert worker.said == []
    assert worker.work(NAMES, after=0) == []  # Monday at nine
    worker.wait(13 * 3_600)  # in the evening
    assert [each.seen for each in worker.work(NAMES)] == ["first use at this hour of the week"]


def test_an_hour_beside_one_that_was_is_not() -> None:
    worker = Worker(Novelty())
    for _ in range(2 * WARM_DAYS):
        worker.work(NAMES, after=DAY_S)
    worker.wait(3_600)
    assert worker.work(NAMES) == []


def test_an_hour_is_nothing_new_before_two_weeks() -> None:
    worker = warm()
    worker.wait(13 * 3_600)
    assert worker.work(NAMES) == []


def test_pipelines_and_names_that_nobody_serves_are_left_to_others() -> None:
    worker = warm()
    run = worker.open()
    assert worker.call("export", run, pipeline=True) == []
    assert worker.see(event("export", run=run, known=False)) == []


def test_names_without_end_go_by_their_kind() -> None:
    assert tool_of(event("file:///a", kind="read_resource")) == "crm/*read_resource"
    assert tool_of(event("look")) == "crm/look"
    long = short("x" * 10_000)
    assert len(long) == MAX_NAME
    assert long != short("x" * 10_001)


def test_what_is_known_is_bounded_and_the_oldest_goes() -> None:
    novelty = Novelty()
    worker = Worker(novelty)
    for number in range(MAX_TOOLS + 40):
        run = worker.open()
        worker.call(f"tool_{number:03}", run, peer=f"10.0.0.{number}")
        worker.end(run)
        worker.wait(DAY_S)
    usual = novelty.memory.usual(worker.workload)
    assert usual is not None
    assert (len(usual.tools), len(usual.hosts)) == (MAX_TOOLS, MAX_HOSTS)
    assert "crm/tool_000" not in usual.tools
    assert f"crm/tool_{MAX_TOOLS + 39}" in usual.tools


def test_how_often_something_is_new_is_estimated() -> None:
    known = {"a": Known(runs=40), "b": Known(runs=1), "c": Known(runs=7)}
    assert expected(known, 39) == 2 / 40
    assert expected({}, 0) == 1.0


def test_what_is_usual_is_said_in_words() -> None:
    worker = warm()
    novelty = worker.detectors[0]
    assert isinstance(novelty, Novelty)
    usual = novelty.memory.usual(worker.workload)
    assert usual is not None
    assert list(novelty.say(usual)) == [
        "tools (3): crm/list, crm/look, crm/write",
        "hosts (1): 10.0.0.1",
        "active in 4 of the 168 hours of a week (UTC)",
        "a tool that is new once in 21 runs",
    ]


def test_effects_that_were_known_do_not_count_as_new() -> None:
    worker = warm()
    run = worker.open()
    for _ in range(10):
        worker.call("write", run, effect=Effect.WRITE)
    assert worker.said == []
