"""Notices: what upstreams say that belongs to no request, and who hears it.

An upstream's notice is content of that upstream: before a run hears it, its labels join the run's.
List changes make the catalogue fetch again, and clients hear of them only after that.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.tool import PinnedKind
from midflight.domain.value import JSONObject
from midflight.wire import json

log = structlog.get_logger(__name__)

LIST_CHANGED = {
    "notifications/tools/list_changed": "tools",
    "notifications/prompts/list_changed": "prompts",
    "notifications/resources/list_changed": "resources",
}

MAX_WAITING = 1_000
MAX_BYTES = 64 * 1024
"""Of one notice; more is not a notice but a load, and is dropped."""

_Lane = asyncio.Queue[tuple[float, str, str, JSONObject]]
_OF_KIND = {
    PinnedKind.TOOL: "notifications/tools/list_changed",
    PinnedKind.PROMPT: "notifications/prompts/list_changed",
    PinnedKind.TEMPLATE: "notifications/resources/list_changed",
}
SOON_S = 0.05

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
    """Passes notices on, in order for each upstream, off the upstream's reading path.

    Each upstream has a lane of its own, so that one which floods, or never lists what it says has
    changed, holds up nobody else's.
    """

    def __init__(
        self,
        *,
        refresh: Callable[[str], Awaitable[None]],
        observe: Callable[[str, str, str, JSONObject], Awaitable[JSONObject]],
        pause_s: float = 1.0,
    ) -> None:
        """What is asked of others.

        `refresh(upstream)` fetches the catalogue, with at least `pause_s` seconds between two;
        `observe(run, upstream, method, params)` joins labels and says what may be passed on.
        """
        self._refresh = refresh
        self._observe = observe
        self._pause_s = pause_s
        self._listeners: set[Subscription] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._soon: dict[tuple[str, str], set[Subscription]] = {}
        self._announcing: set[asyncio.Task[None]] = set()
        self.dropped = 0

    async def close(self) -> None:
        """Stop."""
        tasks = [*self._tasks, *self._announcing]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def listen(self, run: str, listener: Listener) -> Subscription:
        """Hear the notices of a run, and those of the catalogue (list changes)."""
        subscription = Subscription(self, run, listener)
        self._listeners.add(subscription)
        return subscription

    def drop(self, subscription: Subscription) -> None:
        """See `Subscription.close`."""
        self._listeners.discard(subscription)

    def changed(self, upstream: str, kind: PinnedKind) -> None:
        """A list that clients see has changed here: pinned, unpinned, or found to be different.

        Told a moment later, and once for all that changes until then: operators pin many at once.
        """
        method = _OF_KIND.get(kind)
        if method is None or not self._listeners:
            return
        waiting = self._soon.get((upstream, method))
        if waiting is not None:
            waiting |= self._listeners
            return
        # Who listens only after the change has fetched, or will fetch, what is new already.
        self._soon[upstream, method] = set(self._listeners)
        asyncio.get_running_loop().call_later(SOON_S, self._announce, upstream, method)

    def _announce(self, upstream: str, method: str) -> None:
        targets = list(self._soon.pop((upstream, method)) & self._listeners)
        task = asyncio.ensure_future(self._tell(targets, upstream, method, {}))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    def handler(self, upstream: str) -> Callable[[str, str, JSONObject], None]:
        """What the upstream's adapter calls: synchronous, bounded, never blocks its reader."""
        lane = _Lane(MAX_WAITING)
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._pump(upstream, lane)))

        def notice(run: str, method: str, params: JSONObject) -> None:
            if method in LIST_CHANGED:
                params = {}  # a change is a fact; what an upstream writes beside it is not passed
            if lane.full() or len(json.encode(params)) > MAX_BYTES:
                self.dropped += 1
            else:
                lane.put_nowait((loop.time(), run, method, params))

        return notice

    async def _pump(self, upstream: str, lane: _Lane) -> None:
        loop = asyncio.get_running_loop()
        began = ended = -math.inf
        while True:
            arrived, run, method, params = await lane.get()
            try:
                if method not in LIST_CHANGED:
                    await self._pass_on(upstream, run, method, params)
                    continue
                if arrived >= began:  # else the last fetch has seen it
                    await asyncio.sleep(ended + self._pause_s - loop.time())
                    began = loop.time()
                    try:
                        await self._refresh(upstream)
                    finally:
                        ended = loop.time()
                await self._tell(list(self._listeners), upstream, method, params)
            except MidflightError as error:
                log.warning("notice_dropped", upstream=upstream, method=method, why=error.message)
            except Exception as error:  # noqa: BLE001 -- the lane must go on for the next
                why = type(error).__name__
                log.warning("notice_dropped", upstream=upstream, method=method, why=why)

    async def _pass_on(self, upstream: str, run: str, method: str, params: JSONObject) -> None:
        targets = [s for s in self._listeners if s.run == run]
        if targets:
            params = await self._observe(run, upstream, method, params)
            await self._tell(targets, upstream, method, params)

    async def _tell(
        self, targets: list[Subscription], upstream: str, method: str, params: JSONObject
    ) -> None:
        for subscription in targets:
            await subscription.listener(upstream, method, params)


__all__ = ["LIST_CHANGED", "MAX_BYTES", "MAX_WAITING", "Listener", "Notices", "Subscription"]
