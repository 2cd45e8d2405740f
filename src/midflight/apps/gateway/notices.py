"""Notices: what upstreams say that belongs to no request, and who hears it.

An upstream's notice is content of that upstream: before a run hears it, its labels join the run's.
List changes make the catalogue fetch again, and clients hear of them only after that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.value import JSONObject

log = structlog.get_logger(__name__)

LIST_CHANGED = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}

Listener = Callable[[str, str, JSONObject], Awaitable[None]]
"""(upstream, method, params)"""


class Subscription:
    """One listener; `close` ends it."""

    def __init__(self, hub: Notices, run: str, listener: Listener) -> None:
        """Made by `Notices.listen`."""
        self._hub = hub
        self.run = run
        self.listener = listener

    def close(self) -> None:
        """Hear nothing more."""
        self._hub.drop(self)


class Notices:
    """Passes notices on, in order, off the upstream's reading path."""

    def __init__(
        self,
        *,
        refresh: Callable[[str], Awaitable[None]],
        observe: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """`refresh(upstream)` fetches the catalogue; `observe(run, upstream)` joins labels."""
        self._refresh = refresh
        self._observe = observe
        self._listeners: set[Subscription] = set()
        self._queue: asyncio.Queue[tuple[str, str, str, JSONObject]] = asyncio.Queue(10_000)
        self._task: asyncio.Task[None] | None = None
        self.dropped = 0

    def start(self) -> None:
        """Begin passing on."""
        self._task = asyncio.get_running_loop().create_task(self._pump())

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def listen(self, run: str, listener: Listener) -> Subscription:
        """Hear the notices of a run, and those of the catalogue (list changes)."""
        subscription = Subscription(self, run, listener)
        self._listeners.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """See `Subscription.close`."""
        self._listeners.discard(subscription)

    def handler(self, upstream: str) -> Callable[[str, str, JSONObject], None]:
        """What the upstream's adapter calls: synchronous, bounded, never blocks its reader."""

        def notice(run: str, method: str, params: JSONObject) -> None:
            try:
                self._queue.put_nowait((upstream, run, method, params))
            except asyncio.QueueFull:
                self.dropped += 1

        return notice

    async def _pump(self) -> None:
        while True:
            upstream, run, method, params = await self._queue.get()
            try:
                await self._pass_on(upstream, run, method, params)
            except MidflightError as error:
                log.warning("notice_dropped", upstream=upstream, method=method, why=error.message)

    async def _pass_on(self, upstream: str, run: str, method: str, params: JSONObject) -> None:
        if method in LIST_CHANGED:
            await self._refresh(upstream)
            targets = list(self._listeners)
            params = {}  # a change is a fact; what an upstream writes beside it is not passed
        else:
            targets = [s for s in self._listeners if s.run == run]
            if targets:
                await self._observe(run, upstream)
        for subscription in targets:
            await subscription.listener(upstream, method, params)


__all__ = ["LIST_CHANGED", "Listener", "Notices", "Subscription"]
