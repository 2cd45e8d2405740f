"""What carries news between replicas: today inside one process, later Valkey or PostgreSQL.

The fabric only carries positions of durable things (a revocation's position in its log). A lost
message is found again by reading the log from the last applied position.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

Handler = Callable[[int], Awaitable[None]]


class Fabric(Protocol):
    """Broadcast of positions by topic."""

    async def publish(self, topic: str, position: int) -> None:
        """Tell every replica, this one included, that `topic` has reached `position`.

        Returns when every live replica has applied it (or has lost its lease and denies).
        """
        ...

    async def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler(position)` for each published position, in order, one at a time."""
        ...

    async def close(self) -> None:
        """Stop delivering."""
        ...


__all__ = ["Fabric", "Handler"]
