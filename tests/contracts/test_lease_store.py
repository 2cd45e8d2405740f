"""What every store promises of credentials and leases; `services/ports/lease_store.py` in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import Conflict, StoreUnavailable
from midflight.domain.lease import (
    Credential,
    Injection,
    Lease,
    LeaseState,
    Placement,
    external_name,
)
from midflight.services.ports.lease_store import MAX_WAIT_S, SealedSecret
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

NOW = 1_800_000_000
CREDENTIAL = Credential(
    name="db",
    backend="postgres",
    upstreams=frozenset({"one", "two"}),
    injections=(Injection(placement=Placement.ENV, name="PGPASSWORD", template="{password}"),),
    settings={"host": "db", "port": 5432, "roles": {"ro": "reader"}},
    scopes=("ro", "rw"),
    added_by="ada",
    proof="peer-uid:1000",
    added_at=NOW,
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "s.db")
    await made.open()
    await made.put_credential(CREDENTIAL)
    yield made
    await made.close()


def lease(name: str = "a", **changes: Any) -> Lease:
    fields: dict[str, Any] = {
        "id": f"lease_{name}",
        "credential": "db",
        "backend": "postgres",
        "external": external_name(f"lease_{name}"),
        "run": "run_a",
        "workload": "spiffe://example.org/agents/one",
        "state": LeaseState.INTENT,
        "created_at": NOW,
        "expires_at": NOW + 60,
        "max_expires_at": NOW + 600,
        "parent": "run_0",
        "scopes": ("ro",),
    }
    return Lease(**{**fields, **changes})


async def in_state(store: Store, state: LeaseState, name: str = "a") -> Lease:
    await store.create_lease(lease(name), holder="me")
    if state is LeaseState.ACTIVE:
        assert await store.activate_lease(f"lease_{name}", handle="h", expires_at=NOW + 60)
    if state in (LeaseState.REVOKING, LeaseState.REVOKED):
        assert await store.begin_revoking([f"lease_{name}"], now=NOW, until=NOW)
    if state is LeaseState.REVOKED:
        assert await store.finish_lease(f"lease_{name}")
    found = await store.get_lease(f"lease_{name}")
    assert found is not None
    assert found.state is state
    return found


async def due(store: Store, *, now: int = NOW, holder: str = "me", limit: int = 100) -> list[str]:
    found = await store.claim_due(now=now, until=now + 60, holder=holder, limit=limit)
    assert all(each.state is LeaseState.REVOKING for each in found)
    return [each.id for each in found]


async def test_a_credential_comes_back_as_it_was(store: Store) -> None:
    assert list(await store.list_credentials()) == [CREDENTIAL]
    with pytest.raises(Conflict):
        await store.put_credential(CREDENTIAL)
    other = msgspec.structs.replace(CREDENTIAL, ttl_s=60)
    await store.put_credential(other, replace=True)
    assert list(await store.list_credentials()) == [other]
    assert await store.delete_credential("db")
    assert not await store.delete_credential("db")


async def test_a_credential_stays_until_its_leases_are_revoked(store: Store) -> None:
    await in_state(store, LeaseState.REVOKING)
    with pytest.raises(Conflict):
        await store.delete_credential("db")
    await store.finish_lease("lease_a")
    assert await store.delete_credential("db")


async def test_a_sealed_secret_comes_back_as_it_was(store: Store) -> None:
    secret = SealedSecret(id="sealed_a", wrapped=b"w", box=b"b\x00", sealed_at=NOW, sealed_by="ada")
    await store.put_sealed_secret(secret)
    with pytest.raises(Conflict):
        await store.put_sealed_secret(secret)
    assert await store.get_sealed_secret("sealed_a") == secret
    assert await store.delete_sealed_secret("sealed_a")
    assert not await store.delete_sealed_secret("sealed_a")
    assert await store.get_sealed_secret("sealed_a") is None


async def test_a_lease_comes_back_as_it_was(store: Store) -> None:
    await store.create_lease(lease(), holder="me")
    assert await store.get_lease("lease_a") == lease()
    assert await store.get_lease("lease_b") is None


@pytest.mark.parametrize(
    "other", [lease(), lease("b", external="midflight-a"), lease("b", credential="unknown")]
)
async def test_a_lease_that_cannot_be_is_refused(store: Store, other: Lease) -> None:
    await store.create_lease(lease(), holder="me")
    with pytest.raises(Conflict):
        await store.create_lease(other, holder="me")


@pytest.mark.parametrize("state", LeaseState)
async def test_each_move_happens_from_its_state_alone(store: Store, state: LeaseState) -> None:
    before = await in_state(store, state)
    assert await store.activate_lease("lease_a", handle="x", expires_at=NOW + 9) is (
        state is LeaseState.INTENT
    )
    if state is LeaseState.INTENT:
        return
    assert await store.renew_lease("lease_a", before=NOW + 60, expires_at=NOW + 99) is (
        state is LeaseState.ACTIVE
    )
    assert await store.finish_lease("lease_a") is (state is LeaseState.REVOKING)
    if state is LeaseState.ACTIVE:
        (moved,) = await store.begin_revoking(["lease_a"], now=NOW, until=NOW + 5)
        assert moved == msgspec.structs.replace(
            before, state=LeaseState.REVOKING, expires_at=NOW + 99, next_try_at=NOW + 5
        )
    else:
        assert not await store.begin_revoking(["lease_a"], now=NOW, until=NOW + 5)


async def test_what_does_not_exist_does_not_move(store: Store) -> None:
    assert not await store.activate_lease("lease_x", handle="", expires_at=NOW)
    assert not await store.renew_lease("lease_x", before=NOW, expires_at=NOW)
    assert not await store.begin_revoking(["lease_x"], now=NOW, until=NOW)
    assert not await store.finish_lease("lease_x")
    assert not await store.fail_revoking(
        "lease_x", attempts=1, next_try_at=NOW, error="", stuck=False
    )


async def test_renewing_never_passes_the_bound_and_looks_at_what_it_replaces(store: Store) -> None:
    await in_state(store, LeaseState.ACTIVE)
    with pytest.raises(Conflict):
        await store.renew_lease("lease_a", before=NOW + 60, expires_at=NOW + 601)
    assert await store.renew_lease("lease_a", before=NOW + 60, expires_at=NOW + 600)
    assert not await store.renew_lease("lease_a", before=NOW + 60, expires_at=NOW + 300)


async def test_a_lease_is_due_at_its_end_and_not_before(store: Store) -> None:
    await in_state(store, LeaseState.ACTIVE)
    assert await due(store, now=NOW + 59) == []
    assert await due(store, now=NOW + 60) == ["lease_a"]


@pytest.mark.parametrize("state", LeaseState)
async def test_what_another_holder_left_is_due_at_once(store: Store, state: LeaseState) -> None:
    await in_state(store, state)
    if state is LeaseState.REVOKING:
        assert await due(store, holder="me") == ["lease_a"]
    assert await due(store, holder="me") == []
    is_left = state is not LeaseState.REVOKED
    assert await due(store, holder="its successor") == ["lease_a"] * is_left
    assert await due(store, holder="its successor") == []


async def test_what_is_due_is_given_to_one_caller(store: Store) -> None:
    for number in range(20):
        await in_state(store, LeaseState.REVOKING, str(number))
    found = await asyncio.gather(*(due(store, limit=7) for _ in range(4)))
    given = [each for some in found for each in some]
    assert sorted(given) == sorted(set(given))
    assert len(given) == 20
    assert await due(store) == []
    assert len(await due(store, now=NOW + 60)) == 20


async def test_a_clock_that_was_set_back_puts_nothing_off_for_ever(store: Store) -> None:
    await in_state(store, LeaseState.REVOKING)
    far = NOW + 86_400
    await store.fail_revoking("lease_a", attempts=1, next_try_at=far, error="", stuck=False)
    assert await due(store, now=far - MAX_WAIT_S) == []
    assert await due(store, now=NOW) == ["lease_a"]


async def test_a_failed_try_is_noted_and_an_older_one_is_not(store: Store) -> None:
    await in_state(store, LeaseState.REVOKING)
    more: dict[str, Any] = {"next_try_at": NOW + 9, "error": "away"}
    assert await store.fail_revoking("lease_a", attempts=2, stuck=True, **more)
    assert not await store.fail_revoking("lease_a", attempts=1, stuck=False, **more)
    assert await store.fail_revoking("lease_a", attempts=3, stuck=False, **more)
    found = await store.get_lease("lease_a")
    assert found is not None
    assert (found.attempts, found.next_try_at, found.error) == (3, NOW + 9, "away")
    assert found.stuck, "a stuck lease stays so until it is revoked"
    assert [each.id for each in await store.list_leases(stuck=True)] == ["lease_a"]
    assert await store.finish_lease("lease_a")
    assert list(await store.list_leases(stuck=True)) == []


async def test_leases_are_listed_newest_first_and_by_what_is_asked(store: Store) -> None:
    await in_state(store, LeaseState.ACTIVE, "a")
    await in_state(store, LeaseState.REVOKED, "b")
    await store.create_lease(lease("c", run="run_b"), holder="me")

    async def listed(**asked: Any) -> list[str]:
        return [each.id for each in await store.list_leases(**asked)]

    assert await listed() == ["lease_c", "lease_b", "lease_a"]
    assert await listed(limit=1) == ["lease_c"]
    assert await listed(limit=-1) == []
    assert await listed(run="run_a") == ["lease_b", "lease_a"]
    assert await listed(credential="none") == []
    assert await listed(states=[LeaseState.ACTIVE]) == ["lease_a"]
    assert await store.count_leases() == {
        LeaseState.ACTIVE: 1,
        LeaseState.REVOKED: 1,
        LeaseState.INTENT: 1,
    }
    names = ["midflight-a", "midflight-b", "midflight-c", "midflight-d"]
    assert await store.unrevoked_names(names) == {"midflight-a", "midflight-c"}


async def test_only_what_is_revoked_is_ever_forgotten(store: Store) -> None:
    for state in LeaseState:
        await in_state(store, state, state.value)
    assert await store.forget_revoked(before=NOW, limit=10) == 0
    assert await store.forget_revoked(before=NOW + 10**6, limit=10) == 1
    left = {each.state for each in await store.list_leases()}
    assert left == set(LeaseState) - {LeaseState.REVOKED}


async def test_a_closed_store_answers_nothing(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.list_leases()
    with pytest.raises(StoreUnavailable):
        await store.claim_due(now=NOW, until=NOW, holder="me", limit=1)
