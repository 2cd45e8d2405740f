"""The ledger: records become chained entries at once, and durable a group at a time.

`append` is synchronous: it encodes, chains and queues, and gives the record's id; waiting for the
disk is a second step (`await ticket.durable()`) that only what must not be lost takes.

When the disk refuses, waiters are told at once and later ones are refused without waiting; what
is queued stays, in order, and is tried again until it is on disk or the backlog is full. The
backlog is bounded; how many records it refused is itself recorded when the disk is back.

Above stand the guard and whoever records; below, the group commit (`group_commit`), the recovery
of orphans (`ledger_recovery`), the signed checkpoints (`ledger_notary`) and the store port.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from functools import partial

from midflight.domain.chain import (
    GENESIS,
    WRITER_LENGTH,
    Damaged,
    Entry,
    encode,
    entry_hash,
    link,
    parse_record_id,
)
from midflight.domain.errors import Conflict, LedgerUnavailable, MidflightError, NotFound
from midflight.domain.outline import CLOSED, DAMAGED, DROPPED
from midflight.domain.records import Intent, Observed, Outcome, Record, Started
from midflight.services.group_commit import GroupCommit
from midflight.services.ledger_notary import Notary
from midflight.services.ledger_query import Recorded, RecordFilter, recorded, select
from midflight.services.ledger_recovery import recovery_records, unknown_outcomes
from midflight.services.ledger_thread import LedgerThread
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import NoteSigner
from midflight.services.ports.ledger_store import LedgerStore, Standing
from midflight.services.ports.telemetry import Telemetry

_STANDING_EVERY = 1_000
_PAGE = 1_000


class Ticket:
    """A record that is chained and queued. `id` is its record id, which never changes."""

    __slots__ = ("_seq", "_wait", "id")

    def __init__(self, id_: str, seq: int, wait: Callable[[int], Awaitable[None]]) -> None:
        self.id = id_
        self._seq = seq
        self._wait = wait

    async def durable(self) -> None:
        """Wait until the record is flushed to disk.

        Raises:
            LedgerUnavailable: it is not. It stays queued and may become durable later, so an
                intent that was refused needs an outcome that says so.
        """
        await self._wait(self._seq)


class Ledger:
    """One writer of a ledger.

    Args:
        store: where entries become durable.
        signer: signs checkpoints; None for none.
        clock: time of the records the ledger makes itself, and chance for the writer's name.
        telemetry: counts `ledger_failures`, `ledger_dropped` and `ledger_unsigned`; sets the gauge
            `ledger_backlog`.
        max_backlog: how many records, and `max_backlog_bytes` how many bytes, may wait for a disk
            that refuses.
        lazy_flush_s: how long a record that nobody waits for may wait for a flush.
        checkpoint_every, checkpoint_s: sign after so many entries, and when there is news after
            so many seconds.
    """

    def __init__(
        self,
        store: LedgerStore,
        *,
        signer: NoteSigner | None,
        clock: Clock,
        telemetry: Telemetry | None = None,
        max_backlog: int = 20_000,
        max_backlog_bytes: int = 64 << 20,
        lazy_flush_s: float = 0.010,
        checkpoint_every: int = 1_000,
        checkpoint_s: float = 60.0,
    ) -> None:
        self._store = store
        self._notary = Notary(store, signer)
        self._signs = signer is not None
        self._clock = clock
        self._telemetry = telemetry
        self._max_backlog = max_backlog
        self._max_backlog_bytes = max_backlog_bytes
        self._lazy_flush_s = lazy_flush_s
        self._checkpoint_every = checkpoint_every
        self._checkpoint_s = checkpoint_s

        self._commits: GroupCommit | None = None
        self._writer = ""
        self._writer_bytes = b""
        self._seq = 0
        self._head = GENESIS
        self._open_intents: dict[int, None] = {}
        self._standing_seq = 0
        self._dropped = 0
        self._unsigned = 0
        self._sign_timer: asyncio.TimerHandle | None = None
        self._damage_told = False

    @property
    def available(self) -> bool:
        """Whether the last flush reached the disk. While False, what must be durable is refused."""
        return self._commits is not None and self._commits.failure is None

    @property
    def writer(self) -> str:
        """The name of this writer's chain: 8 hex characters, once started."""
        return self._writer

    @property
    def last(self) -> str:
        """Id of the record that was appended last by this writer, once started."""
        return f"{self._writer}-{self._seq}"

    @property
    def backlog(self) -> int:
        """How many records are not durable yet."""
        return 0 if self._commits is None else self._commits.backlog

    # Start and end

    async def start(self, version: str, policy: str) -> None:
        """Open the store, end what crashed writers left open, and record that this one began.

        Args:
            version: Midflight's version.
            policy: the active policy version.

        Raises:
            LedgerUnavailable: the store cannot be opened or written, or its entries are not those
                that were signed.
        """
        if self._commits is not None:
            raise Conflict("The ledger is started already.")
        self._loop = asyncio.get_running_loop()
        self._thread = LedgerThread(self._loop)
        started = Started(at=self._clock.now(), version=version, policy=policy)
        try:
            entries = await self._thread.call(partial(self._begin, started))
        except BaseException:
            with contextlib.suppress(MidflightError):
                await self._thread.call(self._store.close)
            self._thread.stop()
            raise
        last = entries[-1]
        self._writer, self._writer_bytes = last.writer, last.writer.encode()
        self._seq, self._head = last.seq, last.hash
        self._commits = GroupCommit(
            self._thread,
            loop=self._loop,
            prepare=self._prepare,
            flushed=self._flushed,
            refused=self._refused,
            lazy_s=self._lazy_flush_s,
        )
        self._commits.durable_seq = last.seq
        self._news(len(entries))

    async def close(self) -> None:
        """Flush, end this writer's own open intents as unknown, sign a last checkpoint, close.

        Raises:
            LedgerUnavailable: not everything could be made durable. All is released nevertheless,
                and the next start recovers what there is.
        """
        commits = self._commits
        if commits is None:
            return
        try:
            with contextlib.suppress(LedgerUnavailable):
                await self.flush()
            at = self._clock.now()
            unknown = tuple(self._open_intents)
            for outcome in unknown_outcomes(self._writer, unknown, at, crashed=False):
                self._append(commits, outcome)
            self._tell_dropped(commits)
            self._append(commits, Observed(at=at, what=CLOSED, subject=self._writer))
            retried = commits.failure is not None
            self._commits = None
            await self._thread.call(partial(self._finish, commits.stop(), retried))
        finally:
            self._commits = None
            commits.stop()
            if self._sign_timer is not None:
                self._sign_timer.cancel()
            await self._thread.call(self._store.close)
            self._thread.stop()

    # Writing

    def append(self, record: Record) -> Ticket:
        """Chain and queue a record, and return its ticket. Called on the event loop; never waits.

        Raises:
            LedgerUnavailable: the ledger is not open, or its backlog is full (which is counted).
        """
        commits = self._commits
        if commits is None:
            raise LedgerUnavailable("The ledger is not open.")
        if commits.backlog >= self._max_backlog or commits.backlog_bytes >= self._max_backlog_bytes:
            self._dropped += 1
            if self._telemetry is not None:
                self._telemetry.count("ledger_dropped")
            raise LedgerUnavailable(
                "The ledger cannot be written and its backlog is full.",
                hint="Free the ledger's disk; what was refused is counted and will be recorded.",
            )
        return self._append(commits, record)

    async def flush(self) -> None:
        """Make everything durable that was appended so far; tries at once, also after a failure.

        Raises:
            LedgerUnavailable: it is not durable.
        """
        if self._commits is None:
            raise LedgerUnavailable("The ledger is not open.")
        await self._commits.try_now(self._seq)

    async def checkpoint_now(self) -> str:
        """Sign a checkpoint over everything appended so far, store it and return the note.

        Raises:
            LedgerUnavailable: what was appended is not durable, or the stored ledger was changed.
            Misconfigured: there is no signing key.
        """
        await self.flush()
        self._unsigned = 0
        return await self._thread.call(self._notary.sign)

    # Reading

    async def read(self, record_id: str) -> Recorded:
        """One record, of any writer, on disk or still queued.

        Raises:
            Malformed: not a record id.
            NotFound: there is no such record.
        """
        writer, seq = parse_record_id(record_id)
        if self._commits is None:
            raise LedgerUnavailable("The ledger is not open.")
        for entry in self._commits.pending():
            if entry.seq == seq and entry.writer == writer:
                return recorded(0, entry)
        found = await self._thread.call(partial(self._store.entry, writer, seq))
        if found is None:
            raise NotFound(
                f"There is no record {record_id} in this ledger.",
                hint="`midflight ledger tail` shows the latest ones.",
            )
        return recorded(*found)

    async def tail(self, count: int) -> Sequence[Recorded]:
        """The last records that are on disk, oldest first; at most 1,000."""
        count = max(0, min(count, _PAGE))

        def read() -> list[Recorded]:
            after = max(0, self._store.size() - count)
            return [recorded(*found) for found in self._store.entries(after=after, limit=count)]

        return await self._thread.call(read)

    async def size(self) -> int:
        """How many records are on disk."""
        return await self._thread.call(self._store.size)

    async def query(
        self, *, run: str | None = None, kinds: Collection[str] = (), after: int = 0
    ) -> AsyncIterator[Recorded]:
        """Records of a run or of some kinds that are on disk, in commit order, behind a position.

        Read in pages, between which flushes get their turn.
        """
        wanted = RecordFilter(run=run, kinds=kinds)
        async for page in self.pages(after=after):
            for found in select(page, wanted):
                yield found

    async def pages(
        self, *, after: int = 0
    ) -> AsyncIterator[Sequence[tuple[int, Entry | Damaged]]]:
        """What is on disk behind a position, in commit order, a page at a time."""
        while True:
            page = await self._thread.call(
                lambda start=after: list(self._store.entries(after=start, limit=_PAGE))
            )
            if page:
                yield page
            if len(page) < _PAGE:
                return
            after = page[-1][0]

    # On the event loop

    def _append(self, commits: GroupCommit, record: Record) -> Ticket:
        body = encode(record)
        seq, prev = self._seq + 1, self._head
        digest = entry_hash(self._writer_bytes, seq, prev, body)
        commits.add(Entry(writer=self._writer, seq=seq, prev=prev, body=body, hash=digest))
        self._seq, self._head = seq, digest
        if isinstance(record, Intent):
            self._open_intents[seq] = None
        elif isinstance(record, Outcome) and record.intent is not None:
            writer, _, number = record.intent.partition("-")
            if writer == self._writer and number.isdecimal():
                self._open_intents.pop(int(number), None)
        return Ticket(f"{self._writer}-{seq}", seq, commits.durable)

    def _prepare(self, batch: Sequence[Entry], retried: bool) -> Callable[[], None]:
        standing = None
        last = batch[-1].seq
        # A flush takes the whole queue, so what is open now is what is open behind its last entry.
        if last - self._standing_seq >= _STANDING_EVERY:
            self._standing_seq = last
            standing = Standing(writer=self._writer, seq=last, open=tuple(self._open_intents))
        return partial(self._commit, batch, standing, retried)

    def _flushed(self, count: int) -> None:
        commits = self._commits
        if commits is None:
            return
        if self._telemetry is not None:
            self._telemetry.gauge("ledger_backlog", commits.backlog)
        self._tell_dropped(commits)
        self._tell_damage(commits)
        self._news(count)

    def _refused(self) -> None:
        if self._telemetry is not None:
            self._telemetry.count("ledger_failures")
            self._telemetry.gauge("ledger_backlog", self.backlog)

    def _tell_dropped(self, commits: GroupCommit) -> None:
        count, self._dropped = self._dropped, 0
        if count:
            self._append(
                commits,
                Observed(
                    at=self._clock.now(),
                    what=DROPPED,
                    subject=self._writer,
                    details={"count": count},
                ),
            )

    def _tell_damage(self, commits: GroupCommit) -> None:
        if self._notary.damage and not self._damage_told:
            self._damage_told = True
            details = {"why": self._notary.damage}
            self._append(
                commits,
                Observed(at=self._clock.now(), what=DAMAGED, subject=self._writer, details=details),
            )

    def _news(self, count: int) -> None:
        if not self._signs or self._notary.damage:
            return
        self._unsigned += count
        if self._unsigned >= self._checkpoint_every:
            self._sign()
        elif self._sign_timer is None:
            self._sign_timer = self._loop.call_later(self._checkpoint_s, self._sign)

    def _sign(self) -> None:
        if self._sign_timer is not None:
            self._sign_timer.cancel()
            self._sign_timer = None
        if self._unsigned and self._commits is not None:
            self._unsigned = 0
            self._thread.post(self._notary.sign, self._signed)

    def _signed(self, _: str | None, error: BaseException | None) -> None:
        if error is None or self._commits is None:
            return
        if self._telemetry is not None:
            self._telemetry.count("ledger_unsigned")
        self._tell_damage(self._commits)

    # On the ledger's thread

    def _begin(self, started: Started) -> list[Entry]:
        store = self._store
        store.open()
        self._notary.open()
        writer = self._enter()
        abandoned = store.abandoned()
        records = [*recovery_records(store, abandoned, started.at), started]
        entries: list[Entry] = []
        head = GENESIS
        for seq, record in enumerate(records, 1):
            entries.append(link(writer, seq, head, encode(record)))
            head = entries[-1].hash
        first = store.append(entries, settled=[standing.writer for standing in abandoned])
        self._notary.committed(first, entries)
        return entries

    def _enter(self) -> str:
        while True:
            chance = hashlib.sha256(self._clock.token().encode())
            writer = chance.hexdigest()[:WRITER_LENGTH]
            # 32 bits: a name that was used before is possible, and refused by the store.
            with contextlib.suppress(Conflict):
                self._store.enter(writer)
                return writer

    def _commit(self, batch: Sequence[Entry], standing: Standing | None, retried: bool) -> None:
        first = self._append_missing(batch, standing=standing, settled=(), retried=retried)
        self._notary.committed(first, batch)

    def _finish(self, batch: Sequence[Entry], retried: bool) -> None:
        first = self._append_missing(batch, standing=None, settled=(self._writer,), retried=retried)
        self._notary.committed(first, batch)
        if self._signs and not self._notary.damage:
            self._notary.sign()

    def _append_missing(
        self,
        batch: Sequence[Entry],
        *,
        standing: Standing | None,
        settled: Sequence[str],
        retried: bool,
    ) -> int:
        """Append what is not there yet.

        Returns the position of the batch's first entry, or 0 when some of it was there already:
        the notary then reads its place from the store.
        """
        known = 0
        if retried:
            # A commit may report an error and stand: what failed before may be on disk.
            while known < len(batch) and self._has(batch[known]):
                known += 1
        first = self._store.append(batch[known:], standing=standing, settled=settled)
        return 0 if known else first

    def _has(self, entry: Entry) -> bool:
        found = self._store.entry(entry.writer, entry.seq)
        return found is not None and found[1].hash == entry.hash


__all__ = ["Ledger", "Ticket"]
