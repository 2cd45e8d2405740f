"""The fabric inside one process: every subscriber is a task with a queue.

Above stand services that keep positions of durable logs. Nothing is stored here: what a
subscriber missed before it subscribed, it reads from the log.
"""

from __future__ import annotations

import asyncio
from typing import TypeAlias

from midflight.domain.errors import Conflict, Unavailable
from midflight.services.ports.fabric import Handler

# A position and the future that `publish` waits for.
_Letter: TypeAlias = "tuple[int, asyncio.Future[None]]"


class _Subscription:
    """One handler, called for one position at a time by a task of its own.

    The task belongs to the fabric and not to the publisher: a publisher that is cancelled (its
    client went away) does not take the news back.
    """

    __slots__ = ("_handler", "_queue", "task")

    def __init__(self, handler: Handler, *, name: str) -> None:
        self._handler = handler
        self._queue: asyncio.Queue[_Letter] = asyncio.Queue()
        self.task = asyncio.create_task(self._deliver(), name=name)

    def post(self, position: int) -> asyncio.Future[None]:
        """Queue a position; the future ends when the handler has applied it or has failed."""
        applied: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((position, applied))
        return applied

    async def close(self) -> None:
        """Stop the task, and tell those who wait that their news was not delivered."""
        self.task.cancel()
        await asyncio.wait([self.task])
        while not self._queue.empty():
            _, applied = self._queue.get_nowait()
            _fail(applied, _closed())

    async def _deliver(self) -> None:
        while True:
            position, applied = await self._queue.get()
            try:
                await self._handler(position)
            except asyncio.CancelledError:
                _fail(applied, _closed())
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
            except Exception as error:  # noqa: BLE001 -- whatever it is, the publisher is told
                _fail(applied, error)
            else:
                if not applied.done():
                    applied.set_result(None)


class LocalFabric:
    """Broadcast inside one process, in the order of publication."""

    def __init__(self) -> None:
        self._topics: dict[str, list[_Subscription]] = {}
        self._is_closed = False

    async def publish(self, topic: str, position: int) -> None:
        """Tell every subscriber of `topic`, and return when all of them have applied it.

        A failing subscriber does not keep the others from being told.

        Raises:
            Unavailable: a subscriber failed, so not everybody denies yet; or the fabric is closed.
            Conflict: a subscriber of the topic published to it, and would wait for itself.
        """
        if self._is_closed:
            raise _closed()
        subscriptions = self._topics.get(topic, [])
        current = asyncio.current_task()
        if any(subscription.task is current for subscription in subscriptions):
            raise Conflict(
                f"A subscriber of {topic} published to {topic}, and would wait for itself.",
                hint="Publish from outside the handler.",
            )
        letters = [subscription.post(position) for subscription in subscriptions]
        if not letters:
            return
        # `wait` leaves the futures alone when the publisher is cancelled; `gather` would not.
        await asyncio.wait(letters)
        errors = [error for letter in letters if (error := letter.exception()) is not None]
        if errors:
            raise Unavailable(
                f"{len(errors)} of {len(letters)} subscribers did not apply "
                f"position {position} of {topic}.",
                hint="What is not applied is not in effect: publish again.",
            ) from (errors[0] if len(errors) == 1 else BaseExceptionGroup("subscribers", errors))

    async def subscribe(self, topic: str, handler: Handler) -> None:
        """Call `handler(position)` for each position published from now on, one at a time."""
        if self._is_closed:
            raise _closed()
        subscriptions = self._topics.setdefault(topic, [])
        name = f"fabric {topic} {len(subscriptions)}"
        subscriptions.append(_Subscription(handler, name=name))

    async def close(self) -> None:
        """Stop delivering. Publishers that still wait get `Unavailable`."""
        self._is_closed = True
        for subscriptions in self._topics.values():
            for subscription in subscriptions:
                await subscription.close()
        self._topics.clear()


def _fail(applied: asyncio.Future[None], error: Exception) -> None:
    if not applied.done():
        applied.set_exception(error)
        # The publisher may be gone; asyncio must not report the error as forgotten then.
        applied.exception()


def _closed() -> Unavailable:
    return Unavailable("The fabric is closed, so nobody was told.", hint="Start Midflight again.")


__all__ = ["LocalFabric"]
