"""Misuse by script, through the real guard: found within the number of actions that docs say."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Caller, Workload
from midflight.domain.records import Found
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.detectors.burst import FAIR_TIMES, MEASURES
from midflight.services.detectors.burst import WARM_RUNS as BURST_RUNS
from midflight.services.detectors.novelty import FEW, WARM_RUNS
from midflight.services.detectors.pipeline import NEW_ORDER, WARM_JOBS
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.standard import standard
from midflight.services.guard import Performed
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

READS = ("look", "list", "checkout", "test")
WRITES = ("write", "send", "grant", "remove", "deploy")
CI = "spiffe://test.midflight.internal/ci/release"


class Office:
    """A plane with the standard detectors, and what they found of more than a note."""

    def __init__(self, plane: MemoryPlane, clock: FakeClock) -> None:
        self.plane = plane
        self.clock = clock
        self.found: list[Finding] = []
        plane.detection.respond_with(self.found.append)

    @property
    def fair(self) -> list[Finding]:
        return [each for each in self.found if each.strength >= Strength.FAIR]

    async def open(self, workload: str = WORKLOAD) -> Caller:
        registered = self.plane.inventory.current(workload)
        assert registered is not None
        run = await self.plane.runs.open_run(workload=registered, intent="Work.", author=OPERATOR)
        return caller(run.id, workload=workload)

    async def call(self, who: Caller, name: str) -> None:
        done = await self.plane.guard.perform(call(name), who, sink=ListSink())
        assert isinstance(done, Performed)

    async def close(self, who: Caller) -> None:
        assert who.run is not None
        await self.plane.runs.close_run(who.run, author=OPERATOR)

    async def work(
        self, *names: str, workload: str = WORKLOAD, pause: float = 5.0
    ) -> list[Finding]:
        """A whole run; what was found in it of more than a note."""
        before = len(self.fair)
        who = await self.open(workload)
        for name in names:
            await self.call(who, name)
            self.clock.advance(pause)
        await self.close(who)
        self.clock.advance(120)
        return self.fair[before:]


async def office(**parts: Any) -> Office:
    names = (*READS, *WRITES)
    upstream = ScriptedUpstream(
        "one", [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    )
    clock = FakeClock()
    plain = Plain(sequence_rules())
    plane = MemoryPlane(upstream=upstream, clock=clock, detectors=standard(), plain=plain, **parts)
    await plane.start()
    for name in names:
        effect = Effect.READ if name in READS else Effect.WRITE
        await plane.pin(name, Traits(effect=effect, reach=Reach.CLOSED, reviewed=True))
    review_by = int(clock.now()) + 86_400
    await plane.inventory.register(
        Workload(id=CI, owner="release", escalation="oncall", review_by=review_by, kind="pipeline"),
        OPERATOR,
    )
    return Office(plane, clock)


async def test_a_burst_is_found_before_the_call_that_is_too_much_leaves() -> None:
    work = await office()
    for _ in range(BURST_RUNS):
        await work.work(*["look", "list"] * 5, "write")
    assert work.found == []
    who = await work.open()
    left = len(work.plane.upstream.received)
    while not work.fair:
        await work.call(who, "look")
    [finding] = work.fair
    most = max(MEASURES[0].floor, 11 * FAIR_TIMES)  # eleven calls within a minute are usual
    assert finding.after == most + 1 == len(work.plane.upstream.received) - left
    assert finding.detector == "burst"
    assert (finding.workload, finding.owner, finding.run) == (WORKLOAD, "team-one", who.run)
    assert finding.usual == f"at most 11 within 60 seconds, in {BURST_RUNS} runs on 1 days"
    await work.plane.close()


async def test_new_effects_within_one_run_are_found() -> None:
    work = await office()
    for _ in range(WARM_RUNS):
        await work.work("look", "list", "write")
    [finding] = await work.work("look", "send", "grant", "remove")
    assert (finding.detector, finding.after) == ("novelty", FEW)
    assert len(finding.records) == FEW
    await work.plane.close()


async def test_a_job_that_is_as_ever_is_told_from_one_that_was_taken_over() -> None:
    work = await office()
    job = ("checkout", "test", "deploy")
    for _ in range(WARM_JOBS):
        assert await work.work(*job, workload=CI, pause=1.0) == []
    for number in range(10):  # some end early
        assert await work.work(*job[: 1 + number % 3], workload=CI) == []
    assert work.found == []
    [finding] = await work.work("checkout", "grant", workload=CI)
    assert (finding.detector, finding.name, finding.after) == ("pipeline", "grant", 2)
    for _ in range(50):
        await work.work(*job, workload=CI, pause=1.0)
    [finding] = await work.work("deploy", "checkout", "deploy", "test", workload=CI)
    assert (finding.detector, finding.after) == ("pipeline", NEW_ORDER)
    await work.plane.close()


async def test_findings_are_in_the_ledger_with_the_records_that_show_them() -> None:
    work = await office()
    for _ in range(WARM_JOBS):
        await work.work("checkout", workload=CI)
    await work.work("checkout", "grant", workload=CI)
    records = await work.plane.records()
    [found] = [each.finding for each in records if isinstance(each, Found)]
    assert (found.upstream, found.name) == ("one", "grant")
    for record in found.records:
        await work.plane.ledger.read(record)
    await work.plane.close()


async def test_what_was_learned_holds_after_a_restart() -> None:
    work = await office()
    for _ in range(WARM_JOBS):
        await work.work("checkout", workload=CI)
    who = await work.open(CI)
    await work.call(who, "checkout")
    await work.plane.close()
    again = MemoryPlane(
        upstream=work.plane.upstream,
        clock=work.clock,
        detectors=standard(),
        store=work.plane.store,
        ledger_store=work.plane.ledger_store,
    )
    await again.start(register=False)
    restarted = Office(again, work.clock)
    await restarted.call(who, "deploy")
    [finding] = restarted.fair
    assert (finding.detector, finding.name) == ("pipeline", "deploy")
    await again.close()
