"""What detectors get to see, and what a finding can still stop."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from midflight.domain.event import Event
from midflight.domain.finding import Finding, Sighting, Strength
from midflight.domain.records import Found, Intent, Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.receipts import Receipt
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
    refuse,
)

pytestmark = pytest.mark.anyio


class Watcher:
    """Keeps what it sees; says something at every call of `send`."""

    name = "watcher"

    def __init__(self) -> None:
        self.seen: list[Event] = []
        self.ended: list[str] = []

    def see(self, event: Event) -> Sighting | None:
        self.seen.append(event)
        if event.name != "send" or event.state is not None:
            return None
        return Sighting(strength=Strength.FAIR, seen="a send", records=(event.record,))

    def run_ended(self, run: str) -> None:
        self.ended.append(run)


class Broken:
    """Fails at every event."""

    name = "broken"

    def see(self, event: Event) -> Sighting | None:
        raise KeyError(event.name)

    def run_ended(self, run: str) -> None:
        del run


async def started(*detectors: Watcher | Broken, engine: FixedEngine | None = None) -> MemoryPlane:
    names = ("look", "send")
    upstream = ScriptedUpstream(
        "one", [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    )
    plane = MemoryPlane(upstream=upstream, detectors=detectors, engine=engine)
    await plane.start()
    for name, effect in zip(names, (Effect.READ, Effect.SEND), strict=True):
        await plane.pin(name, Traits(effect=effect, reach=Reach.CLOSED, reviewed=True))
    return plane


async def test_an_action_is_seen_before_it_leaves_and_when_it_has_ended() -> None:
    watcher = Watcher()
    plane = await started(watcher)
    done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    leaving, ended = watcher.seen
    assert (leaving.state, ended.state) == (None, Terminal.DONE)
    assert leaving.record == ended.record == done.record
    assert (leaving.workload, leaving.owner, leaving.effect) == (WORKLOAD, "team-one", Effect.READ)
    assert (leaving.bytes_out, ended.bytes_out) == (0, 100)
    assert leaving.run == leaving.family != ""
    await plane.close()


async def test_a_refusal_is_seen_once_with_its_reasons() -> None:
    watcher = Watcher()
    plane = await started(watcher, engine=FixedEngine(lambda _: refuse()))
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    await plane.guard.perform(call("no_such_tool"), caller(), sink=ListSink())
    refused, unknown = watcher.seen
    assert refused.state is Terminal.DENIED
    assert refused.policies == ("p",)
    assert (refused.known, unknown.known) == (True, False)
    await plane.close()


async def test_a_finding_is_recorded_before_what_it_is_about_leaves() -> None:
    told: list[Finding] = []
    plane = await started(Watcher())
    plane.detection.respond_with(told.append)
    await plane.guard.perform(call("send"), caller(), sink=ListSink())
    kinds = [r for r in await plane.records() if isinstance(r, Intent | Found | Outcome)]
    assert [type(each) for each in kinds] == [Intent, Found, Outcome]
    (finding,) = told
    assert (finding.detector, finding.name, finding.workload) == ("watcher", "send", WORKLOAD)
    await plane.close()


async def test_a_response_stops_the_very_action_that_was_found() -> None:
    plane = await started(Watcher())

    pending: list[Coroutine[Any, Any, Receipt]] = []

    def end(finding: Finding) -> None:
        scope = Scope(kind=ScopeKind.RUN, id=finding.run)
        pending.append(plane.interruption.strike(scope, reason="a send", author=OPERATOR))

    plane.detection.respond_with(end)
    refused = await plane.guard.perform(call("send"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert plane.upstream.received == []
    (receipt,) = [await each for each in pending]
    assert receipt.durable
    await plane.close()


async def test_a_detector_that_fails_stops_nothing() -> None:
    watcher = Watcher()
    plane = await started(Broken(), watcher)
    done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    assert len(watcher.seen) == 2
    await plane.close()


async def test_what_is_kept_for_a_run_goes_with_it() -> None:
    watcher = Watcher()
    plane = await started(watcher)
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    run = watcher.seen[0].run
    await plane.runs.close_run(run, author=OPERATOR)
    assert watcher.ended == [run]
    await plane.close()
