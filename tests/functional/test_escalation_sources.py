"""What becomes a question, and whose it is: approvals, findings, revocations, stuck leases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from approval_kit import OWNER
from glass_kit import PEOPLE, GlassPlane

from midflight.apps.settings_values import looks_secret
from midflight.domain.errors import NotFound
from midflight.domain.finding import Finding, Strength
from midflight.domain.lease import Credential, Lease, LeaseState
from midflight.domain.notice import Notice, NoticeKind, NoticeState, Severity
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.approval_desk import ApprovalStatus
from midflight.services.escalation_items import HIDDEN, EscalationItems
from midflight.services.escalation_sources import EscalationSources
from midflight.services.guard import Performed
from midflight.testing import OPERATOR, WORKLOAD

pytestmark = pytest.mark.anyio

TO = {"to": "bob@x.org"}


class SourcedPlane(GlassPlane):
    """A plane whose escalation listens."""

    stuck = 0

    def __init__(self, **parts: Any) -> None:
        super().__init__(**parts)
        self.sources = EscalationSources(
            self.escalation,
            store=self.store,
            clock=self.clock,
            interruption=self.interruption,
            workload=self.inventory.current,
            stuck=lambda: self.stuck,
        )

    async def listen(self) -> None:
        self.approvals.on_filed(self.sources.approval_filed)
        self.approvals.on_settled(self.sources.approval_settled)
        self.detection.respond_with(self.sources.found)
        self.responses.on_beyond(self.sources.beyond)
        self.interruption.on_revoked(self.sources.revoked)
        await self.sources.settle()
        await self.sources.start()

    async def waiting(self) -> list[Notice]:
        await self.escalation.write()
        await self.sources.look()
        return list(await self.escalation.open_notices())


@pytest.fixture
async def plane() -> AsyncIterator[SourcedPlane]:
    made = SourcedPlane()
    yield made
    await made.close()


async def test_a_question_is_its_approvers_then_the_owners_then_the_contacts(
    plane: SourcedPlane,
) -> None:
    run = await plane.begin()
    await plane.listen()
    plane.asking.approvers = ("boss", "owner")
    approval = await plane.ask(run, **TO)
    (notice,) = await plane.waiting()
    assert (notice.kind, notice.subject, notice.owner) == (
        NoticeKind.APPROVAL,
        approval,
        "team-one",
    )
    assert notice.chain == ("boss", "team-one", "oncall")
    assert notice.together == 2
    request = await plane.store.get_approval(approval)
    assert request is not None
    assert (notice.digest, notice.expires_at) == (request.digest, request.expires_at)
    assert dict(notice.facts)["action"] == "one/send"
    assert "bob@x.org" not in str(notice.facts)  # arguments are sealed, and stay so


async def test_a_team_stands_in_for_an_owner_who_cannot_be_reached(plane: SourcedPlane) -> None:
    run = await plane.begin()
    known = plane.inventory.current(WORKLOAD)
    assert known is not None
    changed = msgspec.structs.replace(known, owner="somebody", team="boss")
    await plane.inventory.register(changed, OPERATOR)
    await plane.listen()
    await plane.ask(run, **TO)
    (notice,) = await plane.waiting()
    assert (notice.owner, notice.chain) == ("somebody", ("boss", "oncall"))


async def test_a_question_ends_with_its_answer_its_use_and_its_run(plane: SourcedPlane) -> None:
    run = await plane.begin()
    await plane.listen()
    approval = await plane.ask(run, **TO)
    await plane.desk.approve(approval, author=OWNER)
    assert await plane.waiting() == []
    assert isinstance(await plane.act(run, **TO), Performed)
    await plane.ask(run, to="carol@x.org")
    assert len(await plane.waiting()) == 1
    await plane.approvals.run_ended(run)
    assert await plane.waiting() == []


async def test_a_question_ends_with_its_time(plane: SourcedPlane) -> None:
    run = await plane.begin()
    await plane.listen()
    await plane.ask(run, **TO)
    plane.clock.advance(601)
    assert await plane.waiting() == []


async def test_what_was_asked_and_answered_while_nobody_listened_is_found(
    plane: SourcedPlane,
) -> None:
    run = await plane.begin()
    first = await plane.ask(run, **TO)
    second = await plane.ask(run, to="carol@x.org")
    await plane.sources.start()
    assert {each.subject for each in await plane.waiting()} == {first, second}
    await plane.desk.refuse(first, author=OWNER)
    await plane.sources.settle()
    assert [each.subject for each in await plane.waiting()] == [second]


def found(plane: SourcedPlane, detector: str, strength: Strength, *, run: str = "") -> None:
    """A detector has found something about the workload."""
    plane.detection.found(
        Finding(
            id="fnd_1",
            at=plane.clock.now(),
            detector=detector,
            strength=strength,
            seen="odd things",
            workload=WORKLOAD,
            run=run,
        )
    )


@pytest.mark.parametrize(
    ("strength", "severity"),
    [(Strength.WEAK, None), (Strength.FAIR, Severity.WARNING), (Strength.STRONG, Severity.ERROR)],
)
async def test_a_finding_that_says_something_is_told_until_somebody_has_it(
    plane: SourcedPlane, strength: Strength, severity: Severity | None
) -> None:
    await plane.begin()
    await plane.listen()
    found(plane, "probing", strength, run="run_1")
    waiting = await plane.waiting()
    if severity is None:
        assert waiting == []
        return
    (notice,) = waiting
    assert (notice.severity, notice.chain) == (severity, ("team-one", "oncall", "boss"))
    assert dict(notice.facts)["seen"] == "odd things"
    after = await plane.escalation.acknowledge("fnd_1", author=OPERATOR)
    assert after.state is NoticeState.RESOLVED
    assert await plane.waiting() == []


@pytest.mark.parametrize(("strength", "told"), [(Strength.WEAK, 0), (Strength.STRONG, 1)])
async def test_people_hear_when_less_was_done_than_policy_asks_for(
    plane: SourcedPlane, strength: Strength, told: int
) -> None:
    await plane.begin()
    await plane.listen()
    found(plane, "classifier", strength)
    less = [each for each in await plane.waiting() if each.subject.startswith("rsp_")]
    assert len(less) == told
    for notice in less:
        assert dict(notice.facts)["why not more"] == "It names no run, and policy holds runs."
        assert notice.chain == ("team-one", "oncall", "boss")


async def test_a_finding_that_the_last_process_did_not_tell_of_is_found_in_the_ledger(
    plane: SourcedPlane,
) -> None:
    await plane.begin()
    seen = Finding(
        id="fnd_1",
        at=plane.clock.now(),
        detector="canary",
        strength=Strength.STRONG,
        seen="a canary",
        workload=WORKLOAD,
    )
    plane.detection.found(seen)  # nobody listens yet
    for _ in range(2):
        await plane.sources.start(await plane.records())
        assert [each.subject for each in await plane.waiting()] == ["fnd_1"]


async def test_a_bug_in_telling_stops_no_action(
    plane: SourcedPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await plane.begin()
    await plane.listen()
    monkeypatch.setattr(plane.escalation, "wanted", lambda *given: 1 / 0)
    await plane.ask(run, **TO)  # asked about as ever
    assert isinstance(await plane.act(run, "look"), Performed)


@pytest.mark.parametrize(
    ("scope", "owner"),
    [
        (Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), "team-one"),
        (Scope(kind=ScopeKind.OWNER, id="team-one"), "team-one"),
        (Scope(kind=ScopeKind.UPSTREAM, id="one"), ""),
    ],
)
async def test_a_revocation_is_told_until_it_is_lifted(
    plane: SourcedPlane, scope: Scope, owner: str
) -> None:
    await plane.begin()
    await plane.listen()
    done = await plane.interruption.revoke(scope, reason="stop it", author=OPERATOR)
    (notice,) = await plane.waiting()
    assert (notice.kind, notice.subject, notice.owner) == (
        NoticeKind.REVOCATION,
        done.revocation.id,
        owner,
    )
    assert dict(notice.facts)["reason"] == "stop it"
    await plane.escalation.acknowledge(notice.id, author=OPERATOR)
    assert len(await plane.waiting()) == 1
    await plane.interruption.lift(done.revocation.id, reason="over", author=OPERATOR)
    await plane.waiting()
    assert await plane.waiting() == []


async def test_the_revocation_of_a_run_goes_to_its_owner_and_ends_when_somebody_has_it(
    plane: SourcedPlane,
) -> None:
    run = await plane.begin()
    await plane.listen()
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.RUN, id=run), reason="stop it", author=OPERATOR
    )
    (notice,) = await plane.waiting()
    assert (notice.owner, notice.workload, notice.run) == ("team-one", WORKLOAD, run)
    await plane.escalation.acknowledge(notice.id, author=OPERATOR)
    assert await plane.waiting() == []


async def test_a_revocation_of_long_ago_is_no_news_and_a_fresh_one_is(
    plane: SourcedPlane,
) -> None:
    await plane.begin()
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.UPSTREAM, id="old"), reason="x", author=OPERATOR
    )
    plane.clock.advance(90_000)
    fresh = await plane.interruption.revoke(
        Scope(kind=ScopeKind.UPSTREAM, id="new"), reason="x", author=OPERATOR
    )
    await plane.listen()
    assert [each.subject for each in await plane.waiting()] == [fresh.revocation.id]


async def test_a_lease_that_is_stuck_is_told_until_it_is_gone(plane: SourcedPlane) -> None:
    await plane.begin()
    await plane.listen()
    now = int(plane.clock.now())
    lease = Lease(
        id="lease_1",
        credential="crm",
        backend="postgres",
        external="mf_1",
        run="run_1",
        workload=WORKLOAD,
        state=LeaseState.INTENT,
        created_at=now,
        expires_at=now + 60,
        max_expires_at=now + 60,
    )
    await plane.store.put_credential(
        Credential(name="crm", backend="postgres", upstreams=frozenset(), injections=())
    )
    await plane.store.create_lease(lease, holder="me")
    await plane.store.begin_revoking(["lease_1"], now=now, until=now)
    await plane.store.fail_revoking(
        "lease_1", attempts=9, next_try_at=now, error="refused", stuck=True
    )
    plane.stuck = 1
    (notice,) = await plane.waiting()
    assert (notice.kind, notice.owner, dict(notice.facts)["why"]) == (
        NoticeKind.LEASE,
        "team-one",
        "refused",
    )
    await plane.store.finish_lease("lease_1")
    plane.stuck = 0
    await plane.waiting()
    assert await plane.waiting() == []


def test_the_people_of_this_file_can_be_told() -> None:
    assert set(PEOPLE) == {"team-one", "oncall", "boss"}


ADDRESSES = [
    ("https://user:hunter2@files.example/a?token=s3cret#frag", "https://files.example/a?…"),
    ("https://files.example/a#access_token=s3cret", "https://files.example/a?…"),
    ("file:///srv/a.txt", "file:///srv/a.txt"),
    ("send", "send"),
]


@pytest.mark.parametrize(("name", "shown"), ADDRESSES, ids=[name for name, _ in ADDRESSES])
async def test_an_address_is_told_without_what_opens_it(
    plane: SourcedPlane, name: str, shown: str
) -> None:
    run = await plane.begin()
    await plane.listen()
    plane.detection.found(
        Finding(
            id="fnd_1",
            at=plane.clock.now(),
            detector="first-use",
            strength=Strength.FAIR,
            seen="never before",
            workload=WORKLOAD,
            upstream="one",
            name=name,
        )
    )
    (notice,) = [each for each in await plane.waiting() if each.subject == "fnd_1"]
    assert dict(notice.facts)["about"] == f"one/{shown}"
    request = await plane.store.get_approval(await plane.ask(run, **TO))
    assert request is not None
    asked, _ = plane.sources._of_approval(msgspec.structs.replace(request, name=name))
    assert dict(asked.facts)["action"] == f"one/{shown}"
    assert "s3cret" not in asked.group


class Nothing:
    """Shows no approval."""

    async def show(self, approval_id: str) -> ApprovalStatus:
        raise NotFound(f"There is no {approval_id}.")


async def test_a_credential_that_a_reason_repeats_is_told_to_no_channel(
    plane: SourcedPlane,
) -> None:
    key = "ghp_" + "a1B2" * 9
    await plane.begin()
    await plane.listen()
    await plane.interruption.revoke(
        Scope(kind=ScopeKind.WORKLOAD, id=WORKLOAD), reason=f"leaked: {key}", author=OPERATOR
    )
    (notice,) = await plane.waiting()
    items = EscalationItems(
        shows=Nothing(),
        clock=plane.clock,
        channels={},
        is_secret=lambda name, text: looks_secret(text, named=name),
    )
    facts = dict((await items.item(notice, "chat")).facts)
    assert facts["reason"] == HIDDEN
    assert facts["scope"] == f"workload {WORKLOAD}"
