"""What is kept of the handles of agents that wait for an approval: hashes, never a handle."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.held import Held, HeldState


class HeldStore(Protocol):
    """Every method is atomic, across processes. `StoreUnavailable` when the store is away."""

    async def put_held(self, held: Held, *, max_of_run: int, max_of_workload: int) -> None:
        """Store an entry. `Conflict` if its key exists.

        Beyond a bound the oldest of that run, then of that workload, makes room: a flood costs
        whoever makes it, and nobody else.
        """
        ...

    async def get_held(self, key: str) -> Held | None:
        """An entry by key."""
        ...

    async def take_held(self, key: str) -> Held | None:
        """Remove an entry and return it: of several who try, one gets it."""
        ...

    async def change_held(self, held: Held, *, was: HeldState) -> bool:
        """Replace the entry of that key if it is in state `was`: True for exactly one."""
        ...

    async def prune_held(self, *, now: int) -> int:
        """Remove the entries that have expired at `now` (Unix seconds); how many."""
        ...


__all__ = ["HeldStore"]
