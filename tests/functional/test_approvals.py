"""A person is asked, answers, and the action passes once: the whole way, in memory."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from approval_kit import FLOW, OWNER, AskingPlane, asked

from midflight.domain.approval import ApprovalState
from midflight.domain.decision import Challenge, DenyCode
from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound
from midflight.domain.identity import Author
from midflight.domain.records import (
    ApprovalAnswered,
    ApprovalAsked,
    ApprovalEnded,
    Changed,
    Intent,
    Outcome,
)
from midflight.services.guard import Performed, Refused
from midflight.wire import refusal

pytestmark = pytest.mark.anyio

DAY = 86_400
SECURITY = Author(name="bob", proof="peer-uid:1002")


async def test_an_action_that_was_approved_passes_once() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    assert plane.upstream.received == []
    status = await plane.desk.approve(approval, author=OWNER)
    assert (status.state, status.missing) == (ApprovalState.APPROVED, ())
    done = await plane.act(run, to="bob@x.org")
    assert isinstance(done, Performed)
    assert [action.arguments for action in plane.upstream.received] == [{"to": "bob@x.org"}]
    assert await plane.state(approval) == "used"
    # Once: the next one is a new question.
    again = await plane.ask(run, to="bob@x.org")
    assert again != approval
    await plane.close()


async def test_what_was_asked_answered_and_done_is_on_record() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER, remember_s=30 * DAY)
    await plane.act(run, to="bob@x.org")
    records = await plane.records()
    (question,) = [r for r in records if isinstance(r, ApprovalAsked)]
    (answer,) = [r for r in records if isinstance(r, ApprovalAnswered)]
    (intent,) = [r for r in records if isinstance(r, Intent)]
    assert (question.approval, question.run, question.policies) == (approval, run, ("ask",))
    assert (answer.author, answer.proof, answer.yes) == ("team-one", "peer-uid:1001", True)
    assert (answer.endorses, answer.remember_s) == (("to",), 30 * DAY)
    assert (intent.approval, intent.facts.approved, intent.facts.flow) == (approval, True, FLOW)
    assert question.digest == answer.digest == intent.digest
    refused = next(r for r in records if isinstance(r, Outcome) and r.code)
    assert refused.code is DenyCode.APPROVAL_REQUIRED
    # No record of them holds what was sent.
    assert b"bob@x.org" not in b"".join(msgspec.json.encode(r) for r in records)
    await plane.close()


async def test_the_refusal_names_the_request_and_how_to_answer() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    outcome = await plane.act(run, to="bob@x.org")
    assert isinstance(outcome, Refused)
    answer = refusal.as_result(outcome.decision, outcome.record)
    approval = asked(outcome)
    assert f"midflight approval show {approval}" in answer["content"][0]["text"]
    data = answer["_meta"][refusal.REFUSAL]
    assert (data["approval"], data["approvers"]) == (approval, ["owner"])
    await plane.close()


async def test_a_retry_finds_the_question_that_waits() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.advance(100)
    outcome = await plane.act(run, to="bob@x.org")
    assert asked(outcome) == approval
    assert isinstance(outcome, Refused)
    assert isinstance(outcome.decision, Challenge)
    assert outcome.decision.expires_s == 500
    assert await plane.ask(run, to="eve@x.org") != approval
    assert len(await plane.desk.list()) == 2
    await plane.close()


async def test_what_was_refused_is_not_asked_about_again_in_its_run() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    assert (await plane.desk.refuse(approval, author=OWNER)).state is ApprovalState.REFUSED
    plane.clock.advance(700)
    outcome = await plane.act(run, to="bob@x.org")
    assert isinstance(outcome, Refused)
    assert outcome.decision.code is DenyCode.APPROVAL_REQUIRED
    (reason,) = outcome.decision.reasons
    assert reason.policy == f"midflight:refused:{approval}"
    assert "team-one refused" in reason.text
    with pytest.raises(Conflict, match="is refused"):
        await plane.desk.approve(approval, author=OWNER)
    # Another run may ask.
    assert await plane.ask(await plane.open(), to="bob@x.org")
    await plane.close()


async def test_the_arguments_shown_are_those_of_the_digest() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org", body="hello")
    (listed,) = await plane.desk.list(state=ApprovalState.PENDING)
    assert (listed.id, listed.arguments) == (approval, None)
    shown = await plane.desk.show(approval)
    assert shown.arguments == {"to": "bob@x.org", "body": "hello"}
    assert shown.facts.flow == FLOW
    assert [(e.path, e.value) for e in shown.endorses] == [("to", "bob@x.org")]
    assert "bob@x.org" not in repr(shown)
    with pytest.raises(NotFound):
        await plane.desk.show("apr_nothing")
    await plane.close()


async def test_an_expired_question_is_a_no_and_may_be_asked_anew() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    plane.clock.advance(600)
    with pytest.raises(Conflict, match="expired"):
        await plane.desk.approve(approval, author=OWNER)
    assert (await plane.desk.show(approval)).state is ApprovalState.EXPIRED
    await plane.approvals.sweep()
    assert await plane.state(approval) == "expired"
    assert await plane.ask(run, to="bob@x.org") != approval
    ended = [r for r in await plane.records() if isinstance(r, ApprovalEnded)]
    assert [(r.approval, r.state) for r in ended] == [(approval, "expired")]
    await plane.close()


async def test_a_yes_that_was_not_used_in_time_is_worth_nothing() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER)
    plane.clock.advance(600)
    assert await plane.ask(run, to="bob@x.org") != approval
    assert plane.upstream.received == []
    await plane.close()


async def test_a_question_lives_no_longer_than_its_run() -> None:
    plane = AskingPlane()
    await plane.begin()
    run = await plane.open(ttl_s=60)
    approval = await plane.ask(run, to="bob@x.org")
    assert (await plane.desk.show(approval)).expires_at == int(plane.clock.now()) + 60
    await plane.runs.close_run(run, author=OWNER)
    with pytest.raises(Conflict):
        await plane.desk.approve(approval, author=OWNER)
    await asyncio.gather(*plane._beside)
    assert await plane.state(approval) == "void"
    await plane.close()


async def test_every_approver_is_heard() -> None:
    plane = AskingPlane(groups={"security": ["bob", "team-one"]})
    plane.asking.approvers = ("owner", "security")
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    first = await plane.desk.approve(approval, author=OWNER)
    assert (first.state, len(first.missing)) == (ApprovalState.PENDING, 1)
    assert isinstance(await plane.act(run, to="bob@x.org"), Refused)
    with pytest.raises(Conflict, match="already answered"):
        await plane.desk.approve(approval, author=OWNER)
    second = await plane.desk.approve(approval, author=SECURITY)
    assert second.state is ApprovalState.APPROVED
    assert isinstance(await plane.act(run, to="bob@x.org"), Performed)
    await plane.close()


async def test_who_is_no_approver_is_told_what_would_make_him_one() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    for verb in (plane.desk.approve, plane.desk.refuse):
        with pytest.raises(Forbidden, match="bob is none of the approvers") as refused:
            await verb(approval, author=SECURITY)
        assert '[approvals] groups = { "team-one" = ["…"] }' in refused.value.hint
    assert await plane.state(approval) == "pending"
    assert [r for r in await plane.records() if isinstance(r, ApprovalAnswered)] == []
    await plane.close()


async def test_a_policy_that_names_nobody_asks_the_owner() -> None:
    plane = AskingPlane()
    plane.asking.approvers = ()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    assert (await plane.desk.show(approval)).approvers == ("owner",)
    await plane.desk.approve(approval, author=OWNER)
    assert isinstance(await plane.act(run, to="bob@x.org"), Performed)
    await plane.close()


async def test_a_yes_survives_a_restart_and_so_does_its_use() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    first = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(first, author=OWNER)
    await plane.ledger.close()

    again = AskingPlane(restarts=plane, facts=FLOW)
    await again.start(register=False)
    assert await again.approvals.endorsed(run) == ("bob@x.org",)
    assert isinstance(await again.act(run, to="bob@x.org"), Performed)
    await again.ledger.close()

    third = AskingPlane(restarts=plane, facts=FLOW)
    await third.start(register=False)
    assert await third.ask(run, to="bob@x.org") != first
    assert third.upstream.received == []
    await third.close()


# What a yes endorses


async def test_a_yes_endorses_its_key_arguments_for_the_run() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org", body="see https://x.org/a")
    assert plane.endorser.values == {}
    await plane.desk.approve(approval, author=OWNER)
    assert plane.endorser.values == {run: ["bob@x.org"]}
    assert await plane.approvals.endorsed(run) == ("bob@x.org",)
    assert plane.counterparties.known("team-one") == frozenset()
    refused = await plane.ask(run, to="eve@x.org")
    await plane.desk.refuse(refused, author=OWNER)
    assert plane.endorser.values == {run: ["bob@x.org"]}
    assert await plane.approvals.endorsed(run) == ("bob@x.org",)
    await plane.close()


async def test_nothing_is_endorsed_before_all_have_agreed() -> None:
    plane = AskingPlane(facts=FLOW, groups={"security": ["bob"]})
    plane.asking.approvers = ("owner", "security")
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER, remember_s=DAY)
    assert plane.endorser.values == {}
    assert await plane.approvals.endorsed(run) == ()
    assert await plane.counterparties.list() == []
    await plane.desk.approve(approval, author=SECURITY)
    assert plane.endorser.values == {run: ["bob@x.org"]}
    (known,) = await plane.counterparties.list("team-one")
    assert (known.value, known.added_by, known.approval) == ("bob@x.org", "team-one", approval)
    await plane.close()


async def test_what_is_remembered_is_known_to_its_owner_for_a_time() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="Bob@X.org")
    await plane.desk.approve(approval, author=OWNER, remember_s=30 * DAY)
    known = plane.counterparties
    now = plane.clock.now()
    assert known.is_known("team-one", "bob@x.org", now)
    assert not known.is_known("team-two", "bob@x.org", now)
    assert not known.is_known("team-one", "eve@x.org", now)
    assert not known.is_known("team-one", "bob@x.org", now + 30 * DAY)
    assert len(known.known("team-one")) == 1
    plane.clock.advance(30 * DAY)
    assert known.known("team-one") == frozenset()
    await known.refresh()
    assert await plane.store.list_counterparties() == []
    await plane.close()


@pytest.mark.parametrize(
    ("remember_s", "flow", "error"),
    [
        (-1, FLOW, Malformed),
        (367 * DAY, FLOW, Malformed),
        (DAY, msgspec.structs.replace(FLOW, arguments=()), Conflict),
    ],
)
async def test_what_cannot_be_remembered_is_not_approved_either(
    remember_s: int, flow: object, error: type[Exception]
) -> None:
    plane = AskingPlane(facts=flow)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    with pytest.raises(error):
        await plane.desk.approve(approval, author=OWNER, remember_s=remember_s)
    assert await plane.state(approval) == "pending"
    await plane.close()


async def test_only_who_answers_for_the_owner_adds_to_his_list() -> None:
    plane = AskingPlane(facts=FLOW)
    plane.asking.approvers = ("bob",)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    with pytest.raises(Forbidden, match="does not answer for the owner team-one"):
        await plane.desk.approve(approval, author=SECURITY, remember_s=DAY)
    assert (await plane.desk.approve(approval, author=SECURITY)).state is ApprovalState.APPROVED
    await plane.close()


async def test_arguments_that_are_erased_are_not_approved_unseen() -> None:
    plane = AskingPlane()
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.sealer.erase(run)
    assert (await plane.desk.show(approval)).arguments is None
    with pytest.raises(Conflict, match="erased"):
        await plane.desk.approve(approval, author=OWNER)
    assert (await plane.desk.refuse(approval, author=OWNER)).state is ApprovalState.REFUSED
    await plane.close()


# The list itself


async def test_a_list_is_kept_by_hand_too() -> None:
    from midflight.domain.traits import Role  # noqa: PLC0415

    plane = AskingPlane()
    await plane.begin()
    known = plane.counterparties
    (added,) = await known.add(
        "team-one", [(Role.ACCOUNT, "DE89-3704-0044-0532-0130-00")], for_s=DAY, author=OWNER
    )
    assert known.is_known("team-one", "de89370400440532013000", plane.clock.now())
    for role, value, for_s in (
        (Role.AMOUNT, "5", DAY),
        (Role.RECIPIENT, "", DAY),
        (Role.RECIPIENT, "a\u202eb", DAY),
        (Role.RECIPIENT, "a@x.org", 0),
        (Role.RECIPIENT, "a@x.org", 400 * DAY),
    ):
        with pytest.raises(Malformed):
            await known.add("team-one", [(role, value)], for_s=for_s, author=OWNER)
    with pytest.raises(NotFound):
        await known.remove("team-one", "eve@x.org", author=OWNER)
    with pytest.raises(NotFound):
        await known.remove("team-two", added.key, author=OWNER)
    await known.remove("team-one", added.key[:16], author=OWNER)
    assert not known.is_known("team-one", "de89370400440532013000")
    changed = [r for r in await plane.records() if isinstance(r, Changed)]
    assert [r.what for r in changed if r.what.startswith("counterparty")] == [
        "counterparty.add",
        "counterparty.remove",
    ]
    await plane.close()


async def test_no_counterparty_stands_bare_in_the_store_or_the_ledger() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER, remember_s=DAY)
    stored = [*await plane.store.list_counterparties(), *await plane.store.list_approvals()]
    everything = b"".join(msgspec.json.encode(v) for v in [*stored, *await plane.records()])
    assert b"bob@x.org" not in everything
    # Two owners who know the same do not show it.
    from midflight.domain.traits import Role  # noqa: PLC0415

    await plane.counterparties.add(
        "other", [(Role.RECIPIENT, "bob@x.org")], for_s=DAY, author=OWNER
    )
    keys = {entry.key for entry in await plane.store.list_counterparties()}
    assert len(keys) == 2
    await plane.close()


async def test_an_erased_owner_knows_nobody() -> None:
    plane = AskingPlane(facts=FLOW)
    run = await plane.begin()
    approval = await plane.ask(run, to="bob@x.org")
    await plane.desk.approve(approval, author=OWNER, remember_s=DAY)
    await plane.sealer.erase("counterparties:team-one")
    await plane.counterparties.refresh()
    assert not plane.counterparties.is_known("team-one", "bob@x.org", plane.clock.now())
    assert [entry.value for entry in await plane.counterparties.list("team-one")] == [None]
    await plane.close()


async def test_an_answer_to_an_upstream_that_is_asked_about_names_its_request() -> None:
    from midflight.domain.action import Action, ActionKind  # noqa: PLC0415
    from midflight.services.ports.upstream import ClientRequest, Reply  # noqa: PLC0415
    from midflight.testing import ListSink, call, caller  # noqa: PLC0415

    plane = AskingPlane()
    run = await plane.begin()
    plane.engine.ask = lambda q: (  # type: ignore[attr-defined]
        plane.asking(msgspec.structs.replace(q, target=plane.catalogue.target(call("send"))))
        if q.kind is ActionKind.ANSWER
        else plane.asking(q)
    )

    async def asks(action: Action, flight: object, sink: ListSink) -> Reply:
        answer = await sink.ask(ClientRequest(key="k", method="elicitation/create", params={}))
        return Reply(result={"content": [], "structuredContent": answer})

    plane.upstream.scripts["look"] = asks

    async def look() -> Performed | Refused:
        sink = ListSink(answers=[{"action": "accept", "content": {"code": "7"}}])
        return await plane.guard.perform(call("look"), caller(run), sink=sink)

    refused = await look()
    assert isinstance(refused, Refused)
    (waiting,) = await plane.desk.list()
    assert waiting.kind == "answer"
    assert f"midflight approval show {waiting.id}" in refused.decision.help  # type: ignore[union-attr]
    await plane.desk.approve(waiting.id, author=OWNER)
    assert isinstance(await look(), Performed)
    assert await plane.state(waiting.id) == "used"
    await plane.close()


@pytest.mark.parametrize("length", [10, 20_000])
async def test_a_yes_to_one_question_of_an_upstream_does_not_answer_another(length: int) -> None:
    from midflight.domain.action import Action, ActionKind  # noqa: PLC0415
    from midflight.services.ports.upstream import ClientRequest, Reply  # noqa: PLC0415
    from midflight.testing import ListSink, call, caller  # noqa: PLC0415

    plane = AskingPlane()
    run = await plane.begin()
    plane.engine.ask = lambda q: (  # type: ignore[attr-defined]
        plane.asking(msgspec.structs.replace(q, target=plane.catalogue.target(call("send"))))
        if q.kind is ActionKind.ANSWER
        else plane.asking(q)
    )
    question = {"message": "May I read the logs?" + "?" * length}

    async def asks(action: Action, flight: object, sink: ListSink) -> Reply:
        answer = await sink.ask(
            ClientRequest(key="k", method="elicitation/create", params=question)
        )
        return Reply(result={"content": [], "structuredContent": answer})

    plane.upstream.scripts["look"] = asks

    async def look() -> Performed | Refused:
        sink = ListSink(answers=[{"action": "accept", "content": {"confirm": True}}])
        return await plane.guard.perform(call("look"), caller(run), sink=sink)

    assert isinstance(await look(), Refused)
    (waiting,) = await plane.desk.list()
    shown = (await plane.desk.show(waiting.id)).params
    assert shown is not None
    assert ("logs" in str(shown)) is (length < 16_384)
    await plane.desk.approve(waiting.id, author=OWNER)
    question = question | {"message": "May I delete the logs?" + "?" * length}
    assert isinstance(await look(), Refused)
    assert await plane.state(waiting.id) == "approved"
    await plane.close()
