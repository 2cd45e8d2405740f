"""Where exported events go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.chain import Damaged, Entry
from midflight.domain.records import Facts, Record
from midflight.domain.value import Value


class Exportable(Value):
    """A record as it is handed to a sink.

    Attributes:
        record, kind, position: its id, tag and place in the ledger.
        value: the record; None where the entry cannot be read, and `damage` says why.
        facts: of an outcome with an intent: those of the intent, where they are known.
    """

    record: str
    kind: str
    position: int
    value: Record | None
    damage: str = ""
    facts: Facts | None = None


class Sink(Protocol):
    """Takes events in order. May be given some again; each carries its record id."""

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        """Send a batch; when this returns, the other side has it as far as its protocol can say.

        Raises:
            Unavailable: not all of it was taken. It will be given again.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and files."""
        ...


Page = Sequence[tuple[int, Entry | Damaged]]

__all__ = ["Exportable", "Page", "Sink"]
