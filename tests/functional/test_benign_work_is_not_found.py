"""Honest work, weeks of it, before all detectors as they are set: nothing above a note.

The scripts are in `benign/`: a coding agent, a support agent, a job of a CI system, a nightly
report and a pipeline of data, at the speed of people and of machines, with failures, refusals and
growth. `bench detect` asks the same of recorded runs. That these detectors are awake is shown by
what is found when the same workloads are turned.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from benign_kit import DAY_S, MONDAY, Ended, Workload, workloads

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.event import Event
from midflight.domain.finding import Finding, Strength
from midflight.domain.traits import Effect, Reach
from midflight.services.baselines import Baseline
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.standard import standard
from midflight.testing import FakeClock, MemoryPlane, ScriptedUpstream

pytestmark = pytest.mark.anyio

BENIGN = Path(__file__).parent / "benign"
WEEKS = 5
RESTARTS = {9, 10, 24}
"""Days on which the plane is started anew, in the middle of the day."""
NAMES = ["ci_job", "coding_agent", "data_pipeline", "nightly_report", "support_agent"]


class Office:
    """A plane with all detectors, that is shown events; it outlives its restarts."""

    def __init__(self) -> None:
        self.clock = FakeClock(MONDAY)
        self.found: list[Finding] = []
        self.runs: set[str] = set()
        self.plane = self._plane()

    def _plane(self, **parts: Any) -> MemoryPlane:
        plane = MemoryPlane(
            upstream=ScriptedUpstream("one", []),
            clock=self.clock,
            detectors=standard(),
            plain=Plain(sequence_rules()),
            **parts,
        )
        plane.detection.respond_with(self.found.append)
        return plane

    async def restart(self) -> None:
        before = self.plane
        await before.baselines.save()
        await before.close()
        self.plane = self._plane(store=before.store, ledger_store=before.ledger_store)
        await self.plane.start(register=False)

    async def work(self, who: Workload, days: range) -> None:
        for day in days:
            events = list(who.day(day))
            for place, each in enumerate(events):
                if day in RESTARTS and place == len(events) // 2:
                    await self.restart()
                self.show(each)

    def show(self, each: Event | Ended) -> None:
        if isinstance(each, Ended):
            self.plane.detection.run_ended(each.run)
        else:
            self.runs.add(each.run)
            self.plane.detection.see(each)

    @property
    def fair(self) -> list[Finding]:
        return [each for each in self.found if each.strength >= Strength.FAIR]

    def known(self, who: Workload) -> Baseline:
        return self.plane.baselines.show(who.id)


async def worked(*names: str, weeks: int = WEEKS, seed: int = 1) -> tuple[Office, list[Workload]]:
    office = Office()
    await office.plane.start()
    chosen = [each for each in workloads(BENIGN, seed=seed) if each.name in names]
    for who in chosen:
        await office.work(who, range(7 * weeks))
    return office, chosen


def test_every_script_is_gone_through() -> None:
    assert [each.name for each in workloads(BENIGN)] == NAMES


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("name", NAMES)
async def test_weeks_of_honest_work_get_nothing_above_a_note(name: str, seed: int) -> None:
    office, [who] = await worked(name, seed=seed)
    assert office.fair == []
    # One run in twenty may get a note; and all that learns has learned, over the restarts.
    noted = {each.run for each in office.found}
    assert len(noted) <= max(5, len(office.runs) / 20)
    learned = office.known(who).detectors
    assert {each.detector for each in learned} >= {"burst"}
    assert all(each.warm and each.runs > 0.9 * len(office.runs) for each in learned)
    await office.plane.close()


async def test_all_of_one_owner_side_by_side_get_nothing_above_a_note() -> None:
    office = Office()
    await office.plane.start()
    everyone = workloads(BENIGN, seed=4)
    for day in range(14):
        today = [each for who in everyone for each in _timed(who, day)]
        for _, _, each in sorted(today, key=lambda timed: timed[:2]):
            office.show(each)
    assert office.fair == []
    await office.plane.close()


def _timed(who: Workload, day: int) -> list[tuple[float, int, Event | Ended]]:
    at, timed = 0.0, list[tuple[float, int, Event | Ended]]()
    for place, each in enumerate(who.day(day)):
        at = each.at if isinstance(each, Event) else at
        timed.append((at, place, each))
    return timed


TURNED: dict[str, list[tuple[str, str, str]]] = {
    "burst": [("read_rows", "read", "closed")] * 400,
    "novelty": [(name, "write", "closed") for name in ("grant_role", "add_key", "export_all")],
    "sequence": [
        *((name, "read", "closed") for name in ("users", "roles", "keys")),
        ("grant", "grant", "closed"),
        ("transfer", "pay", "open"),
    ],
}


@pytest.mark.parametrize("detector", TURNED)
async def test_the_same_workload_is_found_when_it_is_turned(detector: str) -> None:
    """Else the tests above could pass because nothing is ever said."""
    office, [who] = await worked("nightly_report", weeks=4)
    [first, *_] = [each for each in who.day(28) if isinstance(each, Event)]
    at = MONDAY + 28 * DAY_S + 10 * 3_600
    for number, (name, effect, reach) in enumerate(TURNED[detector]):
        event = msgspec.structs.replace(
            first, name=name, effect=Effect[effect.upper()], reach=Reach[reach.upper()],
            run="run_x", family="run_x", at=at + number, mono=at + number - MONDAY,
            digest=f"x{number}",
        )  # fmt: skip
        office.show(event)
    assert detector in {each.detector for each in office.fair}
    await office.plane.close()


async def test_a_job_that_is_turned_is_found() -> None:
    office, [who] = await worked("ci_job", weeks=4)
    [first, *_] = [each for each in who.day(28) if isinstance(each, Event)]
    office.show(msgspec.structs.replace(first, name="publish_key", effect=Effect.SEND, run="x"))
    [finding] = office.fair
    assert finding.detector == "pipeline"
    await office.plane.close()
