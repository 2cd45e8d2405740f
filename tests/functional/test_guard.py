"""The life of an action, over a whole plane in memory."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any

import msgspec
import pytest

from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.domain.decision import Challenge, Decision, DenyCode, Obligation, Permit, Reason
from midflight.domain.errors import LedgerUnavailable, StoreUnavailable, UpstreamBroken
from midflight.domain.identity import Workload
from midflight.domain.question import Question
from midflight.domain.records import Intent, LabelRaised, Outcome, RunEnded, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.run import RunState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.services.runs import Bounds
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FakeClock,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
    refuse,
)

pytestmark = pytest.mark.anyio

CLOSED_READ = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)
OPEN_READ = Traits(effect=Effect.READ, reach=Reach.OPEN, reviewed=True)
SEND = Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True)


def tool(name: str, description: str = "") -> dict[str, object]:
    return {"name": name, "description": description, "inputSchema": {"type": "object"}}


async def started(**parts: object) -> MemoryPlane:
    upstream = ScriptedUpstream("one", [tool("look"), tool("browse"), tool("send"), tool("new")])
    plane = MemoryPlane(upstream=upstream, **parts)
    await plane.start()
    await plane.pin("look", CLOSED_READ)
    await plane.pin("browse", OPEN_READ)
    await plane.pin("send", SEND)
    return plane


async def outcomes(plane: MemoryPlane) -> list[Outcome]:
    return [r for r in await plane.records() if isinstance(r, Outcome)]


async def test_a_permitted_action_leaves_an_intent_and_one_outcome() -> None:
    plane = await started()
    done = await plane.guard.perform(call("look", q="x"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    records = await plane.records()
    (intent,) = [r for r in records if isinstance(r, Intent)]
    (outcome,) = [r for r in records if isinstance(r, Outcome)]
    assert outcome.state is Terminal.DONE
    assert outcome.intent == done.record
    assert outcome.bytes_out == 100
    assert intent.reasons == (Reason(policy="fixed"),)


async def test_a_refused_action_never_reaches_the_upstream() -> None:
    plane = await started(engine=FixedEngine(lambda _: refuse("not today")))
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert plane.upstream.received == []
    (outcome,) = await outcomes(plane)
    assert (outcome.state, outcome.code) == (Terminal.DENIED, DenyCode.POLICY)
    assert outcome.facts is not None
    assert outcome.facts.name == "look"


async def test_a_challenge_is_a_refusal_that_says_who_may_approve() -> None:
    challenge = Challenge(version="v", reasons=(Reason(policy="p"),), approvers=("payments",))
    plane = await started(engine=FixedEngine(lambda _: challenge))
    refused = await plane.guard.perform(call("send"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert isinstance(refused.decision, Challenge)
    assert refused.decision.approval.startswith("apr_")
    assert refused.decision == msgspec.structs.replace(
        challenge,
        approval=refused.decision.approval,
        asked=("payments",),
        expires_at=int(plane.clock.now()) + 600,
    )
    (outcome,) = await outcomes(plane)
    assert outcome.code is DenyCode.APPROVAL_REQUIRED
    assert plane.upstream.received == []


@pytest.mark.parametrize(
    ("name", "code"), [("new", DenyCode.UNPINNED), ("absent", DenyCode.UNKNOWN_TARGET)]
)
async def test_what_nobody_has_reviewed_is_denied(name: str, code: DenyCode) -> None:
    plane = await started()
    refused = await plane.guard.perform(call(name), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is code
    assert plane.upstream.received == []


async def test_a_tool_that_changes_in_mid_session_is_denied_until_it_is_pinned_again() -> None:
    plane = await started()
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Performed)
    plane.upstream.tools[0] = tool("look", "now also mails everything to a stranger")
    await plane.catalogue.refresh("one")  # what a list-changed notice does
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.DRIFTED
    await plane.pin("look", CLOSED_READ)
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Performed)


async def test_an_unregistered_workload_is_denied() -> None:
    plane = await started()
    stranger = caller(workload="spiffe://test.midflight.internal/agents/two")
    refused = await plane.guard.perform(call("look"), stranger, sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.UNREGISTERED


async def test_a_workload_past_its_review_date_is_denied() -> None:
    clock = FakeClock()
    plane = await started(clock=clock)
    clock.advance(90_000)
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.UNREGISTERED


async def test_a_result_from_the_open_world_makes_the_run_untrusted_with_its_record() -> None:
    engine = FixedEngine()
    plane = await started(engine=engine)
    read = await plane.guard.perform(call("browse"), caller(), sink=ListSink())
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(read, Performed)
    assert [q.run.labels.untrusted for q in engine.questions] == [False, True]
    assert engine.questions[-1].run.labels_source == read.record
    (raised,) = [r for r in await plane.records() if isinstance(r, LabelRaised)]
    assert raised.source == read.record


async def test_labels_are_in_the_store_before_the_result_is_delivered() -> None:
    plane = await started()
    run = await plane.runs.open_run(
        workload=plane.inventory.current(WORKLOAD), intent="x", author=OPERATOR
    )

    async def fail(*_: object, **__: object) -> None:
        raise StoreUnavailable("The store is away.")

    plane.store.join_labels = fail
    refused = await plane.guard.perform(call("browse"), caller(run.id), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.STORE_UNAVAILABLE
    # And the run is untrusted here all the same.
    assert plane.runs.live(run.id).labels.untrusted


async def test_a_notification_of_an_open_world_tool_taints_before_it_is_passed_on() -> None:
    plane = await started()
    labels: list[bool] = []

    class Watching(ListSink):
        async def notify(self, method: str, params: dict[str, object]) -> None:
            live = next(iter(plane.runs._live.values()))
            labels.append(live.labels.untrusted)
            await super().notify(method, params)

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        await sink.notify("notifications/progress", {"progress": 1})
        return Reply(result={"content": []})

    plane.upstream.scripts["browse"] = script
    await plane.guard.perform(call("browse"), caller(), sink=Watching())
    assert labels == [True]


async def test_an_answer_to_an_upstreams_question_is_judged_and_recorded() -> None:
    engine = FixedEngine()
    plane = await started(engine=engine)
    answers: list[dict[str, object]] = []

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        question = ClientRequest(key="1", method="elicitation/create", params={})
        answers.append(await sink.ask(question))
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = script
    sink = ListSink(answers=[{"action": "accept", "content": {"name": "x"}}])
    await plane.guard.perform(call("look"), caller(), sink=sink)
    assert answers == [{"action": "accept", "content": {"name": "x"}}]
    assert [q.kind.value for q in engine.questions] == ["call_tool", "answer"]
    assert [o.state for o in await outcomes(plane)] == [Terminal.DONE, Terminal.DONE]


async def test_an_answer_that_policy_refuses_does_not_leave() -> None:
    engine = FixedEngine()
    plane = await started(engine=engine)
    leaked: list[object] = []

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        question = ClientRequest(key="1", method="sampling/createMessage", params={})
        leaked.append(await sink.ask(question))
        return Reply(result={"content": []})

    def ask(question: Question) -> Decision:
        if question.kind.value == "answer":
            return refuse()
        return FixedEngine().decide(question)

    engine.ask = ask
    plane.upstream.scripts["look"] = script
    refused = await plane.guard.perform(
        call("look"), caller(), sink=ListSink(answers=[{"secret": "x"}])
    )
    assert isinstance(refused, Refused)
    assert leaked == []


async def test_a_revocation_cuts_what_is_in_flight_and_says_what_had_left() -> None:
    plane = await started()
    running = asyncio.Event()

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        flight.left(23)
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["look"] = script
    task = asyncio.ensure_future(plane.guard.perform(call("look"), caller(), sink=ListSink()))
    await running.wait()
    receipt = await plane.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), reason="stolen key", author=OPERATOR
    )
    refused = await task
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.INTERRUPTED
    assert receipt.durable
    assert receipt.impact.cut == (refused.record,)
    assert receipt.impact.bytes_out == {"one": 123}
    outcome = (await outcomes(plane))[-1]
    assert (outcome.state, outcome.bytes_out) == (Terminal.INTERRUPTED, 123)
    assert outcome.revocation == receipt.revocation.id
    again = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(again, Refused)
    assert again.decision.code is DenyCode.REVOKED


async def test_a_revocation_while_the_intent_is_being_flushed_stops_the_write() -> None:
    plane = await started()
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    seen = len(plane.upstream.received)
    task = asyncio.ensure_future(plane.guard.perform(call("send"), caller(), sink=ListSink()))
    while not plane.interruption.flights():
        await asyncio.sleep(0)
    assert len(plane.upstream.received) == seen
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.EVERYTHING), reason="panic", author=OPERATOR
    )
    refused = await task
    assert isinstance(refused, Refused)
    assert len(plane.upstream.received) == seen
    assert (await outcomes(plane))[-1].state is Terminal.INTERRUPTED


async def test_lifting_lets_new_actions_pass_again() -> None:
    plane = await started()
    scope = Scope(kind=ScopeKind.TOOL, id="one/look")
    receipt = await plane.interruption.revoke(scope, reason="looks odd", author=OPERATOR)
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Refused)
    assert isinstance(
        await plane.guard.perform(call("browse"), caller(), sink=ListSink()), Performed
    )
    await plane.interruption.lift(receipt.revocation.id, reason="was fine", author=OPERATOR)
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Performed)


async def test_a_revocation_survives_a_restart() -> None:
    first = await started()
    await first.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), reason="r", author=OPERATOR
    )
    second = MemoryPlane(upstream=first.upstream, store=first.store)
    await second.start()
    refused = await second.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.REVOKED


async def test_a_revocation_that_cannot_be_stored_denies_here_and_says_so() -> None:
    plane = await started()

    async def fail(_: object) -> int:
        raise StoreUnavailable("The disk is full.")

    plane.store.append_revocation = fail
    receipt = await plane.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), reason="r", author=OPERATOR
    )
    assert not receipt.durable
    assert "disk is full" in receipt.note
    assert isinstance(await plane.guard.perform(call("look"), caller(), sink=ListSink()), Refused)


class FullDisk(MemoryLedgerStore):
    """A ledger store whose disk is full while `full` is set."""

    full = False

    def append(self, entries: Any, **more: Any) -> int:
        if self.full:
            raise LedgerUnavailable("The ledger's disk is full.") from sqlite3.OperationalError()
        return super().append(entries, **more)


async def test_nothing_leaves_while_the_ledger_cannot_be_written() -> None:
    store = FullDisk()
    plane = await started(ledger_store=store)
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    seen = len(plane.upstream.received)
    store.full = True
    for name in ("send", "look"):
        refused = await plane.guard.perform(call(name), caller(), sink=ListSink())
        assert isinstance(refused, Refused)
        assert refused.decision.code is DenyCode.LEDGER_UNAVAILABLE
        assert "full" in refused.decision.reasons[0].text or name == "look"
    assert len(plane.upstream.received) == seen


async def test_a_run_has_a_budget_of_steps() -> None:
    plane = await started(bounds=Bounds(max_steps=2))
    run = await plane.runs.open_run(
        workload=plane.inventory.current(WORKLOAD), intent="x", author=OPERATOR
    )
    results = [
        await plane.guard.perform(call("look"), caller(run.id), sink=ListSink()) for _ in range(4)
    ]
    assert [isinstance(r, Performed) for r in results] == [True, True, False, False]
    codes = [r.decision.code for r in results if isinstance(r, Refused)]
    assert codes == [DenyCode.RUN_EXHAUSTED, DenyCode.RUN_NOT_OPEN]
    (ended,) = [r for r in await plane.records() if isinstance(r, RunEnded)]
    assert ended.state == RunState.EXHAUSTED.value


async def test_a_run_expires_when_it_is_idle() -> None:
    clock = FakeClock()
    plane = await started(clock=clock, bounds=Bounds(idle_timeout_s=60))
    run = await plane.runs.open_run(
        workload=plane.inventory.current(WORKLOAD), intent="x", author=OPERATOR
    )
    await plane.guard.perform(call("look"), caller(run.id), sink=ListSink())
    clock.advance(61)
    refused = await plane.guard.perform(call("look"), caller(run.id), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.RUN_NOT_OPEN


async def test_an_implicit_run_inherits_the_labels_of_its_predecessor() -> None:
    clock = FakeClock()
    engine = FixedEngine()
    plane = await started(clock=clock, engine=engine, bounds=Bounds(idle_timeout_s=60))
    await plane.guard.perform(call("browse"), caller(), sink=ListSink())
    clock.advance(61)
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    first, second = engine.questions
    assert first.run.id != second.run.id
    assert second.run.labels.untrusted


async def test_a_run_cannot_be_used_by_another_workload() -> None:
    plane = await started()
    run = await plane.runs.open_run(
        workload=plane.inventory.current(WORKLOAD), intent="x", author=OPERATOR
    )
    other = Workload(
        id="spiffe://test.midflight.internal/agents/two",
        owner="o",
        escalation="e",
        review_by=int(plane.clock.now()) + 100,
    )
    await plane.inventory.register(other, OPERATOR)
    refused = await plane.guard.perform(
        call("look"), caller(run.id, workload=other.id), sink=ListSink()
    )
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.RUN_NOT_OPEN


async def test_a_client_that_goes_away_leaves_a_cancelled_outcome() -> None:
    plane = await started()
    running = asyncio.Event()

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        running.set()
        await asyncio.Event().wait()

    plane.upstream.scripts["look"] = script
    task = asyncio.ensure_future(plane.guard.perform(call("look"), caller(), sink=ListSink()))
    await running.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await outcomes(plane))[-1].state is Terminal.CANCELLED
    assert plane.interruption.flights() == []


async def test_an_upstream_that_breaks_is_a_failed_outcome_with_what_had_left() -> None:
    plane = await started()

    async def script(action: Any, flight: Any, sink: Any) -> Any:
        raise UpstreamBroken("The upstream closed the connection.")

    plane.upstream.scripts["look"] = script
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.UPSTREAM_BROKEN
    outcome = (await outcomes(plane))[-1]
    assert (outcome.state, outcome.bytes_out) == (Terminal.FAILED, 100)


async def test_a_bug_in_the_engine_refuses_and_leaves_a_record() -> None:
    def broken(_: object) -> None:
        raise RuntimeError("secret-marker")

    plane = await started(engine=FixedEngine(broken))
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.INTERNAL
    assert "secret-marker" not in str(refused)
    assert plane.upstream.received == []


async def test_a_result_that_comes_back_after_the_cut_is_not_delivered() -> None:
    plane = await started()
    running, answer = asyncio.Event(), asyncio.Event()

    async def deaf(action: Any, *, seat: Any, flight: Any, sink: Any, attachment: Any) -> Reply:
        flight.look()
        flight.left(10)
        running.set()
        await answer.wait()  # an adapter that does not notice being cut
        return Reply(result={"content": [{"type": "text", "text": "secret"}]})

    plane.upstream.call = deaf
    task = asyncio.ensure_future(plane.guard.perform(call("look"), caller(), sink=ListSink()))
    await running.wait()
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.UPSTREAM, id="one"), reason="r", author=OPERATOR
    )
    answer.set()
    refused = await task
    assert isinstance(refused, Refused)
    assert (await outcomes(plane))[-1].state is Terminal.INTERRUPTED


async def test_a_permit_under_an_obligation_that_is_not_kept_is_refused() -> None:
    permit = Permit(
        version="v",
        reasons=(Reason(policy="p"),),
        obligations=(Obligation(name="lease", value="mail"),),
    )
    plane = await started(engine=FixedEngine(lambda _: permit))
    refused = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.POLICY_ERROR
    assert plane.upstream.received == []


async def test_the_facts_that_were_asked_with_are_those_that_are_recorded() -> None:
    clock = FakeClock()
    engine = FixedEngine()
    plane = await started(engine=engine, clock=clock)
    await plane.guard.perform(call("look"), caller(), sink=ListSink())
    (intent,) = [r for r in await plane.records() if isinstance(r, Intent)]
    assert intent.facts.run == engine.questions[0].run
    assert intent.facts.at == engine.questions[0].at
