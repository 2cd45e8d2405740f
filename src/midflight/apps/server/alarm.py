"""One timer for many deadlines in a row.

Starting and cancelling a timer for each request costs more than the request's head. This one is
moved only to an earlier time; otherwise it rings early, its owner finds that `due` has not come,
and lets it sleep on. A busy connection pays one look at the clock per request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Alarm:
    """Rings at `due` or earlier; whoever is rung looks at `due`."""

    __slots__ = ("_loop", "_ring", "_timer", "_timer_at", "due")

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        """`ring` is called in a turn of `loop`; it says when to ring again, if at all."""
        self._loop = loop
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self.due = 0.0

    def due_in(self, seconds: float) -> None:
        """Set a new deadline."""
        due = self.due = self._loop.time() + seconds
        if self._timer is None or self._timer_at > due:
            self.sleep_until(due)

    def sleep_until(self, at: float) -> None:
        """Ring at a loop time, whatever the deadline is."""
        self.stop()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def stop(self) -> None:
        """Do not ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._ring()


__all__ = ["Alarm"]
