"""Where an action's notifications and questions go on the client's side, one class a generation.

A response begins as nothing: if the first thing that happens is the final answer it becomes one
JSON document, otherwise an event stream that the final answer ends. `ResponseWriter` owns that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from midflight.apps.server.asgi import Send
from midflight.apps.server.at_once import AtOnce
from midflight.apps.server.respond import send_json, send_sse_chunk, send_sse_end, send_sse_start
from midflight.domain.errors import Conflict
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import ClientRequest
from midflight.wire import jsonrpc, sse
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp import meta

if TYPE_CHECKING:
    from midflight.apps.gateway.sessions import Session

LOGGED = "notifications/message"
ASK_DEADLINE_S = 600.0
"""How long a client may take to answer a question of an upstream."""


class ResponseWriter:
    """One HTTP response to one JSON-RPC request."""

    def __init__(
        self,
        send: Send,
        *,
        accepts_stream: bool = True,
        at_once: AtOnce | None = None,
        request: Request | None = None,
    ) -> None:
        """`accepts_stream` is whether the client's Accept header lists event streams.

        `at_once` ends the response where nothing need be waited for, with the id of `request`: a
        held call is answered in the response to its last retry, not to what began it.
        """
        self.request = request
        self._send = send
        self._at_once = at_once
        self._accepts_stream = accepts_stream
        self._streaming = False
        self._saying = 0
        self._over = False
        self._told = False
        self.headers: list[tuple[bytes, bytes]] = []

    async def event(self, message: bytes) -> None:
        """Send a message before the final one; dropped if the client takes no stream.

        Also dropped behind the final one: an upstream may go on talking while its question waits
        for the retry that brings the answer (`held.py`).
        """
        if not self._accepts_stream or self._over:
            return
        await self._say(sse.encode(message))

    async def keep_alive(self) -> None:
        """Say nothing, so that whoever is between does not take the client for gone."""
        if not self._accepts_stream or self._over:
            return
        await self._say(sse.COMMENT)

    @property
    def streams(self) -> bool:
        """Whether the client takes messages before the final one."""
        return self._accepts_stream

    def close(self) -> None:
        """Whatever has happened, nothing more will be written."""

    async def _say(self, piece: bytes) -> None:
        self._saying += 1
        try:
            if not self._streaming:
                await self._start()
            await send_sse_chunk(self._send, piece)
        finally:
            self._saying -= 1

    async def _start(self) -> None:
        self._streaming = True
        await send_sse_start(self._send, headers=self.headers)

    def finish_at_once(self, message: bytes, *, status: int = 200) -> bool:
        """Send the final message now, if nobody need be waited for; `finish` then does nothing.

        For what ends a response from beside: the task that serves it still has to find out.
        """
        # What waits for a slow reader would come behind the end.
        if self._over or self._at_once is None or self.headers or self._saying:
            return False
        if self._streaming:
            self._told = self._at_once.end(sse.encode(message))
        else:
            self._told = self._at_once.answer(message, status=status)
        self._over = self._told
        return self._told

    async def finish(self, message: bytes, *, status: int = 200) -> None:
        """Send the final message and end the response."""
        if self._told or self.finish_at_once(message, status=status):
            return
        self._over = True
        if self._streaming:
            await send_sse_end(self._send, sse.encode(message))
        else:
            await send_json(self._send, message, status=status, headers=self.headers)


class ModernSink:
    """A client of 2026-07-28: questions become an `input_required` result (see `held.py`)."""

    takes_input_required = True

    def __init__(
        self, writer: ResponseWriter, capabilities: JSONObject, *, level: str | None = None
    ) -> None:
        """`capabilities` and the log level wanted (None: no logs) are those of this one request."""
        self.writer = writer
        self.capabilities = capabilities
        self._level = level
        self.questions: dict[str, tuple[ClientRequest, asyncio.Future[JSONObject]]] = {}
        self.asked = asyncio.Event()

    async def notify(self, method: str, params: JSONObject) -> None:
        """Pass it on the response stream. Logs pass as far as the request wants them.

        A legacy upstream logs by the level of its session, which says nothing about this request.
        """
        if method == LOGGED and not meta.level_reached(params.get("level"), self._level):
            return
        await self.writer.event(jsonrpc.encode_notification(method, params))

    async def keep_alive(self) -> None:
        """Show the client that its request is still looked after."""
        await self.writer.keep_alive()

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Wait until a retry of the request brings the answer."""
        future: asyncio.Future[JSONObject] = asyncio.get_running_loop().create_future()
        self.questions[request.key] = (request, future)
        self.asked.set()
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                return _answer(await future)
        except TimeoutError:
            raise Conflict("The client did not answer in time.") from None
        finally:
            self.questions.pop(request.key, None)


class LegacySink:
    """A client with a session: questions are requests on the stream of the call they belong to."""

    takes_input_required = False

    def __init__(self, session: Session, writer: ResponseWriter, *, holds: bool = True) -> None:
        """`writer` is the response to the call, which `holds` until a person has answered, or not.

        A call of a batch does not: all that stand behind it would wait as well.
        """
        self.holds = holds
        self.session = session
        self._writer = writer
        self.capabilities = session.capabilities

    async def notify(self, method: str, params: JSONObject) -> None:
        """Pass it on the response stream."""
        await self._writer.event(jsonrpc.encode_notification(method, params))

    async def keep_alive(self) -> None:
        """Show the client that its call is still looked after."""
        await self._writer.keep_alive()

    @property
    def streams(self) -> bool:
        """Whether the client can be asked in the middle of this call."""
        return self._writer.streams

    async def show(self, method: str, params: JSONObject) -> Callable[[], None]:
        """Ask something whose answer means nothing here; what is returned forgets the question."""
        request_id, future = self.session.question()
        future.add_done_callback(_unheeded)
        await self._writer.event(jsonrpc.encode_request(request_id, method, params))

        def forget() -> None:
            self.session.answered(request_id)

        return forget

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Ask on the response stream; the answer comes by a POST of its own."""
        request_id, future = self.session.question()
        await self._writer.event(jsonrpc.encode_request(request_id, request.method, request.params))
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                return _answer(await future)
        except TimeoutError:
            raise Conflict("The client did not answer in time.") from None
        finally:
            self.session.answered(request_id)


def _unheeded(future: asyncio.Future[JSONObject]) -> None:
    if not future.cancelled():
        future.exception()  # an error is an answer as well, and means as little


def _answer(result: JSONObject) -> JSONObject:
    """A client's answer with the part of its `_meta` that passes."""
    if "_meta" not in result:
        return result
    return {**result, "_meta": meta.passed(result["_meta"])}


__all__ = ["ASK_DEADLINE_S", "LegacySink", "ModernSink", "ResponseWriter"]
