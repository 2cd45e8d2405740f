"""Flow state and marks in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.adapters.store.memory_part import MemoryPart
from midflight.services.ports.flow_store import MAX_INDEX, SEVERAL, Marked, StoredFlow


class MemoryFlow(MemoryPart):
    """See the module, and `services/ports/flow_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._flows: dict[str, StoredFlow] = {}
        self._effects: dict[tuple[str, str, str], int] = {}
        self._marks: dict[tuple[str, str], tuple[str, int]] = {}

    async def add_flow(self, run_id: str, flow: StoredFlow) -> None:
        """Add to the flow state of a run: the index is appended to, the rest is replaced."""
        self._check_open()
        before = self._flows.get(run_id)
        index = (b"" if before is None else before.index) + flow.index
        self._flows[run_id] = msgspec.structs.replace(flow, index=index[-MAX_INDEX:])

    async def get_flow(self, run_id: str) -> StoredFlow | None:
        """The flow state of a run, or None if none was stored."""
        self._check_open()
        return self._flows.get(run_id)

    async def count_effects(self, run_id: str, upstream: str, tool: str, count: int) -> None:
        """Set how many effects of a tool a run has had; of several calls the last one holds."""
        self._check_open()
        self._effects[run_id, upstream, tool] = count

    async def effects(self, run_id: str) -> Sequence[tuple[str, str, int]]:
        """What `count_effects` has set: (upstream, tool, count), in order."""
        self._check_open()
        return sorted((u, t, n) for (run, u, t), n in self._effects.items() if run == run_id)

    async def delete_flow(self, run_id: str) -> None:
        """Forget the flow state of a run, and what effects it has had."""
        self._check_open()
        self._flows.pop(run_id, None)
        for key in [key for key in self._effects if key[0] == run_id]:
            del self._effects[key]

    async def put_marks(self, upstream: str, keys: Sequence[str], *, run: str, at: int) -> None:
        """Mark keys of an upstream as written by an untrusted run; of two it is `SEVERAL`."""
        self._check_open()
        for key in keys:
            by, first = self._marks.get((upstream, key), (run, at))
            self._marks[upstream, key] = (by if by == run else SEVERAL, first)

    async def marked(self, upstream: str | None = None) -> Sequence[Marked]:
        """How many marks there are by upstream and the run that made them."""
        self._check_open()
        found: dict[tuple[str, str], list[int]] = {}
        for (name, _), (run, at) in self._marks.items():
            if upstream in (None, name):
                found.setdefault((name, run), []).append(at)
        return [
            Marked(upstream=name, run=run, marks=len(times), since=min(times))
            for (name, run), times in sorted(found.items())
        ]

    async def clear_marks(self, upstream: str, *, run: str | None = None) -> int:
        """Forget the marks of an upstream, or those that a run made; how many."""
        self._check_open()
        gone = [
            key for key, (by, _) in self._marks.items() if key[0] == upstream and run in (None, by)
        ]
        for key in gone:
            del self._marks[key]
        return len(gone)

    async def list_marks(self) -> Sequence[tuple[str, str]]:
        """All marks: (upstream, key)."""
        self._check_open()
        return sorted(self._marks)


__all__ = ["MemoryFlow"]
