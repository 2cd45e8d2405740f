"""The ledger: chained at once, durable in groups, honest about a disk that refuses."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.store.ledger_memory import MemoryLedger, MemoryLedgerStore
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.domain.chain import Entry, decode
from midflight.domain.checkpoint import open_checkpoint, parse_verifier_key
from midflight.domain.errors import (
    Conflict,
    LedgerUnavailable,
    Malformed,
    Misconfigured,
    NotFound,
)
from midflight.domain.identity import Workload
from midflight.domain.problems import Report
from midflight.domain.question import RunFacts, Source
from midflight.domain.records import (
    Facts,
    Intent,
    Observed,
    Outcome,
    Record,
    RunEnded,
    Started,
    Terminal,
)
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.services.ledger import Ledger
from midflight.services.ledger_verify import verify
from midflight.services.ports.ledger_store import LedgerStore, Standing, StoredCheckpoint
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

SIGNER = Ed25519NoteSigner(name="example.org/midflight", seed=bytes(range(32)))


class Counts:
    """A `Telemetry` that remembers."""

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.gauges: dict[str, float] = {}

    def action(
        self, *, kind: str, upstream: str, state: str, code: str, seconds: float
    ) -> None: ...

    def decided(self, *, seconds: float) -> None: ...

    def gauge(self, name: str, value: float) -> None:
        self.gauges[name] = value

    def count(self, name: str, amount: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + amount


class Watched(MemoryLedgerStore):
    """Remembers the appends and what was read, and can fail one of them."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        super().__init__(ledger)
        self.batches: list[int] = []
        self.scans: list[tuple[str, int]] = []
        self.fail_before = False
        self.fail_behind = False

    def append(
        self,
        entries: Sequence[Entry],
        *,
        standing: Standing | None = None,
        settled: Sequence[str] = (),
    ) -> int:
        if self.fail_before:
            raise LedgerUnavailable("The disk is full.")
        first = super().append(entries, standing=standing, settled=settled)
        self.batches.append(len(entries))
        if self.fail_behind:
            self.fail_behind = False
            raise LedgerUnavailable("The flush reported an error.")
        return first

    def entries_of(self, writer: str, *, after: int = 0) -> Iterator[Entry]:
        self.scans.append((writer, after))
        return super().entries_of(writer, after=after)


def ledger_over(store: LedgerStore, **options: object) -> Ledger:
    settings: dict[str, object] = {"signer": SIGNER, "clock": FakeClock(), **options}
    return Ledger(store, **settings)  # type: ignore[arg-type]


def note(number: int = 0) -> Observed:
    return Observed(at=float(number), what="seen", subject=f"part {number}")


def intent(run: str = "run_a") -> Intent:
    facts = Facts(
        kind="call_tool",
        method="tools/call",
        upstream="git",
        name="git_commit",
        pin="p",
        pin_state=PinState.PINNED,
        traits=Traits(),
        workload=Workload(
            id="spiffe://example.org/a", owner="ann", escalation="bob", review_by=2_000_000_000
        ),
        run=RunFacts(id=run, has_intent=True, implicit=False, age_s=1, steps=1),
        source=Source(),
    )
    return Intent(at=1.0, digest="d", facts=facts, arguments=None, decided="v1", reasons=())


def done(of: str) -> Outcome:
    return Outcome(at=2.0, state=Terminal.DONE, intent=of)


def records(store: LedgerStore) -> list[Record]:
    return [decode(entry.body) for _, entry in store.entries() if isinstance(entry, Entry)]


def check(store: LedgerStore, published: str | None = None) -> Report:
    notes = store.checkpoints()
    key = SIGNER.verifier_key()
    return verify(store.entries(), notes, verifier_key=key, published=published)


async def until(happened: Callable[[], bool]) -> None:
    """Let the loop turn until something is so."""
    while not happened():
        await asyncio.sleep(0)


def crash(ledger: Ledger, store: LedgerStore) -> None:
    """End a ledger as `kill -9` would: nothing is said, the locks fall."""
    ledger._thread.stop()
    store.close()


async def test_a_record_has_its_id_at_once_and_is_on_disk_when_waited_for() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    ticket = ledger.append(note())
    assert ticket.id == f"{ledger.writer}-2"
    assert store.size() == 1
    await ticket.durable()
    assert records(store) == [
        Started(at=1_800_000_000.0, version="0.1", policy="v1"),
        note(),
    ]
    await ledger.close()


async def test_all_callers_of_one_turn_share_a_flush() -> None:
    store = Watched()
    ledger = ledger_over(store, signer=None)
    await ledger.start("0.1", "v1")

    async def one(number: int) -> None:
        await ledger.append(note(number)).durable()

    await asyncio.gather(*(one(number) for number in range(100)))
    assert store.batches == [1, 100]
    await ledger.close()


async def test_what_nobody_waits_for_is_flushed_in_order_all_the_same() -> None:
    store = Watched()
    ledger = ledger_over(store, lazy_flush_s=0.0)
    await ledger.start("0.1", "v1")
    for number in range(10):
        ledger.append(note(number))
    await until(lambda: not ledger.backlog)
    assert records(store)[1:] == [note(number) for number in range(10)]
    assert store.batches == [1, 10]
    await ledger.close()


async def test_a_waiter_takes_along_what_was_queued_before() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store, lazy_flush_s=1_000.0)
    await ledger.start("0.1", "v1")
    ledger.append(note(1))
    await ledger.append(note(2)).durable()
    assert records(store)[1:] == [note(1), note(2)]
    await ledger.close()


async def test_a_cancelled_waiter_leaves_the_others_and_its_record() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    first = asyncio.ensure_future(ledger.append(note(1)).durable())
    second = asyncio.ensure_future(ledger.append(note(2)).durable())
    await asyncio.sleep(0)
    first.cancel()
    await second
    assert records(store)[1:] == [note(1), note(2)]
    await ledger.close()


async def test_waiting_twice_or_late_is_harmless() -> None:
    ledger = ledger_over(MemoryLedgerStore())
    await ledger.start("0.1", "v1")
    ticket = ledger.append(note())
    await asyncio.gather(ticket.durable(), ticket.durable())
    await ticket.durable()
    await ledger.close()


async def test_an_agent_cannot_prevent_its_record_by_odd_text() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    await ledger.append(Outcome(at=1.0, state=Terminal.FAILED, detail="\ud800")).durable()
    assert len(records(store)) == 2
    await ledger.close()


# A disk that refuses


async def test_a_full_disk_refuses_waiters_and_keeps_what_is_queued(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    store, counts = SqliteLedgerStore(path, max_bytes=256 * 1024), Counts()
    ledger = ledger_over(store, telemetry=counts)
    await ledger.start("0.1", "v1")
    big = Observed(at=1.0, what="seen", subject="x" * 20_000)
    appended = 0

    async def fill() -> None:
        nonlocal appended
        while True:
            appended += 1
            await ledger.append(big).durable()

    with pytest.raises(LedgerUnavailable, match="full"):
        await fill()
    assert not ledger.available
    assert counts.counters["ledger_failures"] == 1
    refused = ledger.append(note(1))
    with pytest.raises(LedgerUnavailable):
        await refused.durable()
    with pytest.raises(LedgerUnavailable):
        await ledger.flush()
    assert not ledger.available

    store.limit(None)
    await ledger.flush()
    assert ledger.available
    await refused.durable()
    await ledger.append(note(2)).durable()
    await ledger.close()

    again = SqliteLedgerStore(path)
    again.open()
    kept = records(again)
    assert kept.count(big) == appended
    assert kept[appended + 1 : appended + 3] == [note(1), note(2)]
    assert check(again).ok
    again.close()


async def test_a_read_only_ledger_refuses_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    store = SqliteLedgerStore(path)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    connection = store._connection
    assert connection is not None
    connection.execute("PRAGMA query_only = 1")
    with pytest.raises(LedgerUnavailable, match="read-only"):
        await ledger.append(note(1)).durable()
    assert not ledger.available
    await ledger.flush()  # a new connection is made, as after a remount
    assert ledger.available
    await ledger.close()


async def test_a_locked_ledger_refuses_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midflight.adapters.store.ledger_sqlite._BUSY_TIMEOUT_S", 0.0)
    path = tmp_path / "ledger.sqlite3"
    ledger = ledger_over(SqliteLedgerStore(path))
    await ledger.start("0.1", "v1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerUnavailable, match="locked"):
        await ledger.append(note(1)).durable()
    other.execute("ROLLBACK")
    other.close()
    await ledger.flush()
    await ledger.close()


async def test_a_ledger_whose_file_was_replaced_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("midflight.adapters.store.ledger_sqlite._LOOK_EVERY_S", 0.0)
    path = tmp_path / "ledger.sqlite3"
    ledger = ledger_over(SqliteLedgerStore(path))
    await ledger.start("0.1", "v1")
    path.rename(tmp_path / "away")
    with pytest.raises(LedgerUnavailable):
        await ledger.append(note(1)).durable()
    path.write_bytes(b"")
    with pytest.raises(LedgerUnavailable, match="replaced"):
        await ledger.flush()
    path.unlink()
    (tmp_path / "away").rename(path)
    await ledger.flush()
    await ledger.close()


async def test_the_backlog_is_bounded_and_what_was_refused_is_counted_in_a_record() -> None:
    store, counts = Watched(), Counts()
    ledger = ledger_over(store, max_backlog=5, telemetry=counts)
    await ledger.start("0.1", "v1")
    store.fail_before = True
    for number in range(5):
        ledger.append(note(number))
    for _ in range(3):
        with pytest.raises(LedgerUnavailable, match="backlog"):
            ledger.append(note(9))
    with pytest.raises(LedgerUnavailable):
        await ledger.flush()
    assert counts.counters["ledger_dropped"] == 3
    store.fail_before = False
    await ledger.flush()
    await ledger.flush()
    assert records(store)[1:] == [
        *(note(number) for number in range(5)),
        Observed(
            at=1_800_000_000.0, what="ledger.dropped", subject=ledger.writer, details={"count": 3}
        ),
    ]
    await ledger.close()
    assert check(store).ok


async def test_the_backlog_is_bounded_in_bytes_too() -> None:
    store = Watched()
    ledger = ledger_over(store, max_backlog_bytes=1_000)
    await ledger.start("0.1", "v1")
    store.fail_before = True
    ledger.append(Observed(at=1.0, what="seen", subject="x" * 2_000))
    with pytest.raises(LedgerUnavailable, match="backlog"):
        ledger.append(note())
    store.fail_before = False
    await ledger.flush()
    ledger.append(note())
    await ledger.close()


async def test_a_failed_flush_is_tried_again_by_itself() -> None:
    store = Watched()
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    store.fail_before = True
    with pytest.raises(LedgerUnavailable):
        await ledger.append(note()).durable()
    store.fail_before = False
    await until(lambda: ledger.available)
    assert records(store)[1:] == [note()]
    await ledger.close()


async def test_a_commit_that_reports_an_error_and_stands_is_not_written_twice() -> None:
    store = Watched()
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    store.fail_behind = True
    with pytest.raises(LedgerUnavailable):
        await ledger.append(note(1)).durable()
    ledger.append(note(2))
    await ledger.flush()
    assert records(store)[1:] == [note(1), note(2)]
    await ledger.close()
    assert check(store).ok
    assert check(store).signed_up_to == store.size()


async def test_a_closed_ledger_takes_nothing() -> None:
    ledger = ledger_over(MemoryLedgerStore())
    with pytest.raises(LedgerUnavailable):
        ledger.append(note())
    await ledger.start("0.1", "v1")
    with pytest.raises(Conflict):
        await ledger.start("0.1", "v1")
    await ledger.close()
    await ledger.close()
    assert not ledger.available
    for attempt in (ledger.flush(), ledger.read("00000000-1")):
        with pytest.raises(LedgerUnavailable):
            await attempt
    with pytest.raises(LedgerUnavailable):
        ledger.append(note())


async def test_closing_on_a_disk_that_refuses_says_so_and_releases_everything() -> None:
    shared = MemoryLedger()
    store = Watched(shared)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    await ledger.append(intent()).durable()
    store.fail_before = True
    ledger.append(note())
    with pytest.raises(LedgerUnavailable):
        await ledger.close()
    second = ledger_over(MemoryLedgerStore(shared))
    await second.start("0.1", "v1")
    await second.close()
    assert check(store).ok
    assert check(store).open_count == 0


# Crashes and orphans


async def test_orphans_of_a_crash_are_closed_as_unknown_before_the_next_start_is_recorded() -> None:
    shared = MemoryLedger()
    store = MemoryLedgerStore(shared)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    first, second = ledger.append(intent()), ledger.append(intent())
    ledger.append(done(first.id))
    await ledger.flush()
    crash(ledger, store)
    assert check(store).open == (second.id,)
    assert check(store).ok

    following = ledger_over(MemoryLedgerStore(shared))
    await following.start("0.2", "v2")
    unknown, settled, started = records(store)[-3:]
    assert isinstance(unknown, Outcome)
    assert (unknown.state, unknown.intent) == (Terminal.UNKNOWN, second.id)
    assert isinstance(settled, Observed)
    assert (settled.what, settled.subject) == ("ledger.settled", ledger.writer)
    assert isinstance(started, Started)
    size = store.size()
    await following.close()

    third = ledger_over(MemoryLedgerStore(shared))
    await third.start("0.2", "v2")
    assert store.size() == size + 2  # the second's end and the third's beginning
    await third.close()
    assert check(store).ok


async def test_a_recovery_that_is_itself_cut_off_leaves_its_work_to_the_next() -> None:
    shared = MemoryLedger()
    store = MemoryLedgerStore(shared)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    await ledger.append(intent()).durable()
    crash(ledger, store)

    broken = Watched(shared)
    broken.fail_before = True
    with pytest.raises(LedgerUnavailable):
        await ledger_over(broken).start("0.1", "v1")
    cut = Watched(shared)
    cut.fail_behind = True  # it dies right behind the commit
    with pytest.raises(LedgerUnavailable):
        await ledger_over(cut).start("0.1", "v1")
    last = ledger_over(MemoryLedgerStore(shared))
    await last.start("0.1", "v1")
    await last.close()
    unknown = [r for r in records(store) if isinstance(r, Outcome)]
    assert len(unknown) == 1
    assert check(store).ok


async def test_a_living_writer_keeps_its_open_intents() -> None:
    shared = MemoryLedger()
    one, two = ledger_over(MemoryLedgerStore(shared)), ledger_over(MemoryLedgerStore(shared))
    await one.start("0.1", "v1")
    ticket = one.append(intent())
    await ticket.durable()
    await two.start("0.1", "v1")
    one.append(done(ticket.id))
    await one.close()
    await two.close()
    report = check(MemoryLedgerStore(shared))
    assert report.ok
    assert (report.intents, report.outcomes, report.writers) == (1, 1, 2)


async def test_recovery_reads_only_what_came_behind_the_last_standing() -> None:
    shared = MemoryLedger()
    store = MemoryLedgerStore(shared)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    old = ledger.append(intent())
    for number in range(2_500):
        ledger.append(note(number))
        if number % 500 == 0:
            await ledger.flush()
    closed = ledger.append(intent())
    late = ledger.append(intent())
    ledger.append(done(closed.id))
    await ledger.flush()
    crash(ledger, store)

    watched = Watched(shared)
    following = ledger_over(watched)
    await following.start("0.1", "v1")
    ((writer, after),) = watched.scans
    assert writer == ledger.writer
    assert after > 1_500
    unknown = [r.intent for r in records(store) if isinstance(r, Outcome) and r.intent != closed.id]
    assert unknown == [old.id, late.id]
    await following.close()


async def test_closing_ends_what_is_open_and_nothing_may_follow() -> None:
    shared = MemoryLedger()
    store = MemoryLedgerStore(shared)
    ledger = ledger_over(store)
    await ledger.start("0.1", "v1")
    ticket = ledger.append(intent())
    await ledger.close()
    _, begun, unknown, closed = records(store)
    assert begun == intent()
    assert isinstance(unknown, Outcome)
    assert (unknown.state, unknown.intent) == (Terminal.UNKNOWN, ticket.id)
    assert isinstance(closed, Observed)
    assert closed.what == "ledger.closed"
    report = check(store)
    assert report.ok
    assert report.signed_up_to == 4


# Checkpoints


async def test_a_checkpoint_covers_every_writer_in_commit_order() -> None:
    shared = MemoryLedger()
    one, two = ledger_over(MemoryLedgerStore(shared)), ledger_over(MemoryLedgerStore(shared))
    await one.start("0.1", "v1")
    await two.start("0.1", "v1")
    for number in range(5):
        await one.append(note(number)).durable()
        await two.append(note(number)).durable()
    published = await one.checkpoint_now()
    await two.append(note(9)).durable()
    checkpoint = open_checkpoint(published, parse_verifier_key(SIGNER.verifier_key()))
    assert checkpoint.size == 12
    report = check(MemoryLedgerStore(shared), published=published)
    assert report.ok
    assert report.published_up_to == 12
    await one.close()
    await two.close()
    assert check(MemoryLedgerStore(shared)).signed_up_to == store_size(shared)


def store_size(shared: MemoryLedger) -> int:
    return MemoryLedgerStore(shared).size()


async def test_checkpoints_come_by_themselves() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store, checkpoint_every=10, checkpoint_s=1_000.0)
    await ledger.start("0.1", "v1")
    for number in range(35):
        await ledger.append(note(number)).durable()
    await until(lambda: len(store.checkpoints()) >= 3)
    await ledger.close()
    assert check(store).ok


async def test_a_quiet_ledger_is_signed_after_a_time_when_there_is_news() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store, checkpoint_s=0.0)
    await ledger.start("0.1", "v1")
    await until(lambda: bool(store.checkpoints()))
    await ledger.append(note()).durable()
    await until(lambda: store.checkpoints()[-1][0] >= 2)
    await ledger.close()


async def test_without_a_key_there_are_no_checkpoints() -> None:
    store = MemoryLedgerStore()
    ledger = ledger_over(store, signer=None, checkpoint_every=1)
    await ledger.start("0.1", "v1")
    await ledger.append(note()).durable()
    with pytest.raises(Misconfigured):
        await ledger.checkpoint_now()
    await ledger.close()
    assert not store.checkpoints()


@pytest.mark.parametrize("lost", ["peaks", "nothing"])
async def test_a_restart_goes_on_from_the_last_checkpoint(lost: str) -> None:
    shared = MemoryLedger()
    for _ in range(3):
        ledger = ledger_over(MemoryLedgerStore(shared))
        await ledger.start("0.1", "v1")
        for number in range(7):
            ledger.append(note(number))
        await ledger.close()
        if lost == "peaks":
            last = shared.notes[-1]
            shared.notes[-1] = StoredCheckpoint(size=last.size, note=last.note, peaks=bytes(32))
            if len(shared.notes[-1].peaks) != 32 * last.size.bit_count():
                shared.notes[-1] = StoredCheckpoint(
                    size=last.size, note=last.note, peaks=bytes(32 * last.size.bit_count())
                )
    store = MemoryLedgerStore(shared)
    assert check(store).ok
    assert check(store).signed_up_to == store.size() == 27


async def test_a_new_key_signs_on_where_the_old_one_stopped() -> None:
    shared = MemoryLedger()
    first = ledger_over(MemoryLedgerStore(shared))
    await first.start("0.1", "v1")
    await first.close()
    fresh = Ed25519NoteSigner.fresh(name="example.org/other")
    second = ledger_over(MemoryLedgerStore(shared), signer=fresh)
    await second.start("0.1", "v1")
    published = await second.checkpoint_now()
    await second.close()
    store = MemoryLedgerStore(shared)
    report = verify(store.entries(), [], verifier_key=fresh.verifier_key(), published=published)
    assert report.ok
    assert report.published_up_to == 3


async def test_a_rewritten_past_is_not_signed_after_a_restart() -> None:
    shared = MemoryLedger()
    ledger = ledger_over(MemoryLedgerStore(shared))
    await ledger.start("0.1", "v1")
    for number in range(5):
        ledger.append(note(number))
    await ledger.close()
    del shared.log[-1]
    with pytest.raises(LedgerUnavailable, match="entries"):
        await ledger_over(MemoryLedgerStore(shared)).start("0.1", "v1")


async def test_a_rewritten_past_is_not_signed_by_another_key_either() -> None:
    shared = MemoryLedger()
    ledger = ledger_over(MemoryLedgerStore(shared))
    await ledger.start("0.1", "v1")
    await ledger.append(note()).durable()
    await ledger.close()
    shared.log[0], shared.log[1] = shared.log[1], shared.log[0]
    fresh = Ed25519NoteSigner.fresh(name="example.org/other")
    with pytest.raises(LedgerUnavailable, match="signed"):
        await ledger_over(MemoryLedgerStore(shared), signer=fresh).start("0.1", "v1")


async def test_entries_that_vanish_under_a_running_ledger_stop_its_signing() -> None:
    shared = MemoryLedger()
    store, counts = MemoryLedgerStore(shared), Counts()
    ledger = ledger_over(store, telemetry=counts)
    await ledger.start("0.1", "v1")
    for number in range(5):
        ledger.append(note(number))
    await ledger.flush()
    del shared.log[2:4]
    await ledger.append(note(7)).durable()
    with pytest.raises(LedgerUnavailable):
        await ledger.checkpoint_now()
    await ledger.flush()
    damage = records(store)[-1]
    assert isinstance(damage, Observed)
    assert damage.what == "ledger.damaged"
    await ledger.close()
    assert not check(store).ok


# Reading


async def test_records_are_read_back_by_id_queued_or_on_disk() -> None:
    ledger = ledger_over(MemoryLedgerStore(), lazy_flush_s=1_000.0)
    await ledger.start("0.1", "v1")
    ticket = ledger.append(note(3))
    queued = await ledger.read(ticket.id)
    assert (queued.position, queued.record) == (0, note(3))
    await ledger.flush()
    stored = await ledger.read(ticket.id)
    assert (stored.position, stored.kind, stored.record) == (2, "observed", note(3))
    with pytest.raises(NotFound):
        await ledger.read("00000000-1")
    with pytest.raises(Malformed):
        await ledger.read("nonsense")
    await ledger.close()


async def test_the_tail_is_what_was_written_last() -> None:
    ledger = ledger_over(MemoryLedgerStore())
    await ledger.start("0.1", "v1")
    for number in range(9):
        ledger.append(note(number))
    await ledger.flush()
    assert [r.record for r in await ledger.tail(2)] == [note(7), note(8)]
    assert len(await ledger.tail(100)) == 10
    await ledger.close()


async def test_a_query_finds_the_records_of_a_run_with_their_outcomes() -> None:
    ledger = ledger_over(MemoryLedgerStore())
    await ledger.start("0.1", "v1")
    for number in range(1_500):
        ledger.append(note(number))
    mine, other = ledger.append(intent("run_a")), ledger.append(intent("run_b"))
    ledger.append(done(other.id))
    outcome = ledger.append(done(mine.id))
    ended = ledger.append(
        RunEnded(at=3.0, run="run_a", state="closed", author="ann", proof="peer-uid:1")
    )
    await ledger.flush()
    found = [r.id async for r in ledger.query(run="run_a")]
    assert found == [mine.id, outcome.id, ended.id]
    outcomes = [r.id async for r in ledger.query(run="run_a", kinds={"outcome"})]
    assert outcomes == [outcome.id]
    assert len([r async for r in ledger.query(kinds={"observed"})]) == 1_500
    await ledger.close()
