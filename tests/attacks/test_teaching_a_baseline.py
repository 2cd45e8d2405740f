"""Whoever has taken a workload over makes what he is about to do look usual first.

Each ends in a finding, or in the bound that docs/detectors.md gives.
"""

from __future__ import annotations

import math

import pytest
from detector_kit import AGENT, DAY_S, Worker, fair

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import NotFound
from midflight.domain.finding import Finding, Strength
from midflight.domain.records import Found
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.baselines import Baselines
from midflight.services.detectors.burst import FAIR_TIMES, MEASURES, WARM_RUNS, Burst
from midflight.services.detectors.novelty import FEW, Novelty
from midflight.services.detectors.peaks import MONTH_DAYS, RISE
from midflight.services.detectors.pipeline import WARM_JOBS, Pipeline
from midflight.services.detectors.standard import standard
from midflight.services.guard import Performed
from midflight.testing import (
    OPERATOR,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

USUAL = 20
"""Calls of an honest run, within a minute."""


def honest(*, runs: int = WARM_RUNS) -> tuple[Worker, Burst]:
    burst = Burst()
    worker = Worker(burst)
    for _ in range(runs):
        worker.work(["look"] * USUAL, pause=2.0)
    assert worker.said == []
    return worker, burst


def usual_calls(burst: Burst) -> float:
    usual = burst.memory.usual(AGENT)
    assert usual is not None
    return usual.peaks[0].high


def test_a_rate_that_rises_slowly_within_a_run() -> None:
    worker, burst = honest()
    run, pause, calls = worker.open(), 3.0, 0
    before = usual_calls(burst)
    while not fair(worker.call("look", run)):
        calls += 1
        pause *= 0.995  # hardly faster each time
        worker.wait(pause)
    assert usual_calls(burst) == before
    # Nothing that a run does moves what it is held against, however slowly it goes.
    assert calls <= MEASURES[3].floor
    worker.end(run)
    assert usual_calls(burst) == before


async def test_a_rate_that_rises_slowly_is_in_the_ledger_before_it_is_too_high() -> None:
    clock = FakeClock()
    upstream = ScriptedUpstream("one", [{"name": "look", "inputSchema": {"type": "object"}}])
    plane = MemoryPlane(upstream=upstream, clock=clock, detectors=standard())
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    workload = plane.inventory.current(caller().workload)
    assert workload is not None

    async def run(calls: int, pause: float, faster: float = 1.0) -> None:
        opened = await plane.runs.open_run(workload=workload, intent="Work.", author=OPERATOR)
        for _ in range(calls):
            done = await plane.guard.perform(call("look"), caller(opened.id), sink=ListSink())
            assert isinstance(done, Performed)
            clock.advance(pause)
            pause *= faster
        await plane.runs.close_run(opened.id, author=OPERATOR)
        clock.advance(120)

    for _ in range(WARM_RUNS):
        await run(USUAL, 2.0)
    await run(150, 3.0, 0.99)
    records = await plane.records()
    found = [each.finding for each in records if isinstance(each, Found)]
    assert next(each.detector for each in found if each.strength >= Strength.FAIR) == "burst"
    await plane.close()


def test_a_rate_that_rises_from_run_to_run_within_a_day() -> None:
    worker, burst = honest()
    calls = float(USUAL)
    for _ in range(100):
        calls = min(calls * 1.1, USUAL * 2.9)
        worker.work(["look"] * int(calls), pause=0.5, after=120)
    # However many runs it takes, a day teaches half as much again.
    assert usual_calls(burst) <= USUAL * RISE
    run = worker.open()
    number = 1
    while not fair(worker.call("look", run)):
        number += 1
    assert number <= USUAL * RISE * FAIR_TIMES + 1


def test_how_long_a_patient_teacher_needs() -> None:
    worker, burst = honest()
    days = 0
    while usual_calls(burst) < 10 * USUAL:
        worker.at = math.ceil(worker.at / DAY_S) * DAY_S
        days += 1
        limit = int(usual_calls(burst) * RISE)
        for _ in range(2):
            worker.work(["look"] * limit, pause=0.01, after=700)
    # Each day stays below what is found, and half as much again on each would be six of them.
    assert math.log(10) / math.log(RISE) < 6
    assert days >= 3 * MONTH_DAYS - 1


def test_a_second_run_that_learns_from_the_first_ones_burst() -> None:
    worker, burst = honest()
    before = usual_calls(burst)
    bystander, bad = worker.open(), worker.open()
    worker.call("look", bystander)
    while not fair(worker.call("look", bad)):
        pass
    worker.call("look", bystander)  # sees the window of the whole workload
    late = worker.open()
    worker.call("look", late)
    for run in (bystander, bad, late):
        worker.end(run)
    assert usual_calls(burst) == before


def test_ending_the_run_before_it_is_found_and_beginning_anew() -> None:
    worker, _ = honest()
    number = 0
    while True:
        run = worker.open()
        said = [each for _ in range(5) for each in worker.call("look", run)]
        number += 5
        worker.end(run)
        if fair(said):
            break
    assert number <= USUAL * FAIR_TIMES * RISE + 5


async def test_a_restart_that_makes_a_finding_forgotten() -> None:
    store = MemoryStore()
    await store.open()
    clock = FakeClock()
    upstream = ScriptedUpstream("one", [{"name": "look", "inputSchema": {"type": "object"}}])

    def plane() -> MemoryPlane:
        return MemoryPlane(upstream=upstream, clock=clock, detectors=standard(), store=store)

    first = plane()
    await first.start()
    await first.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    workload = first.inventory.current(caller().workload)
    assert workload is not None
    run = await first.runs.open_run(workload=workload, intent="Work.", author=OPERATOR)
    await first.guard.perform(call("look"), caller(run.id), sink=ListSink())
    first.detection.found(
        Finding(
            id="fnd_1",
            at=clock.now(),
            detector="probing",
            strength=Strength.FAIR,
            seen="8 refusals",
            workload=workload.id,
            run=run.id,
        )
    )
    await first.close()
    second = plane()
    await second.start(register=False)
    for _ in range(20):
        await second.guard.perform(call("look"), caller(run.id), sink=ListSink())
    await second.runs.close_run(run.id, author=OPERATOR)
    with pytest.raises(NotFound, match="Nothing is known"):
        second.baselines.show(workload.id)
    await second.close()


async def test_a_run_that_a_person_stopped_teaches_nothing() -> None:
    clock = FakeClock()
    upstream = ScriptedUpstream("one", [{"name": "look", "inputSchema": {"type": "object"}}])
    plane = MemoryPlane(upstream=upstream, clock=clock, detectors=standard())
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    workload = plane.inventory.current(caller().workload)
    assert workload is not None
    for revoked in (True, False):
        run = await plane.runs.open_run(workload=workload, intent="Work.", author=OPERATOR)
        await plane.guard.perform(call("look"), caller(run.id), sink=ListSink())
        if revoked:
            scope = Scope(kind=ScopeKind.RUN, id=run.id)
            revocation = await plane.interruption.revoke(scope, reason="r", author=OPERATOR)
            await plane.runs.revoked(revocation.revocation)
            with pytest.raises(NotFound, match="Nothing is known"):
                plane.baselines.show(workload.id)
        else:
            await plane.runs.close_run(run.id, author=OPERATOR)
    assert plane.baselines.show(workload.id).detectors[0].runs == 1
    await plane.close()


def test_making_tools_known_one_after_the_other() -> None:
    worker = Worker(Novelty())
    for _ in range(WARM_RUNS):
        worker.work(["look", "write"], effects=["write"])
    noted = 0
    for number in range(10):
        new = [f"tool_{number}_{each}" for each in range(FEW - 1)]
        noted += len(worker.work(["look", *new], effects=new))
    # Below what is more than a note, each is in the ledger all the same.
    assert noted == 10 * (FEW - 1)


def test_making_a_call_known_in_a_job_that_does_nothing_else() -> None:
    worker = Worker(Pipeline(), pipeline=True)
    for _ in range(WARM_JOBS):
        worker.work(["checkout", "test"])
    for _ in range(20):
        assert fair(worker.work(["publish"], effects=["publish"]))


async def test_a_detector_that_looks_later_learns_nothing_either() -> None:
    # Of the detectors in turn, the first one's finding is told before the last one has seen any.
    detectors = standard()
    baselines = Baselines(
        detectors,
        store=MemoryStore(),
        recorder=MemoryPlane(upstream=ScriptedUpstream("one", [])).ledger,
        clock=FakeClock(),
    )
    baselines.found(
        Finding(
            id="fnd_1",
            at=0.0,
            detector="signal",
            strength=Strength.FAIR,
            seen="s",
            workload=AGENT,
            run="run_one_1",
        )
    )
    worker = Worker(*detectors)
    worker.work(["look"] * 5)
    with pytest.raises(NotFound, match="Nothing is known"):
        baselines.show(AGENT)


def test_a_clock_that_is_set_to_and_fro_makes_no_day_of_each_step() -> None:
    worker, burst = honest()
    usual = burst.memory.usual(worker.workload)
    assert usual is not None
    began, days = usual_calls(burst), usual.days
    for step in range(40):
        run = worker.open()
        for _ in range(int(2.9 * usual_calls(burst))):
            worker.call("look", run, at=worker.at + (step % 2) * 5 * 86_400.0)
        worker.end(run)
        worker.wait(120)
    assert usual.days <= days + 2
    assert usual_calls(burst) <= began * RISE**3
