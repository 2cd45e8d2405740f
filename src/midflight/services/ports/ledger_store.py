"""Where ledger entries become durable. Entries are chained by `services/ledger.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from midflight.domain.chain import Damaged, Entry
from midflight.domain.value import Value


class Standing(Value):
    """What a writer had open when its entry `seq` became durable.

    Kept so that recovery after a crash reads only what came behind it, however long the ledger is.

    Attributes:
        writer: whose chain.
        seq: the last entry that is accounted for; 0 when nothing is.
        open: sequence numbers of its intents up to there that had no outcome yet.
    """

    writer: str
    seq: int = 0
    open: tuple[int, ...] = ()


class StoredCheckpoint(Value):
    """A signed checkpoint over the first `size` entries, with the Merkle range to go on from."""

    size: int
    note: str
    peaks: bytes = b""


class LedgerReader(Protocol):
    """What an offline verifier or a reader needs of a stored ledger."""

    def entries(
        self, *, after: int = 0, limit: int | None = None
    ) -> Iterator[tuple[int, Entry | Damaged]]:
        """(position, entry) in commit order, positions counted from 1 without gaps.

        What is there and is no entry comes as `Damaged`. Read in pages: entries that are
        appended while it runs may or may not come, and no writer waits.
        """
        ...

    def checkpoints(self) -> Sequence[tuple[int, str]]:
        """(size, note) of all checkpoints, by size."""
        ...

    def size(self) -> int:
        """The last position; 0 when there are no entries."""
        ...


class LedgerStore(LedgerReader, Protocol):
    """An append-only table of entries, one of checkpoints and one of writers.

    Called from the ledger's own thread, never from the event loop: synchronous on purpose, since
    a group commit is one blocking flush. Every method: `LedgerUnavailable` if the store does not
    answer.

    A writer is live from `enter` until it is settled, or until the process that entered it ends,
    however it ends. Several processes may append to one store, each as a writer of its own.
    """

    def open(self) -> None:
        """Open or create."""
        ...

    def close(self) -> None:
        """Release everything, the writers that are live through this object included."""
        ...

    def enter(self, writer: str) -> None:
        """Register a fresh writer as live. `Conflict` if there ever was one of that name."""
        ...

    def abandoned(self) -> Sequence[Standing]:
        """The last standing of each writer that is neither settled nor live.

        They are taken over: no other process is given them while this one lives. Settle them by
        `append`; if this process dies before, the next one is given them again.
        """
        ...

    def append(
        self,
        entries: Sequence[Entry],
        *,
        standing: Standing | None = None,
        settled: Sequence[str] = (),
    ) -> int:
        """Append all in one durable transaction, in order and without others between, or none.

        Durable means flushed to disk (SQLite: WAL with synchronous=FULL). In the same transaction
        `standing` replaces the writer's, and the writers in `settled` end for good.

        Returns the position of the first entry. `LedgerUnavailable` if nothing was appended (disk
        full, read-only, locked); `Conflict` if a writer in `settled` already was.
        """
        ...

    def entries_of(self, writer: str, *, after: int = 0) -> Iterator[Entry]:
        """The entries of one writer with a greater sequence number, in order."""
        ...

    def hashes(self, *, after: int = 0) -> Iterator[tuple[int, bytes]]:
        """(position, entry hash) in commit order: the leaves of the Merkle tree."""
        ...

    def entry(self, writer: str, seq: int) -> tuple[int, Entry] | None:
        """One entry by writer and sequence number, with its position."""
        ...

    def add_checkpoint(self, checkpoint: StoredCheckpoint) -> None:
        """Store a signed checkpoint. Adding the same one again changes nothing."""
        ...

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """The checkpoint of the greatest size."""
        ...


__all__ = ["LedgerReader", "LedgerStore", "Standing", "StoredCheckpoint"]
