"""The front for clients of 2025-03-26 to 2025-11-25: sessions, notices, answers by POST.

A dropped connection is not a cancellation in these versions (Transports §Sending Messages); the
client cancels with `notifications/cancelled`, or the run is revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from midflight.apps.gateway.endpoint import Answered, Endpoint
from midflight.apps.gateway.exchange import ending, finish, gone
from midflight.apps.gateway.notices import LIST_CHANGED, Listener, Notices
from midflight.apps.gateway.resumption import RESUMABLE_SINCE, Log, ResumableWriter, read_on
from midflight.apps.gateway.sessions import Session, Sessions
from midflight.apps.gateway.sinks import LegacySink, ResponseWriter
from midflight.apps.server.asgi import Receive, Send
from midflight.apps.server.respond import send_empty, send_sse_chunk, send_sse_end, send_sse_start
from midflight.domain.decision import Deny
from midflight.domain.errors import Conflict
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.services.listing import Listing, Seat
from midflight.services.ports.upstream import ClientRequest
from midflight.wire import jsonrpc, refusal, sse
from midflight.wire.jsonrpc import Notification, Request, Response
from midflight.wire.malformed import INVALID_REQUEST, MalformedMessage
from midflight.wire.mcp.versions import LEGACY, negotiate

SESSION_HEADER = b"mcp-session-id"
LAST_EVENT_HEADER = b"last-event-id"
VERSION_HEADER = b"mcp-protocol-version"
KEEP_ALIVE_S = 15.0

Headers = Mapping[bytes, Sequence[bytes]]


class LegacyFront:
    """Answers decoded messages of legacy clients."""

    def __init__(self, *, sessions: Sessions, notices: Notices, listing: Listing) -> None:
        """Shared by all endpoints."""
        self._sessions = sessions
        self._notices = notices
        self._listing = listing

    async def initialize(
        self, request: Request, caller: Caller, endpoint: Endpoint, *, send: Send
    ) -> None:
        """Open a session and answer `initialize`."""
        requested = request.params.get("protocolVersion")
        version = negotiate(requested if isinstance(requested, str) else "")
        writer = ResponseWriter(send)
        seat = await self._listing.seat(caller)
        if isinstance(seat, Deny):
            await finish(writer, request, Answered(error=refusal.as_error(seat, "")))
            return
        answered = Answered(result=await endpoint.initialize(version))
        session = self._sessions.open(
            caller=caller, endpoint=endpoint.path, version=version, params=request.params
        )
        writer.headers.append((SESSION_HEADER, session.id.encode("ascii")))
        await finish(writer, request, answered)

    def session(self, headers: Headers, caller: Caller, endpoint: Endpoint) -> Session:
        """The session that a request belongs to.

        Raises:
            Malformed: no session header, or a version that is not the session's.
            NotFound: no such session for this caller.
        """
        ids = headers.get(SESSION_HEADER, ())
        if len(ids) != 1:
            raise MalformedMessage(
                "The request names no session.",
                hint="Initialize first, or send the metadata of protocol version 2026-07-28.",
                rpc_code=INVALID_REQUEST,
            )
        session = self._sessions.find(
            ids[0].decode("latin-1"), caller=caller, endpoint=endpoint.path
        )
        versions = headers.get(VERSION_HEADER, ())
        if len(versions) > 1 or any(v.decode("latin-1") not in LEGACY for v in versions):
            raise MalformedMessage(
                "The MCP-Protocol-Version header is not a version of this session.",
                hint=f"This session speaks {session.version}.",
                rpc_code=INVALID_REQUEST,
            )
        return session

    async def message(
        self,
        message: Request | Notification | Response,
        session: Session,
        caller: Caller,
        endpoint: Endpoint,
        *,
        accepts_stream: bool,
        send: Send,
    ) -> None:
        """Take one message of a session."""
        if isinstance(message, Request):
            writer = self._writer(send, session, accepts_stream=accepts_stream)
            try:
                answered = await self._call(message, session, caller, endpoint, writer)
                await finish(writer, message, answered)
            finally:
                writer.close()
            return
        await self._tell(message, session, caller, endpoint)
        await send_empty(send, status=202)

    async def batch(
        self,
        messages: Sequence[Request | Notification | Response],
        session: Session,
        caller: Caller,
        endpoint: Endpoint,
        *,
        send: Send,
    ) -> None:
        """Take a batch (2025-03-26): each message in order, answers as events of one stream."""
        if session.version != "2025-03-26":
            raise MalformedMessage(f"Protocol version {session.version} has no batches.")
        requests = [m for m in messages if isinstance(m, Request)]
        writer = ResponseWriter(send)
        for message in messages:
            if not isinstance(message, Request):
                await self._tell(message, session, caller, endpoint)
        if not requests:
            await send_empty(send, status=202)
            return
        for request in requests[:-1]:
            answered = await self._call(request, session, caller, endpoint, writer, holds=False)
            await writer.event(_encoded(request, answered))
        last = requests[-1]
        answered = await self._call(last, session, caller, endpoint, writer, holds=False)
        await finish(writer, last, answered)

    async def stream(
        self,
        session: Session,
        caller: Caller,
        endpoint: Endpoint,
        *,
        headers: Headers,
        receive: Receive,
        send: Send,
    ) -> None:
        """A GET: the rest of a call's stream, or the session's own stream of notices."""
        seat = await self._listing.seat(caller)
        if isinstance(seat, Deny):
            await send_empty(send, status=403)
            return
        last = b"".join(headers.get(LAST_EVENT_HEADER, ())[:1]).decode("latin-1")
        found = self._sessions.kept.find(session.id, last) if last else None
        if found is not None:
            await self._resume(*found, session, seat, receive=receive, send=send)
        elif session.listening:
            await send_empty(send, status=409)
        else:
            await self._listen(session, seat, endpoint, receive=receive, send=send)

    async def _resume(
        self, log: Log, position: int, session: Session, seat: Seat, *, receive: Receive, send: Send
    ) -> None:
        """What a call had to say since its client was last heard, until it has ended."""
        ended, end = ending()
        stream = self._listing.stream(seat, name="resume", ended=end)
        watch = asyncio.ensure_future(gone(receive))
        closed = asyncio.ensure_future(_until(session.closed))
        try:
            await send_sse_start(send)
            await read_on(
                log,
                position,
                send,
                until={watch, closed, ended},
                is_denied=lambda: stream.is_denied,
            )
            await send_sse_end(send)
        finally:
            stream.close()
            watch.cancel()
            closed.cancel()

    async def _listen(
        self, session: Session, seat: Seat, endpoint: Endpoint, *, receive: Receive, send: Send
    ) -> None:
        """The session's own stream: notices of its upstreams until somebody ends it."""
        ended, end = ending()
        stream = self._listing.stream(seat, name="notices", ended=end)
        session.listening = True
        subscription = self._notices.listen(seat.run.id, _listener(session, endpoint))
        watch = asyncio.ensure_future(gone(receive))
        closed = asyncio.ensure_future(_until(session.closed))
        try:
            await send_sse_start(send)
            while not (watch.done() or closed.done() or ended.done()):
                getting = asyncio.ensure_future(session.next_notice())
                try:
                    done, _ = await asyncio.wait(
                        {getting, watch, closed, ended},
                        timeout=KEEP_ALIVE_S,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                finally:
                    getting.cancel()
                # What was queued in the turn of the denial is not told, either.
                if not stream.is_denied and getting in done:
                    await send_sse_chunk(send, sse.encode(getting.result()))
                elif not done:
                    await send_sse_chunk(send, sse.COMMENT)
            await send_sse_end(send)
        finally:
            session.listening = False
            subscription.close()
            stream.close()
            watch.cancel()
            closed.cancel()

    def end(self, session: Session) -> None:
        """DELETE: the client ends its session."""
        self._sessions.end(session)

    # Inside

    def _writer(self, send: Send, session: Session, *, accepts_stream: bool) -> ResponseWriter:
        if accepts_stream and session.version >= RESUMABLE_SINCE:
            kept = self._sessions.kept
            return ResumableWriter(send, lambda: kept.open(session.id, session.workload))
        return ResponseWriter(send, accepts_stream=accepts_stream)

    async def _call(
        self,
        request: Request,
        session: Session,
        caller: Caller,
        endpoint: Endpoint,
        writer: ResponseWriter,
        *,
        holds: bool = True,
    ) -> Answered:
        if request.method == "ping":
            return Answered(result={})
        if request.method == "initialize":
            return Answered(error={"code": INVALID_REQUEST, "message": "Already initialized."})
        if str(request.id) in session.calls:
            return Answered(
                error={"code": INVALID_REQUEST, "message": "That request id is in use."}
            )
        task = asyncio.get_running_loop().create_task(
            endpoint.answer(
                request,
                caller,
                sink=LegacySink(session, writer, holds=holds),
                modern=False,
                client_info=session.client_info,
            )
        )
        session.calls[str(request.id)] = _canceller(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled():
                task.cancel()
                raise
            return Answered(error={"code": -32800, "message": "The request was cancelled."})
        finally:
            session.calls.pop(str(request.id), None)

    async def _tell(
        self,
        message: Notification | Response,
        session: Session,
        caller: Caller,
        endpoint: Endpoint,
    ) -> None:
        if isinstance(message, Response):
            # The question's caller is judged with the answer; whoever brings it must stand, too.
            if not isinstance(await self._listing.seat(caller), Deny):
                session.answer(message.id, message.result)
            return
        match message.method:
            case "notifications/initialized":
                session.initialized = True
            case "notifications/cancelled":
                cancel = session.calls.get(str(message.params.get("requestId")))
                if cancel is not None:
                    cancel()
            case _:
                await endpoint.notify(message, caller, sink=_Silent(session.capabilities))


class _Silent:
    """Where what follows from a notification goes: nowhere."""

    takes_input_required = False

    def __init__(self, capabilities: JSONObject) -> None:
        self.capabilities = capabilities

    async def notify(self, method: str, params: JSONObject) -> None:
        """Drop it."""

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Answer nothing."""
        raise Conflict(f"A notification answers no {request.method}.")


async def _until(event: asyncio.Event) -> None:
    await event.wait()


def _canceller(task: asyncio.Task[Answered]) -> Callable[[], None]:
    def cancel() -> None:
        task.cancel()

    return cancel


def _listener(session: Session, endpoint: Endpoint) -> Listener:
    async def heard(upstream: str, method: str, params: JSONObject) -> None:
        if endpoint.covers(upstream) and (
            method in LIST_CHANGED or method.startswith("notifications/")
        ):
            session.notice(jsonrpc.encode_notification(method, params))

    return heard


def _encoded(request: Request, answered: Answered) -> bytes:
    if answered.error is not None:
        return jsonrpc.encode_error(
            request.id,
            code=answered.error["code"],
            message=answered.error["message"],
            data=answered.error.get("data"),
        )
    return jsonrpc.encode_result(request.id, answered.result or {})


__all__ = ["LegacyFront"]
