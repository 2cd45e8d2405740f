"""What every ledger store promises. An adapter joins by adding a maker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from midflight.adapters.store.ledger_memory import MemoryLedger, MemoryLedgerStore
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.domain.chain import GENESIS, Entry, link
from midflight.domain.errors import Conflict
from midflight.services.ports.ledger_store import LedgerStore, Standing, StoredCheckpoint

ONE, TWO = "00000001", "00000002"
Maker = Callable[[], LedgerStore]


@pytest.fixture(params=["memory", "sqlite"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    """Makes stores over the same ledger, as several processes would."""
    if request.param == "memory":
        ledger = MemoryLedger()
        return lambda: MemoryLedgerStore(ledger)
    return lambda: SqliteLedgerStore(tmp_path / "folder" / "ledger.sqlite3")


@pytest.fixture
def store(make: Maker) -> Iterator[LedgerStore]:
    opened = make()
    opened.open()
    yield opened
    opened.close()


def chain(writer: str, count: int, *, start: int = 1) -> list[Entry]:
    entries: list[Entry] = []
    head = GENESIS
    for seq in range(1, start + count):
        entries.append(link(writer, seq, head, f'{{"n":{seq}}}'.encode()))
        head = entries[-1].hash
    return entries[start - 1 :]


def test_a_new_store_is_empty(store: LedgerStore) -> None:
    assert store.size() == 0
    assert list(store.entries()) == []
    assert list(store.hashes()) == []
    assert list(store.checkpoints()) == []
    assert store.last_checkpoint() is None
    assert store.entry(ONE, 1) is None
    assert list(store.abandoned()) == []


@pytest.mark.parametrize("count", [1, 2, 3, 15, 16, 17, 100, 5_000])
def test_entries_come_back_in_the_order_of_the_append(store: LedgerStore, count: int) -> None:
    entries = chain(ONE, count)
    assert store.append(entries) == 1
    assert list(store.entries()) == list(enumerate(entries, 1))
    assert store.size() == count
    assert list(store.hashes()) == [(p, e.hash) for p, e in enumerate(entries, 1)]


def test_positions_go_on_over_appends_and_reopening(make: Maker) -> None:
    first = make()
    first.open()
    assert first.append(chain(ONE, 3)) == 1
    assert first.append(chain(ONE, 2, start=4)) == 4
    first.close()
    second = make()
    second.open()
    assert second.append(chain(TWO, 2)) == 6
    ids = [entry.id for _, entry in second.entries(after=4)]
    assert ids == [f"{ONE}-5", f"{TWO}-1", f"{TWO}-2"]
    assert [position for position, _ in second.entries()] == list(range(1, 8))
    second.close()


def test_a_part_can_be_read(store: LedgerStore) -> None:
    store.append(chain(ONE, 10))
    assert [p for p, _ in store.entries(after=3, limit=2)] == [4, 5]
    assert [p for p, _ in store.entries(after=9, limit=5)] == [10]
    assert list(store.entries(limit=0)) == []
    assert [p for p, _ in store.hashes(after=8)] == [9, 10]


def test_an_entry_is_found_by_writer_and_number(store: LedgerStore) -> None:
    store.append(chain(ONE, 3))
    store.append(chain(TWO, 3))
    assert store.entry(TWO, 2) == (5, chain(TWO, 3)[1])
    assert store.entry(TWO, 4) is None


def test_the_entries_of_one_writer_come_in_its_order(store: LedgerStore) -> None:
    store.append(chain(ONE, 2))
    store.append(chain(TWO, 1))
    store.append(chain(ONE, 2, start=3))
    assert [e.seq for e in store.entries_of(ONE)] == [1, 2, 3, 4]
    assert [e.seq for e in store.entries_of(ONE, after=3)] == [4]
    assert [e.seq for e in store.entries_of(TWO)] == [1]


@pytest.mark.parametrize("with_standing", [False, True])
def test_an_append_is_all_or_nothing(store: LedgerStore, with_standing: bool) -> None:
    store.enter(ONE)
    store.append(chain(ONE, 3))
    standing = Standing(writer=ONE, seq=4, open=(2,)) if with_standing else None
    with pytest.raises(Conflict):
        store.append([*chain(ONE, 1, start=4), *chain(ONE, 1, start=2)], standing=standing)
    assert store.size() == 3
    assert store.append(chain(ONE, 1, start=4)) == 4


def test_two_stores_append_to_one_ledger(make: Maker) -> None:
    one, two = make(), make()
    one.open()
    two.open()
    one.enter(ONE)
    two.enter(TWO)
    assert one.append(chain(ONE, 2)) == 1
    assert two.append(chain(TWO, 2)) == 3
    assert one.append(chain(ONE, 1, start=3)) == 5
    assert two.size() == 5
    one.close()
    two.close()


def test_checkpoints_come_by_size(store: LedgerStore) -> None:
    big = StoredCheckpoint(size=7, note="seven", peaks=b"x" * 96)
    store.add_checkpoint(big)
    store.add_checkpoint(StoredCheckpoint(size=3, note="three"))
    store.add_checkpoint(big)
    assert list(store.checkpoints()) == [(3, "three"), (7, "seven")]
    assert store.last_checkpoint() == big


def test_a_second_checkpoint_of_a_size_does_not_hide_the_first(store: LedgerStore) -> None:
    store.add_checkpoint(StoredCheckpoint(size=3, note="first"))
    store.add_checkpoint(StoredCheckpoint(size=3, note="other"))
    assert list(store.checkpoints()) == [(3, "first"), (3, "other")]


def test_a_live_writer_is_not_abandoned(make: Maker) -> None:
    one, two = make(), make()
    one.open()
    two.open()
    one.enter(ONE)
    assert list(one.abandoned()) == []
    assert list(two.abandoned()) == []
    one.close()
    assert list(two.abandoned()) == [Standing(writer=ONE)]
    two.close()


def test_an_abandoned_writer_is_given_to_one_at_a_time(make: Maker) -> None:
    gone, one, two = make(), make(), make()
    for each in (gone, one, two):
        each.open()
    gone.enter(ONE)
    gone.close()
    assert [s.writer for s in one.abandoned()] == [ONE]
    assert list(two.abandoned()) == []
    one.close()  # died before it settled anything
    assert [s.writer for s in two.abandoned()] == [ONE]
    two.append(chain(TWO, 1), settled=[ONE])
    two.close()
    last = make()
    last.open()
    assert list(last.abandoned()) == []
    last.close()


def test_the_last_standing_is_kept(make: Maker) -> None:
    gone, after = make(), make()
    gone.open()
    gone.enter(ONE)
    gone.append(chain(ONE, 2), standing=Standing(writer=ONE, seq=2, open=(1, 2)))
    gone.append(chain(ONE, 2, start=3), standing=Standing(writer=ONE, seq=4, open=(2,)))
    gone.append(chain(ONE, 1, start=5))
    gone.close()
    after.open()
    assert list(after.abandoned()) == [Standing(writer=ONE, seq=4, open=(2,))]
    after.close()


def test_a_writer_is_settled_once(make: Maker) -> None:
    store = make()
    store.open()
    store.enter(ONE)
    store.append(chain(ONE, 1), settled=[ONE])
    with pytest.raises(Conflict):
        store.append(chain(TWO, 1), settled=[ONE])
    assert store.size() == 1
    store.close()


def test_a_writers_name_is_used_once(make: Maker) -> None:
    store, other = make(), make()
    store.open()
    other.open()
    store.enter(ONE)
    for each in (store, other):
        with pytest.raises(Conflict):
            each.enter(ONE)
    store.append(chain(ONE, 1), settled=[ONE])
    with pytest.raises(Conflict):
        other.enter(ONE)
    assert list(other.abandoned()) == []
    store.close()
    other.close()
