"""What wakes the streams: entries, bundles, revocations, and time.

A stream takes a ticket, looks, answers, and waits until something happened after that ticket; so
nothing that happens while it looks is missed. Streams are woken a few in each turn of the loop,
which the gateway shares: a thousand that look at once would hold up every action (`bench
identity`). On one event loop: no lock is needed.
"""

from __future__ import annotations

import asyncio
from collections import deque

AT_ONCE = 8
"""Streams that are woken in one turn of the loop; each looks for some 30 µs."""


class Changes:
    """One for all streams; each looks for itself whether it is concerned."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._generation = 0
        # Who waits since which ticket; tickets only grow, so the first is the oldest.
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._waking = False

    def ticket(self) -> int:
        """The present, to be waited past."""
        return self._generation

    def tell(self) -> None:
        """Something happened, or time has passed."""
        self._generation += 1
        if not self._waking:
            self._wake()

    async def after(self, ticket: int) -> None:
        """Wait until something happened after `ticket` was taken."""
        while self._generation == ticket:
            told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((ticket, told))
            await told

    def _wake(self) -> None:
        for _ in range(AT_ONCE):
            # Who waits since now has looked already, and waits for what comes next.
            if not self._waiting or self._waiting[0][0] == self._generation:
                self._waking = False
                return
            _, told = self._waiting.popleft()
            if not told.done():
                told.set_result(None)
        self._waking = True
        asyncio.get_running_loop().call_soon(self._wake)


__all__ = ["AT_ONCE", "Changes"]
