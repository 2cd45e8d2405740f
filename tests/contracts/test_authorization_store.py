"""What every store promises of clients and grants; `services/ports/authorization_store.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.authorization import Client, Code, Grant, Refresh
from midflight.domain.errors import Conflict, StoreUnavailable
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

AGENT = "spiffe://example.org/agents/triage"


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


def grant(name: str = "grt_a", expires_at: int = 1_000) -> Grant:
    return Grant(
        id=name,
        client="editor",
        workload=AGENT,
        run="run_a",
        person="ada",
        proof="oidc:https://id.example.org",
        scope=("effect:read", "mcp:git"),
        expires_at=expires_at,
        jkt="k" * 43,
    )


def code(digest: str = "d1", expires_at: int = 1_000) -> Code:
    return Code(
        digest=digest,
        grant=grant(),
        redirect_uri="http://127.0.0.1/callback",
        challenge="c" * 43,
        expires_at=expires_at,
    )


async def test_clients_are_replaced_listed_and_forgotten(store: Store) -> None:
    first = Client(id="b", workload=AGENT, name="B", keys=({"kty": "EC", "x": "1"},), scope=None)
    other = Client(id="a", workload=AGENT, name="A", redirect_uris=("https://a.example/cb",))
    await store.put_client(first)
    await store.put_client(other)
    assert await store.get_client("b") == first
    assert await store.get_client("B") is None
    changed = Client(id="b", workload=AGENT, name="B2", scope=("mcp",), disabled=True)
    await store.put_client(changed)
    assert list(await store.list_clients()) == [other, changed]
    assert await store.delete_client("b")
    assert not await store.delete_client("b")
    assert list(await store.list_clients()) == [other]


async def test_a_code_is_first_once(store: Store) -> None:
    assert await store.take_code("d1") is None
    await store.put_code(code())
    with pytest.raises(Conflict):
        await store.put_code(code())
    firsts: list[bool] = []

    async def take() -> None:
        taken = await store.take_code("d1")
        assert taken is not None
        assert taken[0] == code()
        firsts.append(taken[1])

    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(take)
    assert sorted(firsts) == [False] * 19 + [True]


async def test_a_refresh_token_is_first_once(store: Store) -> None:
    refresh = Refresh(digest="r1", grant="grt_a", jkt="k" * 43, expires_at=1_000)
    await store.put_refresh(refresh)
    with pytest.raises(Conflict):
        await store.put_refresh(refresh)
    for _ in range(2):  # looking does not use it
        assert await store.get_refresh("r1") == (refresh, True)
    assert await store.take_refresh("r1") == (refresh, True)
    assert await store.get_refresh("r1") == (refresh, False)
    assert await store.take_refresh("r1") == (refresh, False)
    assert await store.take_refresh("r2") is None
    assert await store.get_refresh("r2") is None


async def test_a_grant_ends_for_good_and_knows_its_tokens(store: Store) -> None:
    await store.put_grant(grant())
    with pytest.raises(Conflict):
        await store.put_grant(grant())
    assert await store.get_grant("grt_a") == grant()
    await store.note_token("grt_a", "tok_2", expires_at=500)
    await store.note_token("grt_a", "tok_1", expires_at=500)
    await store.note_token("grt_b", "tok_3", expires_at=500)
    assert await store.end_grant("grt_a")
    assert not await store.end_grant("grt_a")
    assert await store.get_grant("grt_a") is None
    assert list(await store.tokens_of("grt_a")) == ["tok_1", "tok_2"]
    assert not await store.end_grant("none")


async def test_what_ended_is_forgotten_and_nothing_else(store: Store) -> None:
    await store.put_code(code("old", expires_at=99))
    await store.put_code(code("new", expires_at=100))
    await store.put_grant(grant("grt_old", expires_at=99))
    await store.put_refresh(Refresh(digest="old", grant="g", jkt="k", expires_at=99))
    await store.note_token("grt_old", "tok_old", expires_at=99)
    assert await store.prune_authorizations(before=100) == 4
    assert await store.take_code("old") is None
    assert await store.take_code("new") is not None
    assert await store.take_refresh("old") is None
    assert list(await store.tokens_of("grt_old")) == []


async def test_what_is_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "midflight.db"
    first = SqliteStore(path)
    await first.open()
    await first.put_code(code())
    await first.take_code("d1")
    await first.put_grant(grant())
    await first.end_grant("grt_a")
    await first.close()
    second = SqliteStore(path)
    await second.open()
    taken = await second.take_code("d1")
    assert taken is not None
    assert taken[1] is False
    assert await second.get_grant("grt_a") is None
    await second.close()


async def test_a_closed_store_says_so(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.get_client("a")
    with pytest.raises(StoreUnavailable):
        await closed_store.take_code("d1")
