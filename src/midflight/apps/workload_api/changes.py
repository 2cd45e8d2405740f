"""What wakes the streams: entries, bundles, revocations, and time.

A stream takes a ticket, looks, answers, and waits until something happened after that ticket; so
nothing that happens while it looks is missed. On one event loop: no lock is needed.
"""

from __future__ import annotations

import asyncio


class Changes:
    """One flag for all streams; each looks for itself whether it is concerned."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._generation = 0
        self._happened = asyncio.Event()

    def ticket(self) -> int:
        """The present, to be waited past."""
        return self._generation

    def tell(self) -> None:
        """Something happened, or time has passed."""
        self._generation += 1
        happened, self._happened = self._happened, asyncio.Event()
        happened.set()

    async def after(self, ticket: int) -> None:
        """Wait until something happened after `ticket` was taken."""
        while self._generation == ticket:
            await self._happened.wait()


__all__ = ["Changes"]
