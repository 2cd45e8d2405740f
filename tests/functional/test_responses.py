"""What each level does to a run, under the real guard and the standard pack."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from family_kit import OTHER, Family, code
from response_kit import Pointing, after_crash, find, held, held_family, responded, rules

from midflight.domain.action import Action
from midflight.domain.decision import Challenge, DenyCode
from midflight.domain.errors import Conflict, Forbidden, NotFound, StoreUnavailable
from midflight.domain.finding import Strength
from midflight.domain.identity import Author, Mode
from midflight.domain.records import Found, Intent, Outcome, Responded, Revoked, Terminal
from midflight.domain.response import Level, Response
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.run import RunState
from midflight.services.guard import Performed, Refused
from midflight.services.moded import ModedEngine
from midflight.services.ports.upstream import Flight, Reply, Sink
from midflight.testing import OPERATOR, WORKLOAD, FixedEngine
from midflight.wire.refusal import as_result

pytestmark = pytest.mark.anyio

OWNER = Author(name="team-one", proof="peer-uid:1001")


def policies(outcome: Performed | Refused) -> list[str]:
    assert isinstance(outcome, Refused), outcome
    return [reason.policy for reason in outcome.decision.reasons]


async def test_a_note_is_on_record_and_stops_nothing() -> None:
    plane = await held_family(detectors=[Pointing(send=Strength.WEAK)])
    run = await plane.open()
    assert isinstance(await plane.act(run, "send"), Performed)
    assert isinstance(await plane.act(run, "send"), Performed)
    (response,) = await responded(plane)
    assert (response.level, response.risk, response.detector) == (Level.NOTE, 0, "probing")
    facts = [r.facts.run for r in await plane.records() if isinstance(r, Intent)]
    assert [f.findings for f in facts if f is not None] == [(), ("probing",)]
    await plane.close()


async def test_a_raised_risk_is_a_fact_for_policies() -> None:
    text = '[[response]]\ndetector = "probing"\nrespond = "risk"\nrisk = 40\n'
    plane = await held_family(text)
    run = await plane.open()
    find(plane, run)
    find(plane, run, detector="burst", strength=Strength.WEAK)  # noted, without any risk
    assert isinstance(await plane.act(run, "send"), Performed)
    (intent,) = [r for r in await plane.records() if isinstance(r, Intent)]
    assert intent.facts.run is not None
    facts = intent.facts.run
    assert (facts.risk, facts.response) == (40, "risk")
    assert facts.findings == ("burst", "probing")
    await plane.close()


async def test_a_throttled_run_goes_on_slowly() -> None:
    text = '[[response]]\nrespond = "throttle"\nrate = "8/m"\nfor = "10m"\n'
    plane = await held_family(text)
    run = await plane.open()
    find(plane, run)
    done = [await plane.act(run, "look") for _ in range(4)]
    assert [isinstance(each, Performed) for each in done] == [True, True, False, False]
    assert code(done[2]) is DenyCode.LIMITED
    assert policies(done[2]) == ["midflight:throttled"]
    refused = done[2]
    assert isinstance(refused, Refused)
    said = str(as_result(refused.decision, refused.record))
    assert "8/m" in said
    assert "Try again in" in said
    plane.clock.advance(7.5)  # type: ignore[attr-defined]
    assert isinstance(await plane.act(run, "look"), Performed)
    assert code(await plane.act(run, "look")) is DenyCode.LIMITED
    plane.clock.advance(600)  # type: ignore[attr-defined]
    done = [await plane.act(run, "look") for _ in range(5)]
    assert all(isinstance(each, Performed) for each in done)
    await plane.close()


async def test_a_challenged_run_asks_for_every_effect_and_every_fetch() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run)
    for tool in ("send", "browse"):
        refused = await plane.act(run, tool)
        assert policies(refused) == ["standard/challenged"]
        assert code(refused) is DenyCode.APPROVAL_REQUIRED
    assert isinstance(await plane.act(run, "look"), Performed)
    assert [action.name for action in plane.upstream.received] == ["look"]
    # A person says yes: once, for this one.
    asked = await plane.act(run, "send")
    assert isinstance(asked, Refused)
    assert isinstance(asked.decision, Challenge)
    await plane.desk.approve(asked.decision.approval, author=OWNER)
    assert isinstance(await plane.act(run, "send"), Performed)
    assert policies(await plane.act(run, "send")) == ["standard/challenged"]
    # And it ends by itself.
    plane.clock.advance(1_801)  # type: ignore[attr-defined]
    other = await plane.open()
    assert isinstance(await plane.act(other, "send"), Performed)
    await plane.close()


async def test_a_quarantined_run_reads_what_is_closed_and_nothing_else() -> None:
    plane = await held_family()
    run = await plane.open()
    asked = await plane.act(run, "look")
    find(plane, run, strength=Strength.STRONG)
    assert isinstance(asked, Performed)
    assert policies(await plane.act(run, "send")) == ["standard/quarantined"]
    assert policies(await plane.act(run, "browse")) == ["standard/quarantined"]
    assert isinstance(await plane.act(run, "look"), Performed)
    with pytest.raises(Forbidden, match="standard/quarantined"):  # and hands nothing on
        await plane.delegate(run)
    await plane.close()


async def test_an_approval_from_before_does_not_open_a_quarantine() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run)
    asked = await plane.act(run, "send")
    assert isinstance(asked, Refused)
    assert isinstance(asked.decision, Challenge)
    await plane.desk.approve(asked.decision.approval, author=OWNER)
    find(plane, run, detector="drift", strength=Strength.STRONG)
    assert policies(await plane.act(run, "send")) == ["standard/quarantined"]
    assert plane.upstream.received == []
    await plane.close()


async def test_a_revocation_stops_the_very_action_it_is_about() -> None:
    plane = await held_family(detectors=[Pointing("canary", send=Strength.STRONG)])
    run = await plane.open()
    refused = await plane.act(run, "send")
    assert code(refused) is DenyCode.INTERRUPTED
    assert plane.upstream.received == []
    await plane.responses.log.close()
    assert await plane.state(run) is RunState.REVOKED
    records = await plane.records()
    (finding,) = [r.finding for r in records if isinstance(r, Found)]
    (revoked,) = [r for r in records if isinstance(r, Revoked)]
    assert (revoked.author, revoked.proof) == ("detector:canary", f"finding:{finding.id}")
    (stored,) = await plane.store.revocations()
    assert stored.revocation.scope == Scope(kind=ScopeKind.RUN, id=run)
    await plane.close()


@pytest.mark.parametrize("strength", [Strength.FAIR, Strength.STRONG])
async def test_what_is_found_as_it_leaves_stops_this_one(strength: Strength) -> None:
    """It was judged before it was found; it does not leave for that."""
    plane = await held_family(detectors=[Pointing(send=strength)])
    run = await plane.open()
    refused = await plane.act(run, "send")
    expected = "midflight:found-meanwhile" if strength is Strength.FAIR else "standard/quarantined"
    assert policies(refused) == [expected]
    assert plane.upstream.received == []
    records = [r for r in await plane.records() if isinstance(r, Intent | Found | Outcome)]
    assert [type(r) for r in records] == [Intent, Found, Outcome]
    outcome = records[-1]
    assert isinstance(outcome, Outcome)
    assert outcome.state is Terminal.DENIED
    assert [reason.policy for reason in outcome.reasons] == [expected]
    # What it was refused on stands in its own record, what it was permitted on in the intent.
    assert outcome.facts is not None
    assert outcome.facts.run is not None
    assert outcome.facts.run.findings == ("probing",)
    assert outcome.bytes_out == 0
    await plane.close()


async def test_a_read_goes_on_though_it_was_found_as_it_left() -> None:
    plane = await held_family(detectors=[Pointing(look=Strength.STRONG)])
    run = await plane.open()
    assert isinstance(await plane.act(run, "look"), Performed)
    assert policies(await plane.act(run, "send")) == ["standard/quarantined"]
    await plane.close()


async def test_two_findings_add_up_and_one_repeated_does_not() -> None:
    plane = await held_family()
    run, other = await plane.open(), await plane.open()
    for _ in range(3):
        find(plane, other)
        plane.clock.advance(1)  # type: ignore[attr-defined]
    find(plane, run)
    find(plane, run, detector="burst")
    assert policies(await plane.act(run, "send")) == ["standard/quarantined"]
    assert policies(await plane.act(other, "send")) == ["standard/challenged"]
    await plane.close()


async def test_a_lift_is_on_disk_before_it_takes_effect_and_on_record() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run)
    (response,) = held(plane)

    async def gone(_: Response) -> None:
        raise StoreUnavailable("The disk is full.")

    kept = plane.store.append_response
    plane.store.append_response = gone  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        await plane.response_desk.lift(response.id, reason="a test", author=OPERATOR)
    assert policies(await plane.act(run, "send")) == ["standard/challenged"]
    plane.store.append_response = kept  # type: ignore[method-assign]
    answer = await plane.response_desk.lift(response.id, reason="a test", author=OPERATOR)
    assert (answer.response.lifts, answer.durable) == (response.id, True)
    assert isinstance(await plane.act(run, "send"), Performed)
    assert (await responded(plane))[-1] == answer.response
    after = await after_crash(plane)
    assert held(after) == []
    assert isinstance(await after.act(run, "send"), Performed)
    with pytest.raises(NotFound):
        await after.response_desk.lift(response.id, reason="again", author=OPERATOR)
    await after.close()


async def test_what_holds_survives_a_crash_and_still_ends() -> None:
    plane = await held_family()
    run = await plane.open(ttl_s=3_600)
    find(plane, run)
    find(plane, run, detector="burst")
    before = held(plane)
    await plane.responses.log.settle()
    after = await after_crash(plane)
    assert held(after) == before
    assert policies(await after.act(run, "send")) == ["standard/quarantined"]
    after.clock.advance(1_801)  # type: ignore[attr-defined]
    assert held(after) == []
    await after.responses.sweep()
    assert not after.responses.standings
    await after.close()


async def test_what_the_store_does_not_take_holds_is_said_and_is_tried_again() -> None:
    plane = await held_family()
    run = await plane.open()
    kept = plane.store.append_response

    async def gone(_: Response) -> None:
        raise StoreUnavailable("The disk is full.")

    plane.store.append_response = gone  # type: ignore[method-assign]
    find(plane, run)
    assert policies(await plane.act(run, "send")) == ["standard/challenged"]
    await plane.responses.sweep()
    (listed,) = plane.response_desk.listing()
    assert not listed.durable
    said = [r for r in await plane.records() if getattr(r, "what", "") == "response.not_kept"]
    assert len(said) == 1
    plane.store.append_response = kept  # type: ignore[method-assign]
    await plane.responses.sweep()
    (listed,) = plane.response_desk.listing()
    assert listed.durable
    assert [each.id for each in await plane.store.list_responses()] == [listed.response.id]
    await plane.close()


async def test_a_revocation_that_a_crash_came_before_is_made_again() -> None:
    plane = await held_family()
    run = await plane.open()
    find(plane, run, detector="canary", strength=Strength.STRONG)
    await plane.responses.close()
    # As if the process had ended between the two.
    plane.store._revocations.clear()  # type: ignore[attr-defined]
    after = await after_crash(plane)
    (stored,) = await after.store.revocations()
    assert stored.revocation.scope == Scope(kind=ScopeKind.RUN, id=run)
    assert isinstance(await after.act(run, "look"), Refused)
    again = await after_crash(after)
    assert len(await again.store.revocations()) == 1
    await again.close()


async def test_an_operator_holds_a_run_or_a_workload_by_hand() -> None:
    plane = await held_family()
    run = await plane.open()
    answer = await plane.response_desk.add(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD),
        Level.QUARANTINE,
        reason="looks turned",
        author=OPERATOR,
        for_s=600,
    )
    assert answer.durable
    assert policies(await plane.act(run, "send")) == ["standard/quarantined"]
    assert policies(await plane.act(await plane.open(), "send")) == ["standard/quarantined"]
    other = await plane.open(workload=OTHER)
    assert isinstance(await plane.act(other, "send"), Performed)
    await plane.response_desk.lift(answer.response.id, reason="it is not", author=OPERATOR)
    assert isinstance(await plane.act(run, "send"), Performed)
    for scope, level in (
        (Scope(kind=ScopeKind.OWNER, id="team-one"), Level.CHALLENGE),
        (Scope(kind=ScopeKind.EVERYTHING), Level.QUARANTINE),
        (Scope(kind=ScopeKind.RUN, id=run), Level.REVOKE),
    ):
        with pytest.raises(Conflict):
            await plane.response_desk.add(scope, level, reason="r", author=OPERATOR)
    with pytest.raises(NotFound):
        await plane.response_desk.add(
            Scope(kind=ScopeKind.RUN, id="run_none"),
            Level.CHALLENGE,
            reason="r",
            author=OPERATOR,
        )
    await plane.close()


async def test_a_workload_that_is_only_observed_is_stopped_by_nothing() -> None:
    plane = await held_family(detectors=[Pointing("canary", send=Strength.STRONG)])
    await observe(plane)
    run = await plane.open()
    assert isinstance(await plane.act(run, "send"), Performed)
    find(plane, run, detector="burst", strength=Strength.STRONG)
    plane.responses.use(rules('[[response]]\nrespond = "throttle"\nrate = "1/h"\n'))
    find(plane, run, detector="busy")
    done = [await plane.act(run, "look") for _ in range(5)]
    assert all(isinstance(each, Performed) for each in done)
    shadows = [r.shadow for r in await plane.records() if isinstance(r, Intent)]
    assert shadows[-1] is not None
    assert [reason.policy for reason in shadows[-1].reasons] == ["standard/found-out"]
    levels = {each.detector: each.level for each in held(plane)}
    assert levels["canary"] is Level.REVOKE
    assert all(each.observed for each in held(plane))
    assert await plane.state(run) is RunState.OPEN
    assert list(await plane.store.revocations()) == []
    await plane.close()


async def test_what_holds_for_an_observed_parent_does_not_stop_its_child() -> None:
    plane = await held_family()
    parent = await plane.open()
    other = await plane.inventory.get(OTHER)
    await plane.store.put_workload(msgspec.structs.replace(other, owner="team-one"))
    await observe(plane)
    child = await plane.delegate(parent, workload=OTHER)
    find(plane, parent, strength=Strength.STRONG)
    found = {run: plane.runs.of(run) for run in (parent, child)}
    levels = {
        run: live.standing(plane.clock.now()).level
        for run, live in found.items()
        if live is not None
    }
    assert levels == {parent: Level.QUARANTINE, child: Level.NONE}
    assert isinstance(await plane.act(child, "send"), Performed)
    await plane.close()


async def test_what_is_in_flight_is_cut_when_its_run_is_held() -> None:
    plane = await held_family()
    run, bystander = await plane.open(), await plane.open()
    entered = asyncio.Semaphore(0)
    forever = asyncio.Event()

    async def hang(action: Action, flight: Flight, sink: Sink) -> Reply:
        del action, flight, sink
        entered.release()
        await forever.wait()
        return Reply(result={"content": []})

    plane.upstream.scripts |= {"send": hang, "look": hang}
    tasks = [
        asyncio.create_task(plane.act(each, tool))
        for each, tool in ((run, "send"), (run, "look"), (bystander, "send"))
    ]
    for _ in tasks:
        await entered.acquire()
    find(plane, run)  # a challenge: what has left goes on
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)
    find(plane, run, strength=Strength.STRONG, detector="drift")
    cut = await tasks[0]
    assert code(cut) is DenyCode.INTERRUPTED
    forever.set()
    assert isinstance(await tasks[1], Performed)
    assert isinstance(await tasks[2], Performed)
    ends = [r.state for r in await plane.records() if isinstance(r, Outcome)]
    assert sorted(ends) == ["done", "done", "interrupted"]
    await plane.close()


async def test_every_response_is_on_record_and_told() -> None:
    plane = await held_family()
    told: list[Response] = []
    plane.responses.on_responded(told.append)
    run = await plane.open()
    find(plane, run)
    await plane.response_desk.lift(held(plane)[0].id, reason="fine", author=OPERATOR)
    assert await responded(plane) == told
    assert [each.lifts != "" for each in told] == [False, True]
    kinds = [type(r) for r in await plane.records() if isinstance(r, Found | Responded)]
    assert kinds == [Found, Responded, Responded]
    await plane.close()


async def observe(plane: Family) -> None:
    found = await plane.inventory.get(WORKLOAD)
    await plane.store.put_workload(msgspec.structs.replace(found, mode=Mode.OBSERVE))
    await plane.inventory.refresh()
    moded = ModedEngine(plane.engine, FixedEngine())
    plane.guard._engine = moded
    plane.guard._second_look._engine = moded


async def test_a_revoked_workload_is_free_when_either_is_lifted() -> None:
    text = '[[response]]\nrespond = "revoke"\nscope = "workload"\nfor = "2h"\n'
    plane = await held_family(text)
    for by_hand in (False, True):
        run = await plane.open()
        find(plane, run, detector=f"detector-{by_hand}")
        assert code(await plane.act(run, "look")) is DenyCode.REVOKED
        await plane.responses.close()
        ((response,), (revocation,)) = held(plane), plane.interruption.listing()
        assert revocation.scope == Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD)
        assert revocation.until == response.until
        if by_hand:
            await plane.interruption.lift(revocation.id, reason="fine", author=OPERATOR)
        else:
            await plane.response_desk.lift(response.id, reason="fine", author=OPERATOR)
        assert held(plane) == []
        assert plane.interruption.listing() == []
        assert isinstance(await plane.act(run, "look"), Performed)
        lifting = (await responded(plane))[-1]
        assert (lifting.lifts, lifting.author) == (response.id, OPERATOR.name)
    await plane.responses.close()
    after = await after_crash(plane, text)
    assert held(after) == []
    assert isinstance(await after.act(run, "look"), Performed)
    await after.close()


async def test_a_revocation_that_the_store_did_not_take_is_made_durable_later() -> None:
    plane = await held_family()
    run = await plane.open()

    async def gone(_: object) -> int:
        raise StoreUnavailable("The disk is full.")

    kept = plane.store.append_revocation
    plane.store.append_revocation = gone  # type: ignore[method-assign]
    find(plane, run, detector="canary", strength=Strength.STRONG)
    assert isinstance(await plane.act(run, "look"), Refused)
    await plane.responses.log.close()
    await plane.interruption.follow()
    assert await plane.store.revocations() == []
    plane.store.append_revocation = kept  # type: ignore[method-assign]
    await plane.interruption.follow()
    (stored,) = await plane.store.revocations()
    assert stored.revocation.scope == Scope(kind=ScopeKind.RUN, id=run)
    await plane.interruption.follow()
    assert len(await plane.store.revocations()) == 1
    await plane.close()


async def test_what_ended_long_ago_is_forgotten_by_the_store() -> None:
    plane = await held_family()
    find(plane, await plane.open())
    await plane.responses.log.settle()
    plane.clock.advance(1_801 + 3_600)  # type: ignore[attr-defined]
    await plane.responses.sweep()
    assert len(await plane.store.list_responses()) == 1  # the limits look back a day
    plane.clock.advance(86_400)  # type: ignore[attr-defined]
    await plane.responses.sweep()
    assert await plane.store.list_responses() == []
    await plane.close()
