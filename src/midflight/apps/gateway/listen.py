"""Long-lived listening: `subscriptions/listen` of modern clients.

List changes come from the catalogue (which has looked at what changed before anybody hears of
it); updates of resources are subscriptions at the upstream, each judged as an action.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from midflight.apps.gateway.endpoint import Answered, Endpoint
from midflight.apps.gateway.exchange import ending, finish, gone
from midflight.apps.gateway.notices import LIST_CHANGED, Notices
from midflight.apps.gateway.sinks import ModernSink
from midflight.apps.server.asgi import Receive
from midflight.domain.decision import Deny
from midflight.domain.errors import Conflict
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.services.listing import Listing, Stream
from midflight.services.ports.upstream import ClientRequest
from midflight.wire import json, jsonrpc, refusal
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp import translate
from midflight.wire.mcp.meta import SUBSCRIPTION_ID

ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
UPDATED = "notifications/resources/updated"
MAX_URIS = 100
MAX_BACKLOG = 256

Queue = asyncio.Queue[tuple[str, JSONObject]]

_FILTERS = {
    "toolsListChanged": "tools",
    "promptsListChanged": "prompts",
    "resourcesListChanged": "resources",
}


class Listens:
    """Serves listening streams of modern clients."""

    def __init__(self, notices: Notices, listing: Listing) -> None:
        """`notices` brings what upstreams say; `listing` knows whether the run is open."""
        self._notices = notices
        self._listing = listing

    async def serve(
        self,
        request: Request,
        caller: Caller,
        endpoint: Endpoint,
        *,
        sink: ModernSink,
        receive: Receive,
    ) -> None:
        """Acknowledge what is honoured, then pass notices on until somebody ends it."""
        seat = await self._listing.seat(caller)
        if isinstance(seat, Deny):
            await finish(sink.writer, request, Answered(error=refusal.as_error(seat, "")))
            return
        lists, uris = _wanted(request)
        queue: Queue = asyncio.Queue(MAX_BACKLOG)

        async def heard(upstream: str, method: str, params: JSONObject) -> None:
            if not endpoint.covers(upstream) or queue.full():
                return
            if LIST_CHANGED.get(method) in lists or (
                method == UPDATED and params.get("uri") in uris
            ):
                queue.put_nowait((method, params))

        ended, end = ending()
        stream = self._listing.stream(seat, name=request.method, ended=end)
        subscription = self._notices.listen(seat.run.id, heard)
        subscribed = _Subscribed(sink, queue)
        watch = asyncio.ensure_future(gone(receive))
        try:
            honoured: JSONObject = {name: True for name, area in _FILTERS.items() if area in lists}
            if uris:
                uris = await subscribed.open(request, caller, endpoint, uris)
            if uris:
                honoured["resourceSubscriptions"] = uris
            await self._tell(sink, request, ACKNOWLEDGED, {"notifications": honoured})
            result: JSONObject = {"resultType": "complete", "_meta": {SUBSCRIPTION_ID: request.id}}
            last = jsonrpc.encode_result(request.id, result)
            stream.tell_with(lambda: sink.writer.finish_at_once(last))
            await self._pump(sink, request, queue, stream=stream, until={watch, ended})
            if ended.done():
                await sink.writer.finish(last)
        finally:
            stream.close()
            subscription.close()
            watch.cancel()
            await subscribed.close()

    async def _pump(
        self,
        sink: ModernSink,
        request: Request,
        queue: Queue,
        *,
        stream: Stream,
        until: set[asyncio.Future[None]],
    ) -> None:
        while not any(task.done() for task in until):
            getting = asyncio.ensure_future(queue.get())
            try:
                await asyncio.wait({getting, *until}, return_when=asyncio.FIRST_COMPLETED)
                # What was queued in the turn of a denial is not told either.
                if getting.done() and not stream.is_denied:
                    await self._tell(sink, request, *getting.result())
            finally:
                getting.cancel()

    async def _tell(
        self, sink: ModernSink, request: Request, method: str, params: JSONObject
    ) -> None:
        await sink.notify(method, translate.tagged(params, request.id))


class _Subscribed:
    """The subscriptions at the upstreams behind one stream, each an action that was judged."""

    def __init__(self, sink: ModernSink, queue: Queue) -> None:
        self.capabilities = sink.capabilities
        self.takes_input_required = False
        self._queue = queue
        self._tasks: list[asyncio.Task[Answered]] = []
        self._acknowledged = asyncio.Event()

    async def open(
        self, request: Request, caller: Caller, endpoint: Endpoint, uris: list[str]
    ) -> list[str]:
        """Subscribe to each; those that were taken."""
        taken: list[str] = []
        for uri in uris:
            self._acknowledged.clear()
            task = asyncio.get_running_loop().create_task(
                endpoint.subscribe(request, caller, uri, sink=self)
            )
            self._tasks.append(task)
            waiting = asyncio.ensure_future(self._acknowledged.wait())
            try:
                await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                waiting.cancel()
            if not task.done() or task.result().error is None:
                taken.append(uri)
        return taken

    async def notify(self, method: str, params: JSONObject) -> None:
        """What a modern upstream says on its own listening stream."""
        if method == ACKNOWLEDGED:
            self._acknowledged.set()
        elif method == UPDATED:
            await self._queue.put((method, params))

    async def ask(self, request: ClientRequest) -> JSONObject:
        """A subscription asks nothing."""
        raise Conflict(f"A subscription asks nothing ({request.method}).")

    async def close(self) -> None:
        """Give the subscriptions up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _wanted(request: Request) -> tuple[set[str], list[str]]:
    wanted = json.as_object(request.params.get("notifications")) or {}
    lists = {area for name, area in _FILTERS.items() if wanted.get(name) is True}
    uris: Any = wanted.get("resourceSubscriptions")
    listed = cast("list[Any]", uris) if type(uris) is list else []
    chosen = [uri for uri in listed if isinstance(uri, str)]
    return lists, chosen[:MAX_URIS]


__all__ = ["Listens"]
