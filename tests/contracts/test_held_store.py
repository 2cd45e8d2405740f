"""What every store promises of handles; `services/ports/held_store.py` says it in words."""

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
from midflight.domain.held import Held, HeldForm, HeldState
from midflight.services.ports.held_store import HeldStore

pytestmark = pytest.mark.anyio

HELD = Held(
    key="k1",
    form=HeldForm.TASK,
    state=HeldState.WAITING,
    approval="apr_1",
    workload="w",
    run="r",
    bound="",
    subject="s",
    shown=False,
    rounds=0,
    created_at=1,
    expires_at=100,
)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "midflight.db")
    await made.open()
    yield made
    await made.close()


async def put(
    store: HeldStore, key: str, *, runs: int = 9, workloads: int = 9, **more: Any
) -> Held:
    held = msgspec.structs.replace(HELD, key=key, **more)
    await store.put_held(held, max_of_run=runs, max_of_workload=workloads)
    return held


async def known(store: HeldStore, *keys: str) -> list[str]:
    return [key for key in keys if await store.get_held(key) is not None]


async def test_an_entry_comes_back_as_it_was_put(store: HeldStore) -> None:
    held = await put(store, "k1", shown=True, rounds=7, form=HeldForm.ROUND, bound="run_x")
    assert await store.get_held("k1") == held
    assert await store.get_held("k2") is None
    with pytest.raises(Conflict):
        await put(store, "k1")


async def test_of_many_who_take_one_gets_it(store: HeldStore) -> None:
    held = await put(store, "k1")
    taken = await asyncio.gather(*(store.take_held("k1") for _ in range(10)))
    assert [found for found in taken if found is not None] == [held]
    assert await store.get_held("k1") is None


async def test_of_many_who_change_its_state_one_does(store: HeldStore) -> None:
    held = await put(store, "k1")
    acting = msgspec.structs.replace(held, state=HeldState.ACTING)
    changed = await asyncio.gather(
        *(store.change_held(acting, was=HeldState.WAITING) for _ in range(10))
    )
    assert changed.count(True) == 1
    assert await store.get_held("k1") == acting
    assert not await store.change_held(msgspec.structs.replace(held, key="k2"), was=held.state)


async def test_the_oldest_of_the_run_makes_room_and_nobody_elses(store: HeldStore) -> None:
    await put(store, "other", run="r2")
    for key in ("a", "b", "c"):
        await put(store, key, runs=2)
    assert await known(store, "other", "a", "b", "c") == ["other", "b", "c"]


async def test_the_oldest_of_the_workload_makes_room_and_nobody_elses(store: HeldStore) -> None:
    await put(store, "other", workload="w2")
    for number, key in enumerate(("a", "b", "c")):
        await put(store, key, run=f"r{number}", workloads=2)
    assert await known(store, "other", "a", "b", "c") == ["other", "b", "c"]


async def test_what_has_expired_is_pruned(store: HeldStore) -> None:
    await put(store, "a", expires_at=10)
    await put(store, "b", expires_at=11)
    assert await store.prune_held(now=10) == 1
    assert await known(store, "a", "b") == ["b"]


async def test_a_closed_store_answers_nothing(store: Any) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await store.get_held("k1")
    with pytest.raises(StoreUnavailable):
        await put(store, "k1")
    await store.open()


async def test_entries_outlive_the_process(tmp_path: Path) -> None:
    first = SqliteStore(tmp_path / "midflight.db")
    await first.open()
    held = await put(first, "k1")
    await first.close()
    second = SqliteStore(tmp_path / "midflight.db")
    await second.open()
    assert await second.get_held("k1") == held
    await second.close()
