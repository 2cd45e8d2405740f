"""What every store promises about approvals; `ports/approval_store.py` says it in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.approval import Answer, ApprovalRequest, ApprovalState, Shown
from midflight.domain.counterparty import Counterparty
from midflight.domain.decision import Reason
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.labels import BOTTOM, Confidentiality, Labels
from midflight.domain.provenance import ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.records import Sealed
from midflight.domain.run import Run, RunState
from midflight.domain.traits import Effect, Reach, Role, Traits
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
STATES = list(ApprovalState)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "midflight.db")
    )
    await made.open()
    for run in ("run_a", "run_b"):
        await made.create_run(
            Run(
                id=run,
                workload="spiffe://example.org/agents/triage",
                intent=None,
                opened_by="ada (peer-uid:1000)",
                opened_at=NOW,
                expires_at=NOW + 3600,
                idle_timeout=900,
                max_steps=10,
                salt="grain",
            ),
            labels=BOTTOM,
            labels_source="",
        )
    yield made
    await made.close()


def request_of(number: int = 1, **changes: Any) -> ApprovalRequest:
    fields: dict[str, Any] = {
        "id": f"apr_{number}",
        "digest": f"{number:064x}",
        "run": "run_a",
        "workload": "spiffe://example.org/agents/triage",
        "owner": "ada",
        "kind": "call_tool",
        "method": "tools/call",
        "upstream": "mail",
        "name": "send",
        "arguments": Sealed(key="run_a", nonce=b"\x00\xff", box=b"box"),
        "reasons": (Reason(policy="standard/effects-untrusted", text="why", help="how"),),
        "approvers": ("owner",),
        "shown": Shown(
            labels=Labels(
                untrusted=True,
                confidentiality=Confidentiality.INTERNAL,
                compartments=frozenset({"hr"}),
            ),
            labels_source="00000001-1",
            flow=FlowFacts(
                arguments=(ArgumentFacts(path="to", role=Role.RECIPIENT, origin=Origin.UNTRUSTED),),
                origin=Origin.UNTRUSTED,
                concerns=(Concern.KEY_UNTRUSTED,),
            ),
            pin="d" * 64,
            traits=Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True),
            version="v1",
        ),
        "created_at": NOW,
        "expires_at": NOW + 600,
    }
    return ApprovalRequest(**{**fields, **changes})


def answer(author: str = "ada", **changes: Any) -> Answer:
    fields: dict[str, Any] = {
        "author": author,
        "proof": "peer-uid:1000",
        "at": NOW + 1,
        "yes": True,
        "stands_for": ("owner",),
    }
    return Answer(**{**fields, **changes})


async def filed(store: Store, number: int = 1, **changes: Any) -> ApprovalRequest:
    made = request_of(number, **changes)
    found = await store.file_approval(made, max_pending=100, now=NOW)
    assert found == made
    return made


async def test_a_request_comes_back_as_it_was_filed(store: Store) -> None:
    request = await filed(store)
    bare = await filed(store, 2, arguments=None, reasons=(), shown=Shown())
    assert await store.get_approval(request.id) == request
    assert await store.last_approval(request.digest) == request
    assert await store.get_approval(bare.id) == bare
    assert await store.get_approval("apr_9") is None
    assert await store.last_approval("f" * 64) is None


async def test_a_question_is_asked_once(store: Store) -> None:
    request = await filed(store)
    again = request_of(2, digest=request.digest)
    assert await store.file_approval(again, max_pending=100, now=NOW) == request
    assert await store.get_approval(again.id) is None
    approved = await store.answer_approval(request.id, answer())
    assert await store.file_approval(again, max_pending=100, now=NOW) == approved


async def test_a_no_stands_for_its_digest(store: Store) -> None:
    request = await filed(store)
    await store.answer_approval(request.id, answer(yes=False))
    found = await store.file_approval(
        request_of(2, digest=request.digest), max_pending=100, now=NOW + 100_000
    )
    assert found is not None
    assert (found.id, found.state) == (request.id, ApprovalState.REFUSED)


@pytest.mark.parametrize("how", ["expired", "void", "used", "late"])
async def test_what_is_over_is_asked_about_anew(store: Store, how: str) -> None:
    request, now = await filed(store), NOW
    if how == "used":
        await store.answer_approval(request.id, answer())
        assert await store.use_approval(request.id, now=NOW + 2)
    elif how == "late":
        now = request.expires_at
    else:
        assert await store.end_approval(request.id, ApprovalState(how))
    again = request_of(2, digest=request.digest, expires_at=NOW + 9000)
    assert await store.file_approval(again, max_pending=100, now=now) == again
    assert await store.last_approval(request.digest) == again


async def test_the_pending_requests_of_a_run_are_bounded(store: Store) -> None:
    for number in (1, 2):
        await filed(store, number)
    assert await store.file_approval(request_of(3), max_pending=2, now=NOW) is None
    # Another run has a bound of its own, and what has ended does not count.
    other = request_of(4, run="run_b")
    assert await store.file_approval(other, max_pending=2, now=NOW) == other
    await store.answer_approval("apr_1", answer())
    assert await store.file_approval(request_of(3), max_pending=2, now=NOW) == request_of(3)
    late = request_of(5, expires_at=NOW + 9000)
    assert await store.file_approval(late, max_pending=2, now=NOW + 600) == late


async def test_an_id_is_given_once(store: Store) -> None:
    await filed(store)
    with pytest.raises(Conflict):
        await store.file_approval(request_of(1, digest="e" * 64), max_pending=9, now=NOW)


async def test_an_answer_is_kept_with_its_author(store: Store) -> None:
    request = await filed(store)
    given = answer(remember_s=86_400)
    approved = await store.answer_approval(request.id, given)
    assert (approved.state, approved.answers) == (ApprovalState.APPROVED, (given,))
    assert await store.get_approval(request.id) == approved


async def test_all_approvers_must_agree(store: Store) -> None:
    request = await filed(store, approvers=("owner", "security"))
    first = await store.answer_approval(request.id, answer())
    assert first.state is ApprovalState.PENDING
    assert not await store.use_approval(request.id, now=NOW + 2)
    with pytest.raises(Conflict, match="already answered"):
        await store.answer_approval(request.id, answer(stands_for=("security",)))
    second = await store.answer_approval(request.id, answer("bob", stands_for=("security",)))
    assert second.state is ApprovalState.APPROVED
    assert [given.author for given in second.answers] == ["ada", "bob"]


async def test_what_cannot_be_answered_is_a_conflict_and_stays(store: Store) -> None:
    with pytest.raises(NotFound):
        await store.answer_approval("apr_9", answer())
    request = await filed(store)
    for bad in (answer(at=request.expires_at), answer(stands_for=("security",))):
        with pytest.raises(Conflict):
            await store.answer_approval(request.id, bad)
    assert await store.get_approval(request.id) == request
    await store.end_run(request.run, RunState.CLOSED)
    with pytest.raises(Conflict, match="has ended"):
        await store.answer_approval(request.id, answer())


async def test_a_yes_is_used_once(store: Store) -> None:
    request = await filed(store)
    assert not await store.use_approval(request.id, now=NOW)  # nobody has agreed
    await store.answer_approval(request.id, answer())
    used = await asyncio.gather(*(store.use_approval(request.id, now=NOW + 2) for _ in range(20)))
    assert sorted(used) == [False] * 19 + [True]
    assert not await store.use_approval("apr_9", now=NOW)


async def test_a_yes_is_not_used_when_its_time_or_its_run_is_over(store: Store) -> None:
    first, second = await filed(store, 1), await filed(store, 2)
    for request in (first, second):
        await store.answer_approval(request.id, answer())
    assert not await store.use_approval(first.id, now=first.expires_at)
    await store.end_run("run_a", RunState.REVOKED)
    assert not await store.use_approval(second.id, now=NOW + 2)


@pytest.mark.parametrize("state", [ApprovalState.VOID, ApprovalState.EXPIRED])
async def test_only_what_is_live_can_end(store: Store, state: ApprovalState) -> None:
    request = await filed(store)
    assert await store.end_approval(request.id, state)
    assert not await store.end_approval(request.id, ApprovalState.VOID)
    assert not await store.end_approval("apr_9", state)
    used = await filed(store, 2)
    await store.answer_approval(used.id, answer())
    await store.use_approval(used.id, now=NOW + 2)
    assert not await store.end_approval(used.id, state)
    found = await store.get_approval(used.id)
    assert found is not None
    assert found.state is ApprovalState.USED


async def test_what_is_over_is_ended_in_one_sweep(store: Store) -> None:
    await filed(store, 1)
    approved = await filed(store, 2)
    await store.answer_approval(approved.id, answer())
    await filed(store, 3, expires_at=NOW + 9000)
    refused = await filed(store, 4)
    await store.answer_approval(refused.id, answer(yes=False))
    moved = await store.expire_approvals(now=NOW + 600)
    assert sorted(r.id for r in moved) == ["apr_1", "apr_2"]
    assert {r.state for r in moved} == {ApprovalState.EXPIRED}
    assert await store.expire_approvals(now=NOW + 600) == []


async def test_what_is_live_ends_with_its_run(store: Store) -> None:
    await filed(store, 1)
    await filed(store, 2, run="run_b")
    (moved,) = await store.void_approvals("run_a")
    assert (moved.id, moved.state) == ("apr_1", ApprovalState.VOID)
    other = await store.get_approval("apr_2")
    assert other is not None
    assert other.state is ApprovalState.PENDING


async def test_requests_are_listed_newest_first(store: Store) -> None:
    for number in (1, 2, 3):
        await filed(store, number, run="run_b" if number == 2 else "run_a")
    await store.answer_approval("apr_1", answer())
    assert [r.id for r in await store.list_approvals()] == ["apr_3", "apr_2", "apr_1"]
    assert [r.id for r in await store.list_approvals(run="run_a")] == ["apr_3", "apr_1"]
    found = await store.list_approvals(state=ApprovalState.PENDING, limit=1)
    assert [r.id for r in found] == ["apr_3"]


# Counterparties


def counterparty(key: str = "aa", **changes: Any) -> Counterparty:
    fields: dict[str, Any] = {
        "owner": "ada",
        "key": key,
        "text": "c2VhbGVk",
        "role": Role.RECIPIENT,
        "added_by": "ada",
        "proof": "peer-uid:1000",
        "added_at": NOW,
        "expires_at": NOW + 100,
        "approval": "apr_1",
    }
    return Counterparty(**{**fields, **changes})


async def test_a_counterparty_comes_back_and_is_replaced(store: Store) -> None:
    await store.put_counterparty(counterparty())
    longer = counterparty(expires_at=NOW + 500, role=Role.URL)
    await store.put_counterparty(longer)
    assert await store.list_counterparties("ada") == [longer]


async def test_counterparties_are_listed_by_owner_and_age(store: Store) -> None:
    late = counterparty("aa", added_at=NOW + 5)
    early, other = counterparty("bb"), counterparty("aa", owner="bob")
    for entry in (other, late, early):
        await store.put_counterparty(entry)
    assert await store.list_counterparties() == [early, late, other]
    assert await store.list_counterparties("bob") == [other]
    assert await store.list_counterparties("eve") == []


async def test_a_counterparty_is_removed_or_ends(store: Store) -> None:
    await store.put_counterparty(counterparty("aa"))
    await store.put_counterparty(counterparty("bb", expires_at=NOW + 900))
    assert not await store.delete_counterparty("bob", "aa")
    assert await store.prune_counterparties(now=NOW + 100) == 1
    assert not await store.delete_counterparty("ada", "aa")
    assert await store.delete_counterparty("ada", "bb")
    assert await store.list_counterparties() == []
