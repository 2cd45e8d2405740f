"""A detector that can be made to fail must not keep runs from ending, nor silence the others.

Nor must what follows from a finding, where that fails: all others are told, the action that it is
about does not leave, and has one record.
"""

from __future__ import annotations

import msgspec
import pytest
from plain_kit import ended
from response_kit import Pointing, held_family

from midflight.domain.event import Event
from midflight.domain.finding import Finding, Sighting, Strength
from midflight.domain.records import Found, Intent, Outcome
from midflight.domain.tool import PinnedKind
from midflight.services.detectors.drift import Drift
from midflight.services.guard import Performed, Refused
from midflight.testing import OPERATOR, ListSink, call, caller

pytestmark = pytest.mark.anyio


class Breaking(Pointing):
    def run_ended(self, run: str) -> None:
        raise KeyError(run)


class Hearing(Pointing):
    def __init__(self) -> None:
        super().__init__("hearing")
        self.ended: list[str] = []

    def run_ended(self, run: str) -> None:
        self.ended.append(run)


class Late(Pointing):
    """Looks at what is refused or has ended."""

    def see(self, event: Event) -> Sighting | None:
        late = event.state is not None
        return super().see(msgspec.structs.replace(event, state=None)) if late else None


def breaks(finding: Finding) -> None:
    raise KeyError(finding.id)


async def test_the_run_ends_and_the_others_hear_of_it() -> None:
    hearing = Hearing()
    plane = await held_family(detectors=[Breaking("breaking"), hearing])
    run = await plane.open()
    plane.detection.run_ended(run)
    assert hearing.ended == [run]
    await plane.runs.close_run(run, author=OPERATOR)
    await plane.close()


async def test_what_follows_and_fails_silences_nobody_and_lets_nothing_leave() -> None:
    first, second = Pointing("one", send=Strength.WEAK), Pointing("two", send=Strength.WEAK)
    plane = await held_family(detectors=[first, second])
    heard: list[str] = []
    plane.detection.respond_with(breaks)
    plane.detection.respond_with(lambda finding: heard.append(finding.detector))
    run = await plane.open()
    done = await plane.act(run, "send")
    assert isinstance(done, Refused)
    assert heard == ["one", "two"]
    assert plane.upstream.received == []
    records = await plane.records()
    assert sum(isinstance(each, Found) for each in records) == 2
    assert sum(isinstance(each, Intent) for each in records) == 1
    [outcome] = [each for each in records if isinstance(each, Outcome)]
    assert outcome.intent
    await plane.close()


async def test_what_follows_from_a_refusal_and_fails_makes_no_second_record_of_it() -> None:
    plane = await held_family(detectors=[Late("one", nothing=Strength.WEAK)])
    plane.detection.respond_with(breaks)
    run = await plane.open()
    done = await plane.guard.perform(call("nothing"), caller(run), sink=ListSink())
    assert isinstance(done, Refused)
    assert "unknown-target" in done.decision.reasons[0].policy
    assert sum(isinstance(each, Outcome) for each in await plane.records()) == 1
    await plane.close()


async def test_what_follows_from_an_end_and_fails_takes_no_result_away() -> None:
    plane = await held_family(detectors=[Late("one", look=Strength.WEAK)])
    plane.detection.respond_with(breaks)
    run = await plane.open()
    assert isinstance(await plane.act(run, "look"), Performed)
    assert sum(isinstance(each, Outcome) for each in await plane.records()) == 1
    await plane.close()


async def test_a_canary_marks_its_run_where_what_follows_fails() -> None:
    plane = await held_family()
    plane.detection.respond_with(breaks)
    plane.canaries.tell(plane.findings.tell)
    value = (await plane.canaries.add("planted", OPERATOR)).value
    run = await plane.open()
    assert isinstance(await plane.act(run, "send", text=value), Refused)
    assert (await plane.labels(run)).compartments == {"canary"}
    assert plane.upstream.received == []
    await plane.close()


def test_drift_is_told_of_every_run_where_telling_of_one_fails() -> None:
    drift, told = Drift(), list[str]()

    def tell(detector: str, sighting: object, *, run: str, **about: str) -> str:
        told.append(run)
        raise KeyError(run)

    drift.watch(tell, lambda upstream, kind: {"look": "another"})  # type: ignore[arg-type]  # tells less
    for number in range(3):
        drift.see(ended("look", run=f"run_{number}"))
    with pytest.raises(KeyError):
        drift.changed("one", PinnedKind.TOOL)
    assert told == ["run_0", "run_1", "run_2"]
