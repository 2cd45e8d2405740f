"""The broker in a whole plane: what is lent, for how long, and everything that takes it back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from lease_kit import READ, LeasePlane, credential

from midflight.domain.decision import Challenge, Deny, DenyCode, Permit, Reason
from midflight.domain.errors import Conflict, Interrupted, Unavailable
from midflight.domain.identity import Author
from midflight.domain.lease import LeaseState, Secret
from midflight.domain.narrowing import Narrowing
from midflight.domain.question import Question
from midflight.domain.records import LeaseMoved, Observed
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.run import RunState
from midflight.domain.traits import Effect
from midflight.services.broker import Held
from midflight.services.lease_book import MAX_A_RUN
from midflight.services.lease_ending import IN_A_TURN, STUCK_AFTER
from midflight.services.lease_reaper import GRACE_S, ORPHANS_EVERY_S
from midflight.testing import OPERATOR, WORKLOAD, FixedEngine

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


def away(*verbs: str) -> Any:
    def fail(verb: str, name: str) -> None:
        if verb in verbs:
            raise Unavailable(f"The server is away ({verb}).")

    return fail


def nothing(verb: str, name: str) -> None:
    del verb, name


async def test_a_lease_is_written_down_before_it_is_made_and_held_after(plane: LeasePlane) -> None:
    live = await plane.begin()
    seen: list[Any] = []

    def look(verb: str, name: str) -> None:
        if verb == "issue":
            seen.append(next(iter(plane.store._leases.values())).state)  # type: ignore[attr-defined]

    plane.server.before = look
    held = await plane.lease(live)
    assert seen == [LeaseState.INTENT]
    assert plane.server.works(held.secret)
    assert await plane.moves(held.lease.id) == ["intent", "active"]


async def test_uses_of_the_same_scopes_share_a_lease_and_others_do_not(plane: LeasePlane) -> None:
    live = await plane.begin()
    one = await plane.lease(live)
    assert (await plane.lease(live)).lease.id == one.lease.id
    assert (await plane.lease(live, scopes=["ro"])).lease.id != one.lease.id
    assert (await plane.lease(await plane.open())).lease.id != one.lease.id


async def test_first_uses_at_once_make_one_lease(plane: LeasePlane) -> None:
    live = await plane.begin()
    found = await asyncio.gather(*(plane.lease(live) for _ in range(20)))
    assert len({held.lease.id for held in found}) == 1
    assert len(plane.server.accounts) == 1


async def test_a_caller_that_goes_away_does_not_take_the_lease_with_it(plane: LeasePlane) -> None:
    live = await plane.begin()
    first = asyncio.ensure_future(plane.lease(live))
    second = asyncio.ensure_future(plane.lease(live))
    await asyncio.sleep(0)
    first.cancel()
    held = await second
    assert plane.server.works(held.secret)
    assert plane.broker.held == 1


async def test_a_lease_is_renewed_after_two_thirds_and_never_beyond_its_bound(
    plane: LeasePlane,
) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    for _ in range(20):
        plane.clock.advance(45)
        again = await plane.lease(live)
        await plane.settle()
        if again.lease.id != held.lease.id:
            break
        stored = await plane.stored(held.lease.id)
        assert stored.expires_at <= held.lease.max_expires_at
    else:
        pytest.fail("one lease lived for ever")
    with pytest.raises(Interrupted):
        plane.broker.check(held)


async def test_what_cannot_be_renewed_is_replaced_and_ends_with_its_last_use(
    plane: LeasePlane,
) -> None:
    live = await plane.begin(credential(settings={"can_renew": False}))
    gone: list[str] = []
    replaced: list[tuple[str, str]] = []
    plane.broker.on_gone(lambda lease: gone.append(lease.id))
    plane.broker.on_replaced(lambda old, new: replaced.append((old.id, new.lease.id)))
    held = await plane.lease(live)
    plane.clock.advance(45)
    await plane.lease(live)
    await plane.settle()
    fresh = await plane.lease(live)
    assert replaced == [(held.lease.id, fresh.lease.id)]
    assert plane.server.works(held.secret), "it is in use"
    plane.broker.check(held)
    plane.broker.done(held)
    plane.broker.done(held)
    await plane.settle()
    assert gone == [held.lease.id]
    assert not plane.server.works(held.secret)
    assert await plane.state(held) is LeaseState.REVOKED
    assert plane.server.works(fresh.secret)


async def test_a_lease_that_has_expired_is_used_no_more_and_ended(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    plane.clock.advance(61)
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED
    assert plane.server.accounts == {}


async def test_a_clock_that_is_set_back_lends_nothing_for_longer(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    plane.clock.advance(30)
    plane.clock.set_back(3_600)
    plane.clock.advance(31)
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    await plane.broker.sweep()
    assert plane.server.accounts == {}


@pytest.mark.parametrize(
    "scope",
    [
        Scope(kind=ScopeKind.EVERYTHING),
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD),
        Scope(kind=ScopeKind.OWNER, id="team-one"),
        Scope(kind=ScopeKind.UPSTREAM, id="one"),
        Scope(kind=ScopeKind.CREDENTIAL, id="db"),
        Scope(kind=ScopeKind.TRUST_DOMAIN, id="test.midflight.internal"),
    ],
    ids=lambda scope: scope.kind.value,
)
async def test_a_revocation_ends_what_it_covers_in_the_same_turn(
    plane: LeasePlane, scope: Scope
) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    revoking = asyncio.ensure_future(
        plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
    )
    await asyncio.sleep(0)
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    await revoking
    await plane.settle()
    assert await plane.state(held) is LeaseState.REVOKED
    assert not plane.server.works(held.secret)
    refused = await plane.ask(live)
    assert isinstance(refused, Deny)
    assert refused.code is DenyCode.REVOKED


async def test_a_revocation_of_something_else_ends_nothing(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    for kind, name in (
        (ScopeKind.CREDENTIAL, "other"),
        (ScopeKind.UPSTREAM, "two"),
        (ScopeKind.TOOL, "one/look"),
        (ScopeKind.TOKEN, "tok_1"),
    ):
        scope = Scope(kind=kind, id=name)
        await plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
    await plane.settle()
    plane.broker.check(held)


async def test_the_end_of_a_run_ends_its_leases_and_those_of_its_children(
    plane: LeasePlane,
) -> None:
    live = await plane.begin()
    child = await plane.delegation.delegate(
        live.run.id, workload=WORKLOAD, text="Read it.", author=OPERATOR
    )
    below = plane.runs.live(child.id)
    assert below is not None
    held, of_child = await plane.lease(live), await plane.lease(below)
    assert of_child.lease.parent == live.run.id
    await plane.runs.close_run(live.run.id, author=OPERATOR)
    await plane.settle()
    assert await plane.state(held) is LeaseState.REVOKED
    assert await plane.state(of_child) is LeaseState.REVOKED
    refused = await plane.ask(live)
    assert isinstance(refused, Deny)
    assert refused.code is DenyCode.RUN_NOT_OPEN


async def test_a_lease_never_outlives_its_run(plane: LeasePlane) -> None:
    await plane.begin()
    live = await plane.open(ttl_s=40)
    held = await plane.lease(live)
    assert held.lease.expires_at <= live.run.expires_at
    assert held.lease.max_expires_at <= live.run.expires_at


async def test_what_is_revoked_while_it_is_made_is_never_handed_out(plane: LeasePlane) -> None:
    live = await plane.begin()
    tasks: list[asyncio.Future[Any]] = []

    def revoke(verb: str, name: str) -> None:
        if verb == "issue":
            plane.server.after = nothing
            scope = Scope(kind=ScopeKind.CREDENTIAL, id="db")
            tasks.append(
                asyncio.ensure_future(
                    plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
                )
            )
            # In the same turn, as a revocation from another replica would come.
            plane.broker._retiring.deny(lambda _: True)

    plane.server.after = revoke
    with pytest.raises(Interrupted):
        await plane.ask(live)
    await asyncio.gather(*tasks)
    await plane.settle()
    assert plane.server.accounts == {}
    (stored,) = await plane.store.list_leases()
    assert stored.state is LeaseState.REVOKED


async def test_a_backend_that_fails_leaves_a_lease_to_be_revoked(plane: LeasePlane) -> None:
    live = await plane.begin()
    plane.server.after = away("issue")  # it was made, and the answer is lost
    plane.server.before = away("revoke")
    with pytest.raises(Unavailable):
        await plane.ask(live)
    await plane.settle()
    (stored,) = await plane.store.list_leases()
    assert stored.state is LeaseState.REVOKING
    assert len(plane.server.accounts) == 1
    plane.server.before = plane.server.after = nothing
    plane.clock.advance(60)
    await plane.broker.sweep()
    assert plane.server.accounts == {}
    assert plane.broker.held == 0
    held = await plane.lease(live)
    assert plane.server.works(held.secret)


async def test_a_backend_that_stays_away_makes_a_stuck_lease_that_is_never_forgotten(
    plane: LeasePlane,
) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    plane.server.before = away("revoke")
    await plane.runs.close_run(live.run.id, author=OPERATOR)
    await plane.settle()
    for _ in range(STUCK_AFTER + 3):
        plane.clock.advance(601)
        await plane.broker.sweep()
    stored = await plane.stored(held.lease.id)
    assert stored.state is LeaseState.REVOKING
    assert stored.stuck
    assert stored.attempts >= STUCK_AFTER
    assert "away" in stored.error
    assert plane.telemetry.gauges["leases_stuck"] == 1
    stuck = [r for r in await plane.records() if isinstance(r, LeaseMoved) and r.stuck]
    assert [record.lease for record in stuck] == [held.lease.id]
    plane.server.before = nothing
    plane.clock.advance(601)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED
    assert plane.telemetry.gauges["leases_stuck"] == 0


async def test_what_cannot_be_taken_back_waits_for_its_end(plane: LeasePlane) -> None:
    live = await plane.begin(credential(settings={"revocability": "at_expiry"}))
    held = await plane.lease(live)
    await plane.runs.close_run(live.run.id, author=OPERATOR)
    await plane.settle()
    stored = await plane.stored(held.lease.id)
    assert stored.state is LeaseState.REVOKING
    assert not stored.stuck
    with pytest.raises(Conflict):
        await plane.credentials.remove("db", author=OPERATOR)
    plane.clock.advance(62)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED


@pytest.mark.parametrize("how", ["by itself", "by its run"])
async def test_what_outlives_its_lease_is_not_called_revoked_while_it_lives(
    plane: LeasePlane, how: str
) -> None:
    settings = {"revocability": "at_expiry", "can_renew": False, "outlives_s": 900}
    live = await plane.begin(credential(settings=settings))
    held = await plane.lease(live)
    ends = held.lease.expires_at + 900
    if how == "by itself":
        plane.clock.advance(61)
        await plane.broker.sweep()
    else:
        await plane.runs.close_run(live.run.id, author=OPERATOR)
        await plane.settle()
    # Used no more here, and looked after until it has ended there.
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    while plane.clock.now() <= ends:
        stored = await plane.stored(held.lease.id)
        assert (stored.state, stored.stuck) == (LeaseState.REVOKING, False)
        assert "ends by itself at 20" in stored.error
        assert plane.server.works(held.secret, now=plane.clock.now())
        plane.clock.advance(90)
        await plane.broker.sweep()
    assert not plane.server.works(held.secret, now=plane.clock.now())
    plane.clock.advance(300)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED


async def test_what_may_have_been_made_and_cannot_be_taken_back_waits_as_well(
    plane: LeasePlane,
) -> None:
    live = await plane.begin(credential(settings={"revocability": "at_expiry"}))
    plane.server.after = away("issue")  # it was made, and the answer is lost
    with pytest.raises(Unavailable):
        await plane.ask(live)
    await plane.settle()
    (stored,) = await plane.store.list_leases()
    assert stored.state is LeaseState.REVOKING  # nobody may read that it is gone
    plane.clock.advance(62)
    await plane.broker.sweep()
    assert (await plane.stored(stored.id)).state is LeaseState.REVOKED


async def test_a_listener_with_a_bug_lets_no_other_lease_be_used(plane: LeasePlane) -> None:
    live = await plane.begin(credential("db"), credential("other"))
    held = [await plane.lease(live, name) for name in ("db", "other")]

    def broken(_: object) -> None:
        raise RuntimeError("somebody's bug")

    plane.broker.on_gone(broken)
    with pytest.raises(RuntimeError):
        plane.broker.run_ended(live.run.id, RunState.CLOSED)
    for one in held:
        with pytest.raises(Interrupted):
            plane.broker.check(one)


async def test_a_start_ends_what_a_crashed_process_left(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    after = LeasePlane(
        store=plane.store,
        ledger_store=plane.ledger_store,
        clock=plane.clock,
        makers={"memory": plane.server.maker},
    )
    await after.broker.start()
    assert await plane.state(held) is LeaseState.REVOKED
    assert plane.server.accounts == {}


async def test_a_name_without_a_lease_is_ended_after_a_grace(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    plane.server.accounts["midflight-lost"] = ("p", (), 2**40)
    plane.server.accounts["somebody-elses"] = ("p", (), 2**40)
    await plane.reaper.end_orphans()
    assert "midflight-lost" in plane.server.accounts
    plane.clock.advance(GRACE_S)
    await plane.reaper.end_orphans()
    assert set(plane.server.accounts) == {held.lease.external, "somebody-elses"}
    found = [r for r in await plane.records() if isinstance(r, Observed)]
    assert [record.details for record in found] == [{"external": "midflight-lost"}]
    assert GRACE_S < ORPHANS_EVERY_S


async def test_policy_is_asked_with_what_the_action_is(plane: LeasePlane) -> None:
    live = await plane.begin()
    await plane.lease(live, scopes=["ro"])
    asked = [q for q in plane.engine.questions if q.kind.value == "lease"]  # type: ignore[attr-defined]
    assert asked[-1].target.name == "db"
    assert asked[-1].target.traits == READ
    assert asked[-1].source.point == "action"
    assert asked[-1].arguments == {
        "credential": "db",
        "backend": "memory",
        "upstream": "one",
        "bound": True,
        "scopes": ["ro"],
        "ttl_s": 60,
        "revocability": "immediate",
    }


@pytest.mark.parametrize(
    ("decision", "code"),
    [
        (Deny(version="v", code=DenyCode.POLICY, reasons=(Reason(policy="p"),)), DenyCode.POLICY),
        (
            Challenge(version="v", reasons=(Reason(policy="p"),), approvers=("owner",)),
            DenyCode.APPROVAL_REQUIRED,
        ),
    ],
)
async def test_without_a_permit_nothing_is_lent(decision: Any, code: DenyCode) -> None:
    def ask(question: Question) -> Any:
        if question.kind.value == "lease":
            return decision
        return Permit(version="v", reasons=())

    plane = LeasePlane(engine=FixedEngine(ask))
    live = await plane.begin()
    refused = await plane.ask(live)
    assert isinstance(refused, Deny)
    assert refused.code is code
    assert plane.server.calls == []
    await plane.close()


async def test_a_credential_is_lent_for_its_upstreams_alone(plane: LeasePlane) -> None:
    live = await plane.begin()
    refused = await plane.ask(live, upstream="two")
    assert isinstance(refused, Deny)
    missing = await plane.ask(live, "none")
    assert isinstance(missing, Deny)
    assert [each.name for each in plane.broker.credentials_for("one")] == ["db"]
    assert list(plane.broker.credentials_for("two")) == []


async def test_a_narrowed_run_gets_narrow_leases(plane: LeasePlane) -> None:
    live = await plane.begin()
    child = await plane.delegation.delegate(
        live.run.id,
        workload=WORKLOAD,
        text="Read it.",
        author=OPERATOR,
        narrowed=Narrowing(effects=frozenset({Effect.READ})),
    )
    below = plane.runs.live(child.id)
    assert below is not None
    assert (await plane.lease(below)).lease.scopes == ("ro",)
    for scopes in (["rw"], ["ro", "rw"], ["unknown"]):
        refused = await plane.ask(below, scopes=scopes)
        assert isinstance(refused, Deny)
        assert refused.code is DenyCode.NARROWED


async def test_a_run_holds_a_bounded_number_of_leases(plane: LeasePlane) -> None:
    many = tuple(f"s{number}" for number in range(MAX_A_RUN + 1))
    live = await plane.begin(credential(scopes=many))
    for scope in many[:-1]:
        await plane.lease(live, scopes=[scope])
    refused = await plane.ask(live, scopes=[many[-1]])
    assert isinstance(refused, Deny)
    assert refused.code is DenyCode.OVERLOADED


async def test_an_operator_ends_leases_that_another_process_left(plane: LeasePlane) -> None:
    live = await plane.begin()
    held, other = await plane.lease(live), await plane.lease(live, scopes=["ro"])
    author = Author(name="olivia", proof="peer-uid:1000")
    (gone,) = await plane.broker.revoke(author=author, lease=held.lease.id, reason="leaked")
    assert gone.state is LeaseState.REVOKED
    plane.broker.check(other)
    assert {x.id for x in await plane.broker.revoke(author=author, run=live.run.id)} >= {
        other.lease.id
    }
    found = [r for r in await plane.records() if isinstance(r, LeaseMoved) and r.author == "olivia"]
    assert {(r.lease, r.reason) for r in found} >= {(held.lease.id, "leaked")}
    with pytest.raises(Conflict):
        await plane.broker.revoke(author=author)
    with pytest.raises(Conflict):
        await plane.broker.revoke(author=author, lease="lease_none")


async def test_a_store_that_is_away_keeps_the_denial_and_is_told_later(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    await plane.store.close()
    plane.broker.run_ended(live.run.id, live.state)
    await plane.settle()
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    await plane.store.open()
    assert await plane.state(held) is LeaseState.ACTIVE
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED
    assert plane.server.accounts == {}


async def test_stopping_ends_all_leases(plane: LeasePlane) -> None:
    live = await plane.begin()
    held = await plane.lease(live)
    await plane.broker.close()
    assert plane.server.accounts == {}
    assert await plane.state(held) is LeaseState.REVOKED
    refused = await plane.ask(live)
    assert isinstance(refused, Deny)


async def test_a_static_secret_is_lent_and_sealed_at_rest(plane: LeasePlane) -> None:
    await plane.start()
    secret_id = await plane.sealed_secrets.seal("hunter2-hunter2", author=OPERATOR)
    stored = await plane.store.get_sealed_secret(secret_id)
    assert stored is not None
    assert b"hunter2" not in stored.box + stored.wrapped
    source = credential(
        "old", backend="sealed", scopes=(), settings={"token": f"sealed:{secret_id}"}
    )
    await plane.credentials.put(source, author=OPERATOR)
    held = await plane.lease(await plane.open(), "old")
    assert held.secret == Secret(fields={"token": "hunter2-hunter2"})
    assert "hunter2" not in repr(held)
    assert isinstance(held, Held)


async def test_ending_thousands_leaves_turns_to_others(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.begin()
    lives = [await plane.open() for _ in range(3 * IN_A_TURN)]
    held = [await plane.lease(live) for live in lives]
    turn, begun, noted = 0, set[int](), set[int]()

    async def ticking() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    ending = plane.broker._ending
    note, end = ending.note, ending._end

    def counted(lease: Any, **more: Any) -> None:
        if lease.state is LeaseState.REVOKING:
            noted.add(turn)
        note(lease, **more)

    async def ended(*given: Any) -> bool:
        begun.add(turn)
        return await end(*given)

    monkeypatch.setattr(ending, "note", counted)
    monkeypatch.setattr(ending, "_end", ended)
    ticker = asyncio.create_task(ticking())
    await plane.broker.revoke(credential="db", author=OPERATOR)
    ticker.cancel()
    assert len(begun) >= 3
    assert len(noted) >= 3
    states = {await plane.state(one) for one in held}
    assert states == {LeaseState.REVOKED}


async def test_what_was_given_up_half_way_is_on_record_all_the_same(plane: LeasePlane) -> None:
    live = await plane.begin()
    lease = (await plane.lease(live)).lease
    many = [msgspec.structs.replace(lease, id=f"lease_{n}") for n in range(3 * IN_A_TURN)]
    telling = asyncio.create_task(
        plane.broker._ending.note_all(many, author=OPERATOR, reason="stopping")
    )
    await asyncio.sleep(0)  # it has begun
    telling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await telling
    told = [r for r in await plane.records() if isinstance(r, LeaseMoved)]
    assert {each.id for each in many} <= {record.lease for record in told}
