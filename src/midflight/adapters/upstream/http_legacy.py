"""A session of the legacy generation over Streamable HTTP: opened, listened to, resumed, ended.

One belongs to one run and one set of client capabilities, so nothing of one run ever reaches
another. Source: MCP 2025-11-25, Transports. Above stand `mcp_http` and `session`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import re

from midflight.adapters.upstream import http_reply
from midflight.adapters.upstream.handshake import initialize_params, initialized
from midflight.adapters.upstream.http_client import (
    OPEN_GATE,
    BesideGate,
    Gate,
    HttpClient,
    HttpLimits,
    HttpResponse,
    header_line,
    header_lines,
)
from midflight.adapters.upstream.once import Once
from midflight.adapters.upstream.passage import Passage
from midflight.adapters.upstream.session import LIST_CHANGES, Conversation
from midflight.domain.action import ActionKind
from midflight.domain.errors import (
    Malformed,
    MidflightError,
    Unavailable,
    UpstreamBroken,
    UpstreamUnavailable,
)
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.upstream import RunSeat, ServerInfo
from midflight.wire.jsonrpc import (
    Message,
    Notification,
    Request,
    Response,
    encode_error,
    encode_notification,
    encode_request,
    encode_result,
)
from midflight.wire.malformed import METHOD_NOT_FOUND
from midflight.wire.mcp.headers import for_upstream
from midflight.wire.mcp.versions import LEGACY

# 2025-11-25 §Session Management: visible ASCII. The length is ours.
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
_MAX_RESUMES = 10
_DEFAULT_RETRY_MS = 1000
_MAX_BACKOFF = 60.0
_LEAST_WAIT = 0.05
_TELL_SECONDS = 5.0
_OK = 200
_NOT_FOUND = 404
# The one version in which several messages may come in one document.
_BATCHES = "2025-03-26"
_ASKS_ONLY = frozenset(
    {ActionKind.LIST, ActionKind.READ_RESOURCE, ActionKind.GET_PROMPT, ActionKind.COMPLETE}
)


class LegacySession:
    """See the module. A `Link` once it is open."""

    def __init__(
        self,
        client: HttpClient,
        seat: RunSeat,
        *,
        peer: str,
        conversation: Conversation,
        limits: HttpLimits,
        backoff: float,
    ) -> None:
        self._client = client
        self._seat = seat
        self._peer = peer
        self._conversation = conversation
        self._limits = limits
        self._backoff = backoff
        self._ids = itertools.count(1)
        self._opening: Once[_Opened] = Once(self._initialize)
        self._passages: dict[int, Passage] = {}
        self._listening: asyncio.Task[None] | None = None
        self._times_opened = 0
        self._info = ServerInfo(modern=False, version=LEGACY[0], capabilities={}, info={})
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether the upstream knows it, as far as is known here."""
        return self._opening.value is not None

    @property
    def alive(self) -> bool:
        """Whether the run still has it. It may have to be opened again with the upstream."""
        return not self._closed

    @property
    def info(self) -> ServerInfo:
        """What the upstream said when it was opened last."""
        return self._info

    async def open(self) -> None:
        """Open it if it is not. `UpstreamUnavailable` if that fails: nothing of an action left."""
        if self._opening.value is None:
            if self._closed:
                raise UpstreamUnavailable(f"The session with upstream {self._peer} is over.")
            try:
                await self._opening.get()
            except UpstreamBroken as error:
                raise UpstreamUnavailable(
                    error.message, hint="It was being reached; nothing of the action has left."
                ) from None

    async def close(self) -> None:
        """End it here, and tell the upstream beside the path."""
        self._closed = True
        await self._opening.cancel()
        if self._listening is not None:
            self._listening.cancel()
        opened = self._opening.value
        self._opening.forget()
        for passage in list(self._passages.values()):
            passage.fail(passage.broken("was left: the run is over"), "the run is over")
        if opened is not None and opened.has_id:

            async def delete() -> None:
                async with asyncio.timeout(_TELL_SECONDS):
                    response = await self._client.send(
                        b"DELETE", opened.headers, b"", gate=OPEN_GATE
                    )
                    response.close()

            self._conversation.beside(delete)

    async def exchange(self, passage: Passage, method: str, params: JSONObject) -> Response:
        """One POST and what follows it: its stream, resumed where it broke, and its response."""
        opened = await self._opening.get()
        try:
            return await self._exchange(opened, passage, method, params)
        except _SessionGone:
            # It was not looked at, only refused (§Session Management, 4): begin again, once.
            if self._opening.value is opened:
                self._opening.forget()
            await self.open()
            passage.check()
            again = await self._opening.get()
            try:
                return await self._exchange(again, passage, method, params)
            except _SessionGone:
                raise http_reply.refused(_NOT_FOUND, peer=self._peer) from None

    async def notify(self, passage: Passage, method: str, params: JSONObject) -> None:
        """Send one notification of the client."""
        opened = await self._opening.get()
        await self._post(opened, encode_notification(method, params), gate=passage)

    # Inside

    async def _exchange(
        self, opened: _Opened, passage: Passage, method: str, params: JSONObject
    ) -> Response:
        request_id = next(self._ids)
        params = passage.addressed(params, request_id)
        before = passage.bytes_out
        stream = _Stream()

        def abandon(reason: str) -> None:
            stream.close()
            if passage.bytes_out > before:
                self._cancel(opened, request_id, reason)

        passage.abandon = abandon
        self._passages[request_id] = passage
        try:
            stream.response = await self._client.send(
                b"POST",
                opened.headers,
                encode_request(request_id, method, params),
                gate=passage,
                replay=passage.action.kind in _ASKS_ONLY,
            )
            if stream.response.status == _NOT_FOUND and opened.has_id:
                passage.abandon = None
                raise _SessionGone
            final = await self._read(stream, passage, opened)
            passage.abandon = None
            return final
        finally:
            del self._passages[request_id]
            stream.close()

    async def _read(self, stream: _Stream, passage: Passage, opened: _Opened) -> Response:
        response = stream.response
        assert response is not None
        if not 200 <= response.status < 300:
            return await http_reply.refusal(response, passage, peer=self._peer)
        batches = opened.info.version == _BATCHES
        kind = http_reply.content_type(response)
        if kind == http_reply.JSON:
            return await http_reply.read_json(response, passage, batches=batches)
        if kind != http_reply.EVENTS:
            raise passage.broken("answered with neither JSON nor an event stream")

        async def answer(body: bytes) -> None:
            await self._post(opened, body, gate=BesideGate(passage))

        cursor = http_reply.Cursor()
        barren = 0
        while True:
            seen = cursor.events
            final = await http_reply.read_events(
                response,
                passage,
                functools.partial(passage.take, answer),
                cursor,
                max_event=self._limits.body,
                batches=batches,
            )
            if final is not None:
                return final
            stream.close()
            barren = barren + 1 if cursor.events == seen else 0
            if cursor.event_id is None or barren >= _MAX_RESUMES:
                raise passage.broken("ended its stream without an answer")
            response = stream.response = await self._resume(passage, opened, cursor)

    async def _resume(
        self, passage: Passage, opened: _Opened, cursor: http_reply.Cursor
    ) -> HttpResponse:
        """Open the stream again where it broke, when the upstream wants (§Resumability)."""
        retry = _DEFAULT_RETRY_MS if cursor.retry is None else cursor.retry
        await asyncio.sleep(retry / 1000)
        response = await self._client.send(
            b"GET",
            opened.headers + self._last_event(cursor, passage),
            b"",
            gate=passage,
            replay=True,
        )
        if response.status != _OK or http_reply.content_type(response) != http_reply.EVENTS:
            response.close()
            raise passage.broken("ended its stream and did not resume it")
        return response

    def _last_event(self, cursor: http_reply.Cursor, passage: Passage) -> bytes:
        try:
            return header_line("last-event-id", cursor.event_id or "")
        except ValueError:
            raise passage.broken("gave its events ids that cannot be sent back") from None

    async def _post(self, opened: _Opened, body: bytes, *, gate: Gate) -> None:
        """A message that is owed no answer."""
        response = await self._client.send(b"POST", opened.headers, body, gate=gate)
        try:
            if not 200 <= response.status < 300:
                raise http_reply.refused(response.status, peer=self._peer)
            await response.read()
        finally:
            response.close()

    def _cancel(self, opened: _Opened, request_id: int, reason: str) -> None:
        """Tell the upstream beside the path that nobody waits any more."""
        told = {"requestId": request_id, "reason": reason}
        body = encode_notification("notifications/cancelled", told)

        async def cancel() -> None:
            async with asyncio.timeout(_TELL_SECONDS):
                await self._post(opened, body, gate=OPEN_GATE)

        self._conversation.beside(cancel)

    async def _initialize(self) -> _Opened:
        with self._conversation.own_passage("initialize", seat=self._seat) as passage:
            params = initialize_params(self._seat)
            opened = _Opened(info=self._info)
            passage.addressed(params, next(self._ids))
            stream = _Stream()
            try:
                stream.response = await self._client.send(
                    b"POST",
                    b"",
                    encode_request(passage.request_id, "initialize", params),
                    gate=passage,
                    replay=True,
                )
                session_id = stream.response.header(b"mcp-session-id")
                if session_id and _SESSION_ID.fullmatch(session_id) is None:
                    raise passage.broken("gave a session id that is not visible ASCII")
                response = await self._read(stream, passage, opened)
            finally:
                stream.close()
            info = self._info = initialized(response, peer=self._peer)
            lines = for_upstream("initialize", params, info.version, None)
            if session_id:
                lines.append(("mcp-session-id", session_id))
            opened = _Opened(
                info=info,
                headers=header_lines(lines, upstream=self._peer),
                has_id=bool(session_id),
            )
            await self._post(
                opened, encode_notification("notifications/initialized", {}), gate=passage
            )
        self._begin(opened)
        return opened

    def _begin(self, opened: _Opened) -> None:
        self._conversation.forget_level(self._seat.run)
        if self._times_opened:
            # The old session's notices are lost: everything counts as changed.
            for method in LIST_CHANGES.values():
                self._conversation.notice(self._seat.run, method, {})
            self._conversation.opened(self, run=self._seat.run)
        self._times_opened += 1
        if self._listening is not None:
            self._listening.cancel()
        self._listening = asyncio.get_running_loop().create_task(self._listen(opened))

    async def _listen(self, opened: _Opened) -> None:
        """The standalone stream: notices, and requests that belong to no stream of a call."""
        cursor = http_reply.Cursor()
        backoff = self._backoff
        while True:
            seen = cursor.events
            try:
                if not await self._listen_once(opened, cursor):
                    return
            except (Unavailable, Malformed):
                pass
            backoff = self._backoff if cursor.events > seen else min(backoff * 2, _MAX_BACKOFF)
            retry = backoff if cursor.retry is None else cursor.retry / 1000
            await asyncio.sleep(max(retry, _LEAST_WAIT))

    async def _listen_once(self, opened: _Opened, cursor: http_reply.Cursor) -> bool:
        """Listen until the stream ends. False if the upstream offers none (405, most often)."""
        stream = _Stream()
        with self._conversation.own_passage("listen", seat=self._seat, endless=True) as passage:
            try:
                headers = opened.headers
                if cursor.event_id is not None:
                    headers += self._last_event(cursor, passage)
                response = await self._client.send(b"GET", headers, b"", gate=passage)
                stream.response = response
                kind = http_reply.content_type(response)
                if response.status != _OK or kind != http_reply.EVENTS:
                    return False
                await http_reply.read_events(
                    response,
                    passage,
                    functools.partial(self._route, opened),
                    cursor,
                    max_event=self._limits.body,
                    batches=opened.info.version == _BATCHES,
                )
            finally:
                stream.close()
        return True

    async def _route(self, opened: _Opened, message: Message) -> None:
        """A message of the standalone stream. Answers have no place there and are dropped."""
        match message:
            case Notification():
                passage = self._of_token(message)
                if passage is None:
                    self._conversation.notice(self._seat.run, message.method, message.params)
                    return
                # What goes wrong in there is that call's own business.
                with contextlib.suppress(MidflightError):
                    await passage.heed(message)
            case Request(method="ping"):
                body = encode_result(message.id, {})
                self._conversation.beside(lambda: self._post(opened, body, gate=OPEN_GATE))
            case Request():
                if not self._passages:
                    text = "Nobody is there to be asked."
                    body = encode_error(message.id, code=METHOD_NOT_FOUND, message=text)
                    self._conversation.beside(lambda: self._post(opened, body, gate=OPEN_GATE))
                    return
                newest = next(reversed(self._passages.values()))
                beside = BesideGate(newest)
                newest.question(message, lambda body: self._post(opened, body, gate=beside))
            case Response():
                pass

    def _of_token(self, message: Notification) -> Passage | None:
        if message.method != "notifications/progress":
            return None
        token = message.params.get("progressToken")
        return self._passages.get(token) if type(token) is int else None


class _Opened(Value):
    """An open session: what every further request of it carries."""

    info: ServerInfo
    headers: bytes = b""
    has_id: bool = False

    def __repr__(self) -> str:
        return "_Opened()"


class _Stream:
    """The response that a call reads at the moment."""

    __slots__ = ("response",)

    def __init__(self) -> None:
        self.response: HttpResponse | None = None

    def close(self) -> None:
        """Close it, if there is one."""
        if self.response is not None:
            self.response.close()


class _SessionGone(Exception):
    """The upstream does not know the session any more."""


__all__ = ["LegacySession"]
