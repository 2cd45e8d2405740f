"""A stretch of an action that waits for something of ours, and is cut all the same.

While the upstream works, its adapter cuts the call. Before and after it an action waits for the
ledger, for the store, for a lease that is being made: a revocation must not wait for these either.
Above: `guard.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from midflight.services.flights import Flight


class Cuttable:
    """Used as a context manager by the task of the action, around all of it.

    When the flight is cut the task is woken, wherever it waits, and `Interrupted` is raised out of
    the block. A cut that somebody else (the adapter) has taken up is left to him.
    """

    __slots__ = ("_cancelled", "_flight", "_over", "_task", "_was_cancelling")

    def __init__(self, flight: Flight) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._flight = flight
        self._task = task
        self._was_cancelling = task.cancelling()
        self._cancelled = False
        self._over = False

    def __enter__(self) -> Self:
        self.again()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over = True
        if not self._cancelled:
            return
        others = self._task.uncancel() > self._was_cancelling
        if others and isinstance(error, asyncio.CancelledError):
            # The caller's own task is being cancelled as well: that goes first.
            return
        self._flight.look()

    def again(self) -> None:
        """From here on it is cut by this again, and by nothing that was registered since.

        Raises:
            Interrupted: it is cut already, so that nobody would wake what it waits for next.
        """
        self._flight.on_cut(self._cut)
        self._flight.look()

    def _cut(self, _reason: str) -> Callable[[], None] | None:
        # What is cut from within its own task looks at the flight before anything leaves.
        return None if asyncio.current_task() is self._task else self._wake

    def _wake(self) -> None:
        if not self._over and not self._cancelled:
            self._cancelled = True
            self._task.cancel()


__all__ = ["Cuttable"]
