from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import StoreUnavailable
from midflight.domain.flow.fields import leaves
from midflight.services import flow_marks
from midflight.services.flow_marks import WHOLE, Marks
from midflight.services.ledger import Ledger
from midflight.services.sealing import Sealer
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


def marks_over(store: MemoryStore) -> Marks:
    clock = FakeClock()
    return Marks(
        store=store,
        sealer=Sealer(store, AesKeyWrap(bytes(32)), clock),
        clock=clock,
        recorder=Ledger(MemoryLedgerStore(), signer=None, clock=clock),
    )


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def marks(store: MemoryStore) -> Marks:
    made = marks_over(store)
    await made.start()
    return made


def within(marks: Marks, value: Any, upstream: str = "one") -> frozenset[int]:
    return marks.within(upstream, leaves(value, effect=False))


async def test_the_record_that_holds_a_marked_key_is_found(marks: Marks) -> None:
    await marks.add("one", ["ev-1"], run="run_a")
    events = {"events": [{"id": "ev-1", "note": "x"}, {"id": "ev-2", "note": "y"}]}
    assert within(marks, events) == frozenset({2})
    assert within(marks, events, "two") == frozenset()
    assert within(marks, {"text": "of ev-1 and others, as somebody wrote here"}) == frozenset()


async def test_a_key_deep_in_an_element_is_the_key_of_the_element(marks: Marks) -> None:
    await marks.add("one", ["ev-1"], run="run_a")
    events = {"events": [{"meta": {"id": "ev-1"}, "note": "x"}, {"meta": {"id": "ev-2"}}]}
    assert within(marks, events) == frozenset({2})
    assert within(marks, {"meta": {"id": "ev-1"}, "note": "x"}) == frozenset({1})
    assert within(marks, ["ev-1"]) == frozenset({WHOLE})


async def test_a_write_without_a_key_marks_the_whole_upstream(marks: Marks) -> None:
    await marks.add("one", [], run="run_a")
    assert within(marks, {"anything": 1}) == frozenset({WHOLE})
    assert within(marks, {"anything": 1}, "two") == frozenset()


@pytest.mark.parametrize("key", ["a", "the"])
async def test_a_word_that_is_everywhere_is_no_key(marks: Marks, key: str) -> None:
    await marks.add("one", [key], run="run_a")
    assert within(marks, {"anything": 1}) == frozenset({WHOLE})


async def test_what_is_asked_for_by_a_marked_key_is_marked(marks: Marks) -> None:
    await marks.add("one", ["plan.md"], run="run_a")
    assert marks.asked("one", ["plan.md"]) == frozenset({WHOLE})
    assert marks.asked("one", ["other.md"]) == frozenset()
    assert marks.asked("one", []) == frozenset()
    assert marks.asked("two", ["plan.md"]) == frozenset()


@pytest.mark.parametrize(
    "written", ["notes/plan.md", "./notes/plan.md", "notes//plan.md", "notes\\plan.md",
                "/notes/x/../plan.md", "notes/plan.md/"],
)  # fmt: skip
async def test_one_file_has_many_ways_to_be_written(marks: Marks, written: str) -> None:
    await marks.add("one", [written], run="run_a")
    assert marks.asked("one", ["notes/plan.md"])
    assert marks.asked("one", ["plan.md"])
    assert not marks.asked("one", ["notes/other.md"])


async def test_marks_outlive_the_process_and_hold_no_text(store: MemoryStore, marks: Marks) -> None:
    await marks.add("one", ["secret-plan.md"], run="run_a")
    again = marks_over(store)
    await again.start()
    assert again.asked("one", ["secret-plan.md"])
    assert "plan" not in str(await store.list_marks())


async def test_a_mark_that_cannot_be_kept_is_an_error_and_none(store: MemoryStore) -> None:
    marks = marks_over(store)
    await marks.start()
    await store.close()
    with pytest.raises(StoreUnavailable):
        await marks.add("one", ["plan.md"], run="run_a")
    assert not marks.asked("one", ["plan.md"])


async def test_beyond_so_many_marks_the_whole_upstream_is_marked(
    marks: Marks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow_marks, "MAX_MARKS", 2)
    for key in ("k-1", "k-2", "k-3"):
        await marks.add("one", [key], run="run_a")
    assert within(marks, {"anything": 1}) == frozenset({WHOLE})
