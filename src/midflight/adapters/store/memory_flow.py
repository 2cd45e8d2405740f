"""Flow state and marks in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.services.ports.flow_store import MAX_INDEX, StoredFlow


class MemoryFlow:
    """See the module, and `services/ports/flow_store.py` for what the methods promise."""

    def __init__(self) -> None:
        self._flows: dict[str, StoredFlow] = {}
        self._marks: dict[tuple[str, str], None] = {}

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

    async def delete_flow(self, run_id: str) -> None:
        """Forget the flow state of a run."""
        self._check_open()
        self._flows.pop(run_id, None)

    async def put_marks(self, upstream: str, keys: Sequence[str], *, run: str, at: int) -> None:
        """Mark keys of an upstream as written by an untrusted run; the first mark stays."""
        del run, at
        self._check_open()
        for key in keys:
            self._marks.setdefault((upstream, key))

    async def list_marks(self) -> Sequence[tuple[str, str]]:
        """All marks: (upstream, key)."""
        self._check_open()
        return sorted(self._marks)

    def _check_open(self) -> None:
        raise NotImplementedError


__all__ = ["MemoryFlow"]
