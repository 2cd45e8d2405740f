"""Where ledger entries become durable. Entries are chained by `services/ledger.py`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from midflight.domain.chain import Entry


class LedgerStore(Protocol):
    """An append-only table of entries and one of checkpoints.

    Called from the ledger's own thread, never from the event loop: synchronous on purpose, since
    a group commit is one blocking flush.
    """

    def open(self) -> None:
        """Open or create. `LedgerUnavailable` if that fails."""
        ...

    def close(self) -> None:
        """Release everything."""
        ...

    def append(self, entries: Sequence[Entry]) -> None:
        """Append all in one durable transaction, in order, or none.

        Durable means flushed to disk (SQLite: WAL with synchronous=FULL).
        `LedgerUnavailable` if not (disk full, read-only, locked).
        """
        ...

    def entries(self, *, after: int = 0, limit: int | None = None) -> Iterator[tuple[int, Entry]]:
        """(position, entry) in commit order, positions counted from 1 without gaps."""
        ...

    def entry(self, writer: str, seq: int) -> tuple[int, Entry] | None:
        """One entry by writer and sequence number, with its position."""
        ...

    def size(self) -> int:
        """How many entries there are."""
        ...

    def add_checkpoint(self, size: int, note: str) -> None:
        """Store a signed checkpoint over the first `size` entries."""
        ...

    def checkpoints(self) -> Sequence[tuple[int, str]]:
        """(size, note) of all checkpoints, by size."""
        ...


__all__ = ["LedgerStore"]
