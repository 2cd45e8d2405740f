"""What every store promises of flow; `services/ports/flow_store.py` says it in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import sqlalchemy

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import StoreUnavailable
from midflight.services.ports.flow_store import MAX_INDEX, StoredFlow
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio

FLOW = StoredFlow(index=b"123456789", phrase_seen=True)


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


async def test_what_was_never_stored_is_none(store: Store) -> None:
    assert await store.get_flow("run_a") is None
    assert await store.list_marks() == []


async def test_a_flow_comes_back_as_it_was_added(store: Store) -> None:
    await store.add_flow("run_a", FLOW)
    assert await store.get_flow("run_a") == FLOW
    assert await store.get_flow("run_b") is None


async def test_chunks_of_an_index_are_kept_in_order_and_the_rest_is_replaced(store: Store) -> None:
    await store.add_flow("run_a", FLOW)
    await store.add_flow("run_a", StoredFlow(index=b"", phrase_seen=True))
    later = StoredFlow(index=b"abcdefghi", phrase_seen=False)
    await store.add_flow("run_a", later)
    assert await store.get_flow("run_a") == StoredFlow(
        index=b"123456789abcdefghi", phrase_seen=False
    )


async def test_of_an_index_the_last_entries_are_kept(store: Store) -> None:
    assert MAX_INDEX % 9 == 0
    await store.add_flow("run_a", StoredFlow(index=b"first....", phrase_seen=False))
    much = bytes(MAX_INDEX - 9) + b"last....."
    await store.add_flow("run_a", StoredFlow(index=much, phrase_seen=False))
    found = await store.get_flow("run_a")
    assert found is not None
    assert found.index == much


async def test_one_chunk_that_is_too_long_is_cut_as_well(store: Store) -> None:
    much = b"first...." + bytes(MAX_INDEX)
    await store.add_flow("run_a", StoredFlow(index=much, phrase_seen=False))
    found = await store.get_flow("run_a")
    assert found is not None
    assert found.index == bytes(MAX_INDEX)


async def test_chunks_that_are_added_at_once_are_all_kept(store: Store) -> None:
    chunks = [bytes([n]) * 9 for n in range(20)]
    async with anyio.create_task_group() as group:
        for chunk in chunks:
            group.start_soon(store.add_flow, "run_a", StoredFlow(index=chunk, phrase_seen=False))
    found = await store.get_flow("run_a")
    assert found is not None
    kept = {found.index[at : at + 9] for at in range(0, len(found.index), 9)}
    assert kept == set(chunks)
    assert len(found.index) == 9 * len(chunks)


async def test_of_effects_the_last_count_holds(store: Store) -> None:
    assert await store.effects("run_a") == []
    for count in (1, 2, 3, 2):
        await store.count_effects("run_a", "ü", "send", count)
    await store.count_effects("run_a", "one", "pay", 1)
    await store.count_effects("run_b", "one", "pay", 7)
    assert await store.effects("run_a") == [("one", "pay", 1), ("ü", "send", 2)]
    await store.delete_flow("run_a")
    assert await store.effects("run_a") == []
    assert await store.effects("run_b") == [("one", "pay", 7)]


async def test_a_deleted_flow_is_gone_and_deleting_again_changes_nothing(store: Store) -> None:
    await store.add_flow("run_a", FLOW)
    await store.add_flow("run_b", FLOW)
    await store.delete_flow("run_a")
    await store.delete_flow("run_a")
    assert await store.get_flow("run_a") is None
    assert await store.get_flow("run_b") == FLOW


async def test_marks_are_listed_once_by_upstream_and_key(store: Store) -> None:
    await store.put_marks("two", ["b", "a", "b"], run="run_a", at=7)
    await store.put_marks("one", ["a"], run="run_a", at=8)
    await store.put_marks("two", ["a"], run="run_b", at=9)
    await store.put_marks("two", [], run="run_b", at=9)
    assert await store.list_marks() == [("one", "a"), ("two", "a"), ("two", "b")]


async def test_of_two_runs_that_mark_one_key_the_first_time_stays_and_neither_run(
    tmp_path: Path,
) -> None:
    # Who marked it and when shows in the database alone: the port does not ask for it.
    store = SqliteStore(tmp_path / "midflight.db")
    await store.open()
    await store.put_marks("one", ["a"], run="run_a", at=7)
    await store.put_marks("one", ["a"], run="run_b", at=9)
    await store.close()
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'midflight.db'}")
    with engine.connect() as connection:
        rows = connection.execute(sqlalchemy.text("SELECT run, at FROM flow_marks")).all()
    engine.dispose()
    assert rows == [("several", 7)]


async def test_marks_are_counted_by_upstream_and_run_and_cleared_by_either(store: Store) -> None:
    await store.put_marks("notes", ["a", "b"], run="run_a", at=5)
    await store.put_marks("notes", ["b", "c"], run="run_b", at=7)
    await store.put_marks("wiki", ["a"], run="run_a", at=6)
    assert [(m.upstream, m.run, m.marks, m.since) for m in await store.marked()] == [
        ("notes", "run_a", 1, 5),
        ("notes", "run_b", 1, 7),
        ("notes", "several", 1, 5),
        ("wiki", "run_a", 1, 6),
    ]
    assert [m.run for m in await store.marked("wiki")] == ["run_a"]
    assert await store.clear_marks("notes", run="run_a") == 1
    assert await store.list_marks() == [("notes", "b"), ("notes", "c"), ("wiki", "a")]
    assert await store.clear_marks("notes") == 2
    assert await store.clear_marks("notes") == 0
    assert [m.upstream for m in await store.marked()] == ["wiki"]


async def test_flows_and_marks_outlive_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        store = SqliteStore(tmp_path / "midflight.db")
        await store.open()
        await store.add_flow("run_a", FLOW)
        await store.count_effects("run_a", "one", "pay", 1)
        await store.put_marks("one", ["a"], run="run_a", at=7)
        await store.close()
    await store.open()
    assert await store.effects("run_a") == [("one", "pay", 1)]
    found = await store.get_flow("run_a")
    assert found is not None
    assert found.index == FLOW.index * 2
    assert await store.list_marks() == [("one", "a")]
    await store.close()


async def test_a_closed_store_answers_nothing(closed_store: Store) -> None:
    await closed_store.open()
    await closed_store.close()
    for asked in (
        lambda: closed_store.add_flow("run_a", FLOW),
        lambda: closed_store.get_flow("run_a"),
        lambda: closed_store.count_effects("run_a", "one", "pay", 1),
        lambda: closed_store.effects("run_a"),
        lambda: closed_store.delete_flow("run_a"),
        lambda: closed_store.put_marks("one", ["a"], run="run_a", at=7),
        closed_store.list_marks,
    ):
        with pytest.raises(StoreUnavailable):
            await asked()
