"""A revocation while something else goes wrong: it denies at once, says what it knows, holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from approval_kit import OWNER, AskingPlane
from cut_kit import begin, records
from cut_kit import call as call_at
from cut_kit import caller as caller_of
from faulty_store import FaultyStore

from gateways import AGENT, running_gateway
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.decision import DenyCode
from midflight.domain.errors import Interrupted
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.records import Impact, Observed, Outcome, Revoked, Terminal
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.flights import FlightKind
from midflight.services.guard import Performed, Refused
from midflight.services.interruption import Interruption
from midflight.services.ports.upstream import Reply
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedLeases,
    ScriptedUpstream,
    call,
    caller,
)
from servers.counting_server import counting

pytestmark = pytest.mark.anyio

SCOPE = Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD)
SEND = Traits(effect=Effect.SEND, reach=Reach.CLOSED, reviewed=True)


async def started(**parts: Any) -> MemoryPlane:
    tool = {"name": "send", "description": "", "inputSchema": {"type": "object"}}
    plane = MemoryPlane(upstream=ScriptedUpstream("one", [tool]), **parts)
    await plane.start()
    await plane.pin("send", SEND)
    return plane


def act(plane: MemoryPlane) -> asyncio.Task[Performed | Refused]:
    return asyncio.ensure_future(plane.guard.perform(call("send"), caller(), sink=ListSink()))


@pytest.fixture
async def held(tmp_path: Path) -> AsyncIterator[Any]:
    """A gateway over HTTP before a server whose `late` answers when it is let go."""
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway.plane, counted


# The upstream


@pytest.mark.parametrize("tool", ["hold", "late"])
async def test_an_upstream_that_ignores_its_cancellation_holds_nobody(held: Any, tool: str) -> None:
    """The caller is answered though it never is; what it says too late is delivered to nobody."""
    plane, counted = held
    doing = begin(plane, caller_of(AGENT), call_at("up", tool))
    await counted.until(1)
    scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
    receipt = await plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
    refused = await doing
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.INTERRUPTED
    counted.let_go.set()
    outcome = (await records(plane, Outcome))[-1]
    assert (outcome.state, outcome.bytes_in) == (Terminal.INTERRUPTED, 0)
    assert receipt.impact.unknown == receipt.impact.cut == (refused.record,)
    assert plane.interruption.in_flight == 0


async def test_an_answer_in_the_turn_of_the_denial_is_not_delivered() -> None:
    """It is denied in one turn and woken in another; what has come in between is dropped."""
    plane = await started()
    answers: list[asyncio.Future[Any]] = []

    async def script(*_: Any) -> Any:
        future = asyncio.get_running_loop().create_future()
        answers.append(future)
        return await future

    plane.upstream.scripts["send"] = script
    doing = [act(plane) for _ in range(200)]
    while len(answers) < 200:
        await asyncio.sleep(0)
    settling = plane.interruption.strike(SCOPE, reason="turned", author=OPERATOR)
    for future in answers:
        if not future.done():
            future.set_result(Reply(result={"content": []}))
    receipt = await settling
    done = await asyncio.gather(*doing)
    assert all(isinstance(each, Refused) for each in done)
    assert len(receipt.impact.cut) == 200
    assert receipt.impact.completed == 0
    assert receipt.impact.bytes_out == {"one": 200 * 100}


# The client


async def test_a_client_that_has_gone_while_it_is_cut_leaves_one_outcome() -> None:
    plane = await started()
    running = asyncio.Event()

    async def script(*_: Any) -> Any:
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["send"] = script
    doing = act(plane)
    await running.wait()
    settling = plane.interruption.strike(SCOPE, reason="turned", author=OPERATOR)
    doing.cancel()
    await settling
    with pytest.raises(asyncio.CancelledError):
        await doing
    (outcome,) = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.revocation is not None


async def test_an_operator_who_goes_away_takes_nothing_back() -> None:
    store = FaultyStore()
    plane = await started(store=store)
    store.open_to_writes.clear()
    asking = asyncio.ensure_future(
        plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    )
    await store.asked.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert plane.interruption.covering([(SCOPE.kind, SCOPE.id)]) is not None
    store.open_to_writes.set()
    found: list[Any] = []
    while len(found) < 2:
        await asyncio.sleep(0)
        found = [r for r in await plane.records() if isinstance(r, Revoked | Impact)]
    assert len(await store.revocations()) == 1


# The store


async def test_a_slow_store_delays_the_acknowledgement_and_nothing_else() -> None:
    store = FaultyStore()
    plane = await started(store=store)
    running = asyncio.Event()

    async def script(*_: Any) -> Any:
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["send"] = script
    doing = act(plane)
    await running.wait()
    store.open_to_writes.clear()
    asking = asyncio.ensure_future(
        plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    )
    assert isinstance(await doing, Refused)  # it is cut
    assert isinstance(await act(plane), Refused)  # and nothing new passes
    assert not asking.done()
    assert not await store.revocations()
    store.open_to_writes.set()
    assert (await asking).durable


async def test_a_silent_store_is_said_so_and_told_as_soon_as_it_listens() -> None:
    store = FaultyStore()
    plane = await started(store=store)
    plane.interruption.patience_s = 0
    store.open_to_writes.clear()
    receipt = await plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    assert not receipt.durable
    assert "silent" in receipt.note
    assert isinstance(await act(plane), Refused)
    store.open_to_writes.set()
    while not await store.revocations():
        await asyncio.sleep(0)
    await plane.interruption.follow()
    assert [s.revocation.id for s in await store.revocations()] == [receipt.revocation.id]


@pytest.mark.parametrize("loses_answers", [False, True])
async def test_a_store_that_is_away_is_told_again(loses_answers: bool) -> None:
    """Also where it took the entry and its answer was lost: once is enough."""
    store = FaultyStore()
    plane = await started(store=store)
    store.is_away, store.loses_answers = not loses_answers, loses_answers
    receipt = await plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    assert not receipt.durable
    assert isinstance(await act(plane), Refused)
    store.is_away = store.loses_answers = False
    await plane.interruption.follow()
    assert [s.revocation.id for s in await store.revocations()] == [receipt.revocation.id]
    told = [r for r in await plane.records() if isinstance(r, Observed)]
    assert [r.what for r in told] == ["revocation.durable"]
    revoked = [r for r in await plane.records() if isinstance(r, Revoked)]
    assert len(revoked) == 1
    # So another process denies, too.
    second = MemoryPlane(upstream=plane.upstream, store=store)
    await second.start()
    assert isinstance(await act(second), Refused)


async def test_a_lift_that_the_store_does_not_take_lifts_nothing() -> None:
    store = FaultyStore()
    plane = await started(store=store)
    receipt = await plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    store.is_away = True
    with pytest.raises(Exception, match="disk is full"):
        await plane.interruption.lift(receipt.revocation.id, reason="well", author=OPERATOR)
    assert isinstance(await act(plane), Refused)


# In the middle of other things


@pytest.mark.parametrize("kind", [ScopeKind.RUN, ScopeKind.WORKLOAD])
async def test_a_yes_that_is_used_while_its_run_or_workload_is_revoked_lets_nothing_pass(
    kind: ScopeKind,
) -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER)
    use = plane.store.use_approval

    async def using(approval_id: str, *, now: int) -> bool:
        used = await use(approval_id, now=now)
        await plane.interruption.revoke(
            Scope(kind=kind, id=run if kind is ScopeKind.RUN else WORKLOAD),
            reason="turned",
            author=OPERATOR,
        )
        return used

    plane.store.use_approval = using  # type: ignore[method-assign]
    assert isinstance(await plane.act(run, to="bob@x.org"), Refused)
    assert plane.upstream.received == []
    assert await plane.state(approval) == "used"
    await plane.close()


async def test_an_approval_that_waits_is_void_when_its_run_is_revoked() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.RUN, id=run), reason="turned", author=OPERATOR
    )
    while await plane.state(approval) == "pending":
        await asyncio.sleep(0)
    assert await plane.state(approval) == "void"
    assert isinstance(await plane.act(run, to="bob@x.org"), Refused)
    await plane.close()


async def test_a_call_whose_lease_is_being_made_is_answered_at_once() -> None:
    """The backend takes as long as it likes; the caller and the revocation wait for neither."""
    leases = ScriptedLeases()
    header = Injection(placement=Placement.HEADER, name="Authorization", template="Bearer {token}")
    leases.add(
        Credential(
            name="crm", backend="memory", injections=(header,), upstreams=frozenset({"one"})
        ),
        token="mark-7f1c09ab55e2",
    )
    gate = leases.gates["crm"] = asyncio.Event()
    plane = await started(leases=leases)
    for scope in (
        Scope(kind=ScopeKind.CREDENTIAL, id="crm"),
        SCOPE,
    ):
        doing = act(plane)
        while not any(
            (ScopeKind.CREDENTIAL, "crm") in flight.scopes
            for flight in plane.interruption._flights.within(scope)
        ):
            await asyncio.sleep(0)
        receipt = await plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
        refused = await doing
        assert isinstance(refused, Refused)
        assert refused.decision.code is DenyCode.INTERRUPTED
        assert receipt.impact.bytes_out.get("one", 0) == 0
        assert receipt.impact.unknown == ()
        await plane.interruption.lift(receipt.revocation.id, reason="next", author=OPERATOR)
    gate.set()
    assert plane.upstream.received == []


async def test_what_is_revoked_while_a_process_starts_is_in_force_there_and_on_record() -> None:
    """Appended behind its reading of the log, and told before it listens: so it reads again."""
    store = FaultyStore()
    plane = MemoryPlane(upstream=ScriptedUpstream("one", []), store=store)
    read = store.revocations
    entry = Revocation(
        id="rev_meanwhile", scope=SCOPE, reason="panic", author="olivia", proof="uid:0", at=1.0
    )

    async def reading(*, after: int = 0) -> Any:
        found = await read(after=after)
        if not await read():
            await store.append_revocation(entry)
        return found

    store.revocations = reading  # type: ignore[method-assign]
    await plane.start()
    await plane.interruption.follow()
    assert plane.interruption.covering([(SCOPE.kind, SCOPE.id)]) == entry
    assert isinstance(await act(plane), Refused)
    kinds = [type(r) for r in await plane.records() if isinstance(r, Revoked | Impact)]
    assert kinds == [Revoked, Impact]
    await plane.close()


async def test_twice_at_once_is_two_records_and_one_cut() -> None:
    plane = await started()
    running = asyncio.Event()

    async def script(*_: Any) -> Any:
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["send"] = script
    doing = act(plane)
    await running.wait()
    both = await asyncio.gather(
        plane.interruption.revoke(SCOPE, reason="one", author=OPERATOR),
        plane.interruption.revoke(SCOPE, reason="two", author=OPERATOR),
    )
    refused = await doing
    assert isinstance(refused, Refused)
    assert [receipt.impact.cut for receipt in both] == [(refused.record,), ()]
    # What had left is the same to both; it was in flight, or has landed.
    assert [receipt.impact.bytes_out for receipt in both] == [{"one": 100}] * 2
    (outcome,) = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.revocation == both[0].revocation.id
    for receipt in both:
        assert isinstance(await act(plane), Refused)
        await plane.interruption.lift(receipt.revocation.id, reason="well", author=OPERATOR)
    plane.upstream.scripts.clear()
    assert isinstance(await act(plane), Performed)


# The clock


@pytest.mark.parametrize("step", [-3_600.0, 3_600.0, 86_400.0 * 400])
async def test_a_clock_that_is_set_ends_no_revocation_early(step: float) -> None:
    clock = FakeClock()
    plane = await started(clock=clock)
    await plane.interruption.revoke(
        SCOPE, reason="turned", author=OPERATOR, until=clock.now() + 600
    )
    key = [(SCOPE.kind, SCOPE.id)]
    clock.set_back(-step)
    assert plane.interruption.covering(key) is not None
    clock.advance(599)
    assert plane.interruption.covering(key) is not None
    # Set ahead it ends when it was meant to; set back, when the wall says so as well.
    clock.advance(1)
    assert (plane.interruption.covering(key) is None) == (step > 0)
    clock.advance(3_600)
    assert plane.interruption.covering(key) is None


async def test_everything_that_goes_on_is_shown_and_cut_by_kind() -> None:
    store = MemoryStore()
    plane = await started(store=store)
    interruption: Interruption = plane.interruption
    running = asyncio.Event()

    async def script(*_: Any) -> Any:
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["send"] = script
    doing = act(plane)
    await running.wait()
    seat = await plane.listing.seat(caller())
    ended: list[str] = []
    stream = plane.listing.stream(seat, name="notices", ended=lambda: ended.append("stream"))  # type: ignore[arg-type]
    assert {status.kind for status in interruption.flights()} == {
        FlightKind.CALL,
        FlightKind.STREAM,
    }
    assert interruption.in_flight == 1
    seen = interruption.preview(SCOPE)
    receipt = await interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    assert seen.kinds == receipt.impact.kinds == {"call": 1, "stream": 1}
    assert ended[:1] == ["stream"]
    with pytest.raises(Interrupted):
        stream.flight.look()
    stream.close()
    await doing
    assert interruption.flights() == []
