"""What services need of the ledger: append, and wait until it is durable."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.records import Record


class Ticket(Protocol):
    """A record on its way to disk."""

    @property
    def id(self) -> str:
        """The record's id, known at once."""
        ...

    async def durable(self) -> None:
        """Wait until it is on disk. `LedgerUnavailable` if it cannot be."""
        ...


class Recorder(Protocol):
    """The append side of `services/ledger.py`."""

    @property
    def available(self) -> bool:
        """Whether the last flush reached the disk."""
        ...

    def append(self, record: Record) -> Ticket:
        """Chain and queue a record. `LedgerUnavailable` when the backlog is full."""
        ...


__all__ = ["Recorder", "Ticket"]
