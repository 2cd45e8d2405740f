"""A value that many callers wait for and one task makes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from midflight.domain.errors import UpstreamUnavailable

T = TypeVar("T")


class Once(Generic[T]):
    """Makes a value when it is first asked for, once for all who ask meanwhile.

    A caller that is cancelled does not take the making from the others. A failure is told to all
    who wait and forgotten: the next caller tries again.
    """

    def __init__(self, make: Callable[[], Awaitable[T]]) -> None:
        self._make = make
        self._task: asyncio.Task[T] | None = None
        self.value: T | None = None

    async def get(self) -> T:
        """The value, made if it is not there. Raises what making it raised."""
        if self.value is not None:
            return self.value
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._made)
        making = self._task
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if making.cancelled() and task is not None and not task.cancelling():
                # The making was cancelled, not whoever waits for it.
                raise UpstreamUnavailable(
                    "The upstream was let go of while it was being reached."
                ) from None
            raise

    def forget(self) -> None:
        """Make it again when it is asked for next."""
        self.value = None
        self._task = None

    async def cancel(self) -> None:
        """Stop making it, and wait for that; who waits gets `UpstreamUnavailable`."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> T:
        return await self._make()

    def _made(self, task: asyncio.Task[T]) -> None:
        failed = task.cancelled() or task.exception() is not None
        if task is self._task:
            self._task = None
            if not failed:
                self.value = task.result()


__all__ = ["Once"]
