"""What flow keeps beside a run: its index, and what untrusted runs have written.

Nothing here is text: keys and entries are keyed hashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.value import Value

MAX_INDEX = 9 * 65_536
"""Bytes of an index that are kept, the last ones; entries have nine."""


SEVERAL = "several"
"""In place of a run: several runs have marked it, so that none of them can take the mark along."""


class StoredFlow(Value):
    """The flow state of a run, as far as it can be read back.

    Attributes:
        index: chunks of `RunIndex.unsaved`, in order.
        phrase_seen: it has seen names long enough to be instructions.
    """

    index: bytes
    phrase_seen: bool


class Marked(Value):
    """Marks on an upstream that one run made, or `SEVERAL`. `since`: of the first, Unix seconds."""

    upstream: str
    run: str
    marks: int
    since: int


class FlowStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def add_flow(self, run_id: str, flow: StoredFlow) -> None:
        """Add to the flow state of a run: the index is appended to, the rest is replaced."""
        ...

    async def get_flow(self, run_id: str) -> StoredFlow | None:
        """The flow state of a run, or None if none was stored."""
        ...

    async def count_effects(self, run_id: str, upstream: str, tool: str, count: int) -> None:
        """Set how many effects of a tool a run has had; of several calls the last one holds."""
        ...

    async def effects(self, run_id: str) -> Sequence[tuple[str, str, int]]:
        """What `count_effects` has set: (upstream, tool, count), in order."""
        ...

    async def delete_flow(self, run_id: str) -> None:
        """Forget the flow state of a run, and what effects it has had."""
        ...

    async def put_marks(self, upstream: str, keys: Sequence[str], *, run: str, at: int) -> None:
        """Mark keys of an upstream as written by an untrusted run; of two it is `SEVERAL`."""
        ...

    async def marked(self, upstream: str | None = None) -> Sequence[Marked]:
        """How many marks there are by upstream and the run that made them first."""
        ...

    async def clear_marks(self, upstream: str, *, run: str | None = None) -> int:
        """Forget the marks of an upstream, or those that a run made; how many."""
        ...

    async def list_marks(self) -> Sequence[tuple[str, str]]:
        """All marks: (upstream, key)."""
        ...


__all__ = ["MAX_INDEX", "SEVERAL", "FlowStore", "Marked", "StoredFlow"]
