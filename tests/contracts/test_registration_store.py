"""What every store promises of registration; `services/ports/registration_store.py` says it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.attestation import Entry, Selector
from midflight.domain.errors import Conflict, StoreUnavailable
from midflight.domain.joining import JoinToken, Launch
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

WORKLOAD = "spiffe://example.org/agents/triage"
ENTRY = Entry(
    id="entry_b",
    spiffe_id=WORKLOAD,
    selectors=frozenset({Selector.parse("unix:uid:1000"), Selector.parse("unix:path:/bin/a:b")}),
    x509_ttl_s=600,
    jwt_ttl_s=60,
    federates_with=("other.example",),
    hint="main",
    run="run_a",
    expires_at=4_000_000_000,
    added_by="olivia",
    proof="peer-uid:0",
    added_at=1_800_000_000,
)
TOKEN = JoinToken(
    id="join_a",
    digest="ab" * 32,
    spiffe_id=WORKLOAD,
    expires_at=2_000,
    added_by="olivia",
    proof="peer-uid:0",
    added_at=1_000,
)
LAUNCH = Launch(
    run="run_a",
    workload=WORKLOAD,
    process="7@1",
    launcher="6@1",
    boot="b",
    uid=5,
    author="olivia",
    proof="peer-uid:0",
    at=1_000,
)


@pytest.fixture(params=["memory", "sqlite"])
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "midflight.db")


@pytest.fixture
async def store(closed_store: Store) -> AsyncIterator[Store]:
    await closed_store.open()
    yield closed_store
    await closed_store.close()


async def test_entries_come_back_as_they_were_put_by_id(store: Store) -> None:
    first = msgspec.structs.replace(ENTRY, id="entry_a", run=None, expires_at=None)
    await store.put_entry(ENTRY)
    await store.put_entry(first)
    assert await store.list_entries() == [first, ENTRY]


async def test_an_entry_is_not_replaced(store: Store) -> None:
    await store.put_entry(ENTRY)
    with pytest.raises(Conflict):
        await store.put_entry(msgspec.structs.replace(ENTRY, hint="other"))
    assert await store.list_entries() == [ENTRY]


async def test_an_entry_is_deleted_once(store: Store) -> None:
    await store.put_entry(ENTRY)
    assert await store.delete_entry(ENTRY.id)
    assert not await store.delete_entry(ENTRY.id)
    assert await store.list_entries() == []


async def test_a_join_token_is_taken_once_whoever_races(store: Store) -> None:
    await store.put_join_token(TOKEN)
    assert await store.list_join_tokens() == [TOKEN]
    with pytest.raises(Conflict):
        await store.put_join_token(TOKEN)
    found = await asyncio.gather(
        *(store.take_join_token(TOKEN.digest, now=1_500) for _ in range(8))
    )
    assert [token for token in found if token is not None] == [TOKEN]
    assert await store.list_join_tokens() == []


async def test_a_join_token_that_has_expired_is_nobodys(store: Store) -> None:
    await store.put_join_token(TOKEN)
    assert await store.take_join_token(TOKEN.digest, now=2_000) is None
    assert await store.list_join_tokens() == []


async def test_a_join_token_is_deleted_by_id(store: Store) -> None:
    await store.put_join_token(TOKEN)
    assert await store.delete_join_token(TOKEN.id)
    assert not await store.delete_join_token(TOKEN.id)
    assert await store.take_join_token(TOKEN.digest, now=1_500) is None


async def test_a_run_has_one_launch(store: Store) -> None:
    await store.put_launch(LAUNCH)
    with pytest.raises(Conflict):
        await store.put_launch(msgspec.structs.replace(LAUNCH, process="8@1"))
    assert await store.list_launches() == [LAUNCH]
    assert await store.delete_launch("run_a")
    assert not await store.delete_launch("run_a")
    assert await store.list_launches() == []


async def test_a_closed_store_answers_nothing(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.list_entries()
    with pytest.raises(StoreUnavailable):
        await closed_store.take_join_token(TOKEN.digest, now=0)


async def test_registration_survives_a_restart(tmp_path: Path) -> None:
    before = SqliteStore(tmp_path / "midflight.db")
    await before.open()
    await before.put_entry(ENTRY)
    await before.put_join_token(TOKEN)
    await before.put_launch(LAUNCH)
    await before.close()
    after = SqliteStore(tmp_path / "midflight.db")
    await after.open()
    assert await after.list_entries() == [ENTRY]
    assert await after.list_join_tokens() == [TOKEN]
    assert await after.list_launches() == [LAUNCH]
    await after.close()
