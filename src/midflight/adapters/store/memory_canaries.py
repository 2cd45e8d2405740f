"""Canaries in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.canary import Canary
from midflight.domain.errors import Conflict


class MemoryCanaries(MemoryPart):
    """See the module, and `services/ports/canary_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._canaries: dict[str, Canary] = {}

    async def put_canary(self, canary: Canary) -> None:
        """Store a canary. `Conflict` if its name exists."""
        self._check_open()
        if canary.name in self._canaries:
            raise Conflict(f"Canary {canary.name} exists.")
        self._canaries[canary.name] = canary

    async def delete_canary(self, name: str) -> bool:
        """Forget a canary. False if there was none of that name."""
        self._check_open()
        return self._canaries.pop(name, None) is not None

    async def list_canaries(self) -> Sequence[Canary]:
        """All canaries, by name."""
        self._check_open()
        return [self._canaries[name] for name in sorted(self._canaries)]


__all__ = ["MemoryCanaries"]
