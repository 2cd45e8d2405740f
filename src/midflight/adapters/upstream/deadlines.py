"""Until when what waits for an upstream may go on: one timer of the loop for all of it.

Hardly any deadline is ever reached, and a timer that is set and taken away for each call is a tenth
of what it takes to cut one. A deadline may be put off while it is kept, never be made sooner.
Above: `passage.py`.
"""

from __future__ import annotations

import asyncio
import math
from typing import Protocol


class Waiting(Protocol):
    """What has a deadline."""

    @property
    def deadline(self) -> float:
        """Seconds of the loop's clock."""
        ...

    def overdue(self) -> None:
        """The deadline has passed. Told again as long as it is kept, so it must be idempotent."""
        ...


class Deadlines:
    """See the module. One event loop."""

    __slots__ = ("_due", "_timer", "_waiting")

    def __init__(self) -> None:
        """Nothing waits."""
        self._waiting: dict[Waiting, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def keep(self, one: Waiting, loop: asyncio.AbstractEventLoop) -> None:
        """Tell it when its deadline has passed."""
        self._waiting[one] = None
        if one.deadline < self._due:
            self._set(loop, one.deadline)

    def drop(self, one: Waiting) -> None:
        """Tell it nothing more. The timer stays: it is for whatever waits when it runs out."""
        self._waiting.pop(one, None)

    def close(self) -> None:
        """Nothing new comes: leave no timer behind, unless something still waits."""
        if self._timer is not None and not self._waiting:
            self._timer.cancel()
            self._timer, self._due = None, math.inf

    def _set(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = loop.call_at(due, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer, self._due = None, math.inf
        now, later = loop.time(), math.inf
        for one in self._waiting:
            if one.deadline <= now:
                # Each by itself: one that fails must not keep the others waiting.
                loop.call_soon(one.overdue)
            else:
                later = min(later, one.deadline)
        if later < math.inf:
            self._set(loop, later)


__all__ = ["Deadlines", "Waiting"]
