"""Handles of waiting agents in memory: a part of `memory.py`."""

from __future__ import annotations

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.errors import Conflict
from midflight.domain.held import Held, HeldState


class MemoryHeld(MemoryPart):
    """See the module, and `services/ports/held_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._held: dict[str, Held] = {}

    async def put_held(self, held: Held, *, max_of_run: int, max_of_workload: int) -> None:
        """Store an entry; its run's oldest, then its workload's, makes room."""
        self._check_open()
        if held.key in self._held:
            raise Conflict("That handle exists.")
        entries = list(self._held.values())
        of_run = [each for each in entries if each.run == held.run]
        gone = {each.key for each in of_run[: max(0, len(of_run) - max_of_run + 1)]}
        own = [each for each in entries if each.workload == held.workload and each.key not in gone]
        gone |= {each.key for each in own[: max(0, len(own) - max_of_workload + 1)]}
        for key in gone:
            del self._held[key]
        self._held[held.key] = held

    async def get_held(self, key: str) -> Held | None:
        """An entry by key."""
        self._check_open()
        return self._held.get(key)

    async def take_held(self, key: str) -> Held | None:
        """Remove an entry and return it."""
        self._check_open()
        return self._held.pop(key, None)

    async def change_held(self, held: Held, *, was: HeldState) -> bool:
        """Replace an entry that is in state `was`."""
        self._check_open()
        known = self._held.get(held.key)
        if known is None or known.state is not was:
            return False
        self._held[held.key] = held
        return True

    async def prune_held(self, *, now: int) -> int:
        """Remove what has expired."""
        self._check_open()
        over = [key for key, held in self._held.items() if held.expires_at <= now]
        for key in over:
            del self._held[key]
        return len(over)


__all__ = ["MemoryHeld"]
