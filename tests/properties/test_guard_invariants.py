"""I1, I2, I6 and I8 over random histories: actions, refusals, breakage, departures, revocations."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.domain.decision import Challenge, Decision, Permit, Reason
from midflight.domain.errors import UpstreamBroken, UpstreamUnavailable
from midflight.domain.question import Question
from midflight.domain.records import Intent, Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Reply
from midflight.services.runs import Bounds
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

TOOLS = ["read", "browse", "send", "unpinned"]
ENDINGS = ["done", "error", "broken", "away", "bug", "hang"]
VERDICTS = ["permit", "deny", "challenge", "crash"]

actions = st.tuples(
    st.sampled_from([*TOOLS, "absent"]), st.sampled_from(ENDINGS), st.sampled_from(VERDICTS)
)
scopes = st.sampled_from(
    [
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD),
        Scope(kind=ScopeKind.TOOL, id="one/read"),
        Scope(kind=ScopeKind.UPSTREAM, id="one"),
        Scope(kind=ScopeKind.TOKEN, id="tok_1"),
        Scope(kind=ScopeKind.OWNER, id="team-one"),
        Scope(kind=ScopeKind.EVERYTHING),
    ]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("act"), actions),
        st.tuples(st.just("revoke"), scopes),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("turn"), st.integers(1, 4)),
    ),
    min_size=1,
    max_size=14,
)


class Ended(Exception):
    """What a scripted bug raises."""


def verdict(question: Question) -> Decision:
    match question.arguments.get("verdict"):
        case "deny":
            return refuse()
        case "challenge":
            return Challenge(version="fixed", reasons=(Reason(policy="p"),))
        case "crash":
            raise Ended
        case _:
            return Permit(version="fixed", reasons=(Reason(policy="p"),))


async def script(action: Any, flight: Any, sink: Any) -> Reply:
    del flight
    match action.arguments.get("ending"):
        case "error":
            return Reply(result=None, error={"code": -32000, "message": "no"})
        case "broken":
            raise UpstreamBroken("broken")
        case "away":
            raise UpstreamUnavailable("away")
        case "bug":
            raise Ended
        case "hang":
            await asyncio.Event().wait()
    await sink.notify("notifications/progress", {})
    return Reply(result={"content": []})


async def plane_of() -> MemoryPlane:
    names = [{"name": name, "inputSchema": {"type": "object"}} for name in TOOLS]
    upstream = ScriptedUpstream("one", names)
    upstream.scripts = dict.fromkeys(TOOLS, script)
    plane = MemoryPlane(
        upstream=upstream, engine=FixedEngine(verdict), bounds=Bounds(max_steps=1_000_000)
    )
    await plane.start()
    for name, reach in (("read", Reach.CLOSED), ("browse", Reach.OPEN), ("send", Reach.CLOSED)):
        effect = Effect.SEND if name == "send" else Effect.READ
        await plane.pin(name, Traits(effect=effect, reach=reach, reviewed=True))
    return plane


async def play(history: list[tuple[str, Any]]) -> None:
    plane = await plane_of()
    tasks: list[asyncio.Task[Performed | Refused]] = []
    revoked_after: list[tuple[Scope, int]] = []
    for kind, what in history:
        match kind:
            case "act":
                name, ending, said = what
                action = call(name, ending=ending, verdict=said)
                task = asyncio.ensure_future(plane.guard.perform(action, caller(), sink=ListSink()))
                tasks.append(task)
            case "revoke":
                receipt = await plane.interruption.revoke(what, reason="r", author=OPERATOR)
                assert receipt.durable
                revoked_after.append((what, len(plane.upstream.received)))
            case "leave":
                if tasks:
                    tasks[what % len(tasks)].cancel()
            case _:
                for _ in range(what):
                    await asyncio.sleep(0)
    # What still hangs is ended by its client; everything else ends by itself.
    await plane.ledger.flush()
    for _ in range(50):
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert isinstance(result, Performed | Refused | asyncio.CancelledError), result

    records = await plane.records()
    intents = {
        found.id: found.record
        for found in await plane.ledger.tail(1_000_000)
        if isinstance(found.record, Intent)
    }
    outcomes = [r for r in records if isinstance(r, Outcome)]
    # I1: a task that was cancelled before its first step did nothing and is no action yet.
    begun = [t for t in tasks if not t.cancelled()] + [t for t in tasks if t.cancelled()]
    assert len(outcomes) <= len(begun)
    assert len(outcomes) >= len([t for t in tasks if not t.cancelled()])
    closed = [o.intent for o in outcomes if o.intent is not None]
    assert sorted(closed) == sorted(intents)
    assert len(set(closed)) == len(closed)
    # I2: what was received was permitted, action by action.
    permitted = sorted(i.facts.name for i in intents.values())
    received = sorted(a.name for a in plane.upstream.received)
    assert all(received.count(name) <= permitted.count(name) for name in received)
    assert all(a.arguments["verdict"] == "permit" for a in plane.upstream.received)
    assert "unpinned" not in received
    # I8: nothing of a revoked scope arrived after its acknowledgement.
    for scope, count in revoked_after:
        later = plane.upstream.received[count:]
        if scope.kind is ScopeKind.TOOL:
            assert all(f"one/{a.name}" != scope.id for a in later)
        else:
            assert later == []
    assert plane.interruption.flights() == []
    # What is said of an end agrees with what was seen.
    for outcome in outcomes:
        if outcome.state is Terminal.DENIED:
            assert outcome.bytes_out == 0
    await plane.close()


@given(steps)
@settings(max_examples=60)
def test_every_action_ends_once_and_only_permitted_ones_arrive(
    history: list[tuple[str, Any]],
) -> None:
    asyncio.run(play(history))


@given(st.sampled_from(TOOLS), st.sampled_from(VERDICTS[:3]))
@settings(max_examples=20)
def test_the_same_facts_give_the_same_decision(name: str, said: str) -> None:
    async def twice() -> list[type]:
        kinds = []
        for _ in range(2):
            plane = await plane_of()
            await plane.guard.perform(
                call(name, ending="done", verdict=said), caller(), sink=ListSink()
            )
            outcome = next(r for r in await plane.records() if isinstance(r, Outcome))
            kinds.append((outcome.state, outcome.code))
            await plane.close()
        return kinds

    first, second = asyncio.run(twice())
    assert first == second


def test_a_thousand_actions_racing_a_revocation_never_pass_it() -> None:
    async def race() -> None:
        plane = await plane_of()
        stop = asyncio.Event()

        async def client() -> None:
            while not stop.is_set():
                await plane.guard.perform(
                    call("send", ending="done", verdict="permit"), caller(), sink=ListSink()
                )
                await asyncio.sleep(0)  # a refusal needs no wait of its own

        clients = [asyncio.ensure_future(client()) for _ in range(20)]
        while len(plane.upstream.received) < 1000:
            await asyncio.sleep(0)
        await plane.interruption.revoke(
            Scope(kind=ScopeKind.EVERYTHING), reason="r", author=OPERATOR
        )
        acknowledged = len(plane.upstream.received)
        for _ in range(500):
            await asyncio.sleep(0)
        stop.set()
        await asyncio.gather(*clients)
        assert len(plane.upstream.received) == acknowledged
        await plane.close()

    asyncio.run(race())
