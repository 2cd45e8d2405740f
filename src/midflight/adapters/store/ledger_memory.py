"""The ledger in memory: for tests and throw-away runs. Nothing survives the process.

Two stores over one `MemoryLedger` behave like two processes over one file.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from itertools import islice

from midflight.domain.chain import Entry
from midflight.domain.errors import Conflict
from midflight.services.ports.ledger_store import Standing, StoredCheckpoint


class MemoryLedger:
    """What a file would hold."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.log: list[Entry] = []
        self.index: dict[tuple[str, int], int] = {}
        self.notes: list[StoredCheckpoint] = []
        self.standings: dict[str, Standing] = {}
        self.settled: set[str] = set()
        self.held: set[str] = set()


class MemoryLedgerStore:
    """See `LedgerStore`."""

    def __init__(self, ledger: MemoryLedger | None = None) -> None:
        self._ledger = ledger or MemoryLedger()
        self._mine: set[str] = set()

    def open(self) -> None:
        """Nothing to do."""

    def close(self) -> None:
        """Let go of the writers of this object, as the end of a process would."""
        with self._ledger.lock:
            self._ledger.held -= self._mine
            self._mine.clear()

    def enter(self, writer: str) -> None:
        """See `LedgerStore.enter`."""
        ledger = self._ledger
        with ledger.lock:
            if writer in ledger.standings:
                raise Conflict(f"There already is a ledger writer called {writer}.")
            ledger.standings[writer] = Standing(writer=writer)
            self._hold(writer)

    def abandoned(self) -> Sequence[Standing]:
        """See `LedgerStore.abandoned`."""
        ledger = self._ledger
        with ledger.lock:
            found = [
                standing
                for writer, standing in ledger.standings.items()
                if writer not in ledger.settled and writer not in ledger.held
            ]
            for standing in found:
                self._hold(standing.writer)
            return found

    def append(
        self,
        entries: Sequence[Entry],
        *,
        standing: Standing | None = None,
        settled: Sequence[str] = (),
    ) -> int:
        """See `LedgerStore.append`."""
        ledger = self._ledger
        with ledger.lock:
            if any(writer in ledger.settled for writer in settled):
                raise Conflict("A ledger writer was settled by somebody else.")
            if any((entry.writer, entry.seq) in ledger.index for entry in entries):
                raise Conflict("A ledger entry of that writer and number exists.")
            first = len(ledger.log) + 1
            for position, entry in enumerate(entries, first):
                ledger.index[entry.writer, entry.seq] = position
            ledger.log.extend(entries)
            if standing is not None:
                ledger.standings[standing.writer] = standing
            ledger.settled.update(settled)
            ledger.held.difference_update(settled)
            self._mine.difference_update(settled)
            return first

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Entry]]:
        """See `LedgerReader.entries`."""
        end = None if limit is None else after + limit
        yield from enumerate(islice(self._ledger.log, after, end), after + 1)

    def entries_of(self, writer: str, *, after: int = 0) -> Iterator[Entry]:
        """See `LedgerStore.entries_of`."""
        return (e for e in tuple(self._ledger.log) if e.writer == writer and e.seq > after)

    def hashes(self, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `LedgerStore.hashes`."""
        return ((position, entry.hash) for position, entry in self.entries(after=after))

    def entry(self, writer: str, seq: int) -> tuple[int, Entry] | None:
        """See `LedgerStore.entry`."""
        position = self._ledger.index.get((writer, seq))
        return None if position is None else (position, self._ledger.log[position - 1])

    def size(self) -> int:
        """See `LedgerReader.size`."""
        return len(self._ledger.log)

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """See `LedgerStore.add_checkpoint`."""
        with self._ledger.lock:
            known = {(c.size, c.note) for c in self._ledger.notes}
            if (checkpoint.size, checkpoint.note) not in known:
                self._ledger.notes.append(checkpoint)
                self._ledger.notes.sort(key=lambda c: c.size)

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """See `LedgerStore.last_checkpoint`."""
        return self._ledger.notes[-1] if self._ledger.notes else None

    def checkpoints(self) -> Sequence[tuple[int, str]]:
        """See `LedgerReader.checkpoints`."""
        return [(c.size, c.note) for c in self._ledger.notes]

    def _hold(self, writer: str) -> None:
        self._ledger.held.add(writer)
        self._mine.add(writer)


__all__ = ["MemoryLedger", "MemoryLedgerStore"]
