"""The legacy generation over HTTP, against a server whose every message the test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from upstream_kit import (
    ABLE,
    SEAT,
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    listening,
    raw_server,
    read_request,
    response,
)

from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.passage import CallTimeouts
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, UpstreamBroken
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import CATALOGUE_SEAT, ClientRequest, RunSeat

pytestmark = pytest.mark.anyio

STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
OK = {"content": [{"type": "text", "text": "fine"}]}
Say = Callable[[bytes], Awaitable[None]]


def event(message: JSONObject | str, event_id: str = "") -> bytes:
    data = message if isinstance(message, str) else json.dumps(message)
    return (f"id: {event_id}\n" if event_id else "").encode() + f"data: {data}\n\n".encode()


def result(request_id: Any, value: JSONObject | None = None) -> JSONObject:
    return {"jsonrpc": "2.0", "id": request_id, "result": OK if value is None else value}


def note(method: str, params: JSONObject) -> JSONObject:
    return {"jsonrpc": "2.0", "method": method, "params": params}


class LegacyServer:
    """Sessions, a standalone stream, and `on_call(message, say)` for every other request."""

    def __init__(self) -> None:
        self.capabilities: JSONObject = {"resources": {"subscribe": True}, "logging": {}}
        self.version = "2025-11-25"
        self.sessions: list[str] = []
        self.opened: list[JSONObject] = []
        self.ended: list[str] = []
        self.got: list[tuple[str, JSONObject]] = []
        self.headers: list[dict[str, str]] = []
        self.streams: dict[str, asyncio.Queue[bytes]] = {}
        self.offers_stream = True
        self.resumed: list[str] = []
        self.on_call: Callable[[JSONObject, Say], Awaitable[None]] = self._fine
        self.on_resume: Callable[[str, Say], Awaitable[None]] | None = None
        self._changed = asyncio.Event()

    async def _fine(self, message: JSONObject, say: Say) -> None:
        await say(response(json.dumps(result(message["id"])).encode()))

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def of(self, method: str) -> list[JSONObject]:
        return [message for _, message in self.got if message.get("method") == method]

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(data: bytes) -> None:
            writer.write(data)
            await writer.drain()

        while True:
            line, headers, body = await read_request(reader)
            self.headers.append(headers)
            session = headers.get("mcp-session-id", "")
            try:
                if await self._serve(line.partition(" ")[0], session, headers, body, say):
                    return
            finally:
                self._changed.set()

    async def _serve(
        self, verb: str, session: str, headers: dict[str, str], body: bytes, say: Say
    ) -> bool:
        if session and session not in self.sessions:
            await say(response(b"", "404 Not Found"))
            return False
        if verb == "DELETE":
            self.ended.append(session)
            await say(response(b""))
            return False
        if verb == "GET":
            return await self._stream(session, headers, say)
        message = json.loads(body)
        method = message.get("method")
        self.got.append((session, message))
        self._changed.set()
        if method == "server/discover":
            await say(response(b"", "400 Bad Request"))
        elif method == "initialize":
            self.opened.append(message["params"])
            self.sessions.append(f"session-{len(self.sessions) + 1}")
            said = {
                "protocolVersion": self.version,
                "capabilities": self.capabilities,
                "serverInfo": {"name": "legacy", "version": "1"},
            }
            extra = f"mcp-session-id: {self.sessions[-1]}\r\n"
            await say(response(json.dumps(result(message["id"], said)).encode(), extra=extra))
        elif method is None or method.startswith("notifications/"):
            await say(response(b"", "202 Accepted"))
        else:
            await self.on_call(message, say)
            return headers.get("x-close") == "1" or self._closes
        return False

    _closes = False

    async def _stream(self, session: str, headers: dict[str, str], say: Say) -> bool:
        last = headers.get("last-event-id")
        if last is not None and self.on_resume is not None:
            self.resumed.append(last)
            await say(STREAM)
            await self.on_resume(last, say)
            return True
        if not self.offers_stream:
            await say(response(b"", "405 Method Not Allowed"))
            return False
        queue = self.streams[session] = asyncio.Queue()
        self._changed.set()
        await say(STREAM)
        while True:
            await say(await queue.get())


@contextlib.asynccontextmanager
async def _legacy(**more: Any) -> AsyncIterator[tuple[LegacyServer, McpHttpUpstream, Notices]]:
    server = LegacyServer()
    async with raw_server(server) as url:
        upstream = McpHttpUpstream("legacy", url, backoff=0.01, **more)
        notices = Notices()
        await upstream.start(notices)
        async with asyncio.timeout(30):
            yield server, upstream, notices
        await upstream.close()


async def _call(upstream: McpHttpUpstream, name: str = "x", **more: Any) -> Any:
    seat = more.pop("seat", SEAT)
    reply = await upstream.call(
        call_tool(name),
        seat=seat,
        flight=more.pop("flight", FakeFlight()),
        sink=more.pop("sink", RecordingSink(seat.capabilities)),
    )
    return reply.result


def _session_of(server: LegacyServer, upstream: McpHttpUpstream, seat: RunSeat) -> str:
    (session,) = upstream._sessions[seat.run].values()
    opened = session._opening.value
    assert opened is not None
    return next(s for s in server.sessions if s.encode() in opened.headers)


async def test_each_run_and_each_set_of_capabilities_gets_a_session_of_its_own() -> None:
    async with _legacy() as (server, upstream, _):
        other = RunSeat(run="run_two", workload=SEAT.workload, client_info={"name": "c"})
        for seat in (SEAT, other, ABLE, SEAT):
            assert await _call(upstream, seat=seat) == OK
        # The catalogue's, opened by finding out what it speaks, and three of the runs.
        assert len(server.sessions) == 4
        used = [s for s, m in server.got if m.get("method") == "tools/call"]
        assert len(set(used)) == 3
        assert used[0] == used[3]
        # The catalogue's session is opened with all that any client may be able to do.
        every = CATALOGUE_SEAT.capabilities
        assert [o["capabilities"] for o in server.opened] == [every, {}, {}, ABLE.capabilities]
        assert server.opened[2]["clientInfo"] == {"name": "c"}
        assert len(server.of("notifications/initialized")) == 4
        calls = [h for h in server.headers if "mcp-session-id" in h]
        assert {h["mcp-protocol-version"] for h in calls} == {"2025-11-25"}


async def test_the_end_of_a_run_ends_its_sessions_at_the_upstream() -> None:
    async with _legacy() as (server, upstream, _):
        await _call(upstream)
        mine = _session_of(server, upstream, SEAT)
        await upstream.end_run(SEAT.run)
        await server.until(lambda: server.ended)
        assert server.ended == [mine]


async def test_a_session_that_the_upstream_forgot_is_opened_again_for_the_same_call() -> None:
    async with _legacy() as (server, upstream, notices):
        await _call(upstream)
        server.sessions.remove(_session_of(server, upstream, SEAT))
        server.sessions.append("filler")
        assert await _call(upstream) == OK
        # What happened meanwhile is not known.
        await notices.until(SEAT.run, "notifications/tools/list_changed")


async def test_an_upstream_that_knows_no_session_for_long_is_broken() -> None:
    async with _legacy() as (server, upstream, _):

        async def lose(message: JSONObject, say: Say) -> None:
            await say(response(b"", "404 Not Found"))

        server.on_call = lose
        with pytest.raises(UpstreamBroken, match="404"):
            await _call(upstream)
        assert len(server.of("tools/call")) == 2


async def test_a_cut_sends_cancelled_with_the_calls_id_and_closes_the_stream() -> None:
    async with _legacy() as (server, upstream, _):
        closed = asyncio.Event()

        async def hang(message: JSONObject, say: Say) -> None:
            await say(STREAM)
            with contextlib.suppress(ConnectionError):
                while True:
                    await say(b": \n\n")
                    await asyncio.sleep(0.01)
            closed.set()

        server.on_call = hang
        flight = FakeFlight()
        call = asyncio.ensure_future(_call(upstream, flight=flight))
        await server.until(lambda: server.of("tools/call"))
        flight.cut("enough")
        with pytest.raises(Interrupted, match="enough"):
            await call
        await server.until(lambda: server.of("notifications/cancelled"))
        (told,) = server.of("notifications/cancelled")
        (asked,) = server.of("tools/call")
        assert told["params"] == {"requestId": asked["id"], "reason": "enough"}
        await closed.wait()


async def test_silence_beyond_the_deadline_cancels_at_the_upstream() -> None:
    async with _legacy(timeouts=CallTimeouts(answer=0.1, handshake=10)) as (server, upstream, _):

        async def hang(message: JSONObject, say: Say) -> None:
            await asyncio.Event().wait()

        server.on_call = hang
        with pytest.raises(UpstreamBroken, match=r"silent for 0\.1 s"):
            await _call(upstream)
        await server.until(lambda: server.of("notifications/cancelled"))


async def test_a_stream_that_breaks_is_resumed_behind_its_last_event() -> None:
    async with _legacy() as (server, upstream, _):
        asked: list[Any] = []

        async def begin(message: JSONObject, say: Say) -> None:
            asked.append(message["id"])
            server._closes = True
            await say(STREAM + b"retry: 1\n" + event("", "first"))

        async def go_on(last: str, say: Say) -> None:
            if len(server.resumed) == 1:
                progress = note("notifications/message", {"level": "info", "data": "on"})
                await say(event(progress, "second"))
            else:
                await say(event(result(asked[0]), "third"))

        server.on_call, server.on_resume = begin, go_on
        sink = RecordingSink()
        flight = FakeFlight()
        assert await _call(upstream, sink=sink, flight=flight) == OK
        assert server.resumed == ["first", "second"]
        assert [method for method, _ in sink.heard] == ["notifications/message"]
        assert flight.looks >= 3


async def test_questions_on_either_stream_go_to_the_client_of_the_call() -> None:
    async with _legacy() as (server, upstream, _):

        async def ask_on_both(message: JSONObject, say: Say) -> None:
            question = {
                "jsonrpc": "2.0",
                "method": "elicitation/create",
                "params": {"message": "?"},
            }
            session = server.got[-1][0]
            await server.until(lambda: session in server.streams)
            await say(STREAM + event({**question, "id": "on the call"}))
            await server.until(lambda: _answers(server))
            server.streams[session].put_nowait(event({**question, "id": 7}))
            await server.until(lambda: len(_answers(server)) == 2)
            await say(event(result(message["id"])))

        async def answer(request: ClientRequest) -> JSONObject:
            return {"action": "accept", "content": {"key": request.key}}

        server.on_call = ask_on_both
        sink = RecordingSink(ABLE.capabilities, answers=answer)
        assert await _call(upstream, seat=ABLE, sink=sink) == OK
        assert [(a["id"], a["result"]["content"]["key"]) for a in _answers(server)] == [
            ("on the call", "on the call"),
            (7, "7"),
        ]


def _answers(server: LegacyServer) -> list[JSONObject]:
    return [message for _, message in server.got if "method" not in message]


async def test_questions_that_nobody_can_answer_are_refused_and_pings_are_not() -> None:
    async with _legacy() as (server, upstream, _):
        await _call(upstream)
        session = _session_of(server, upstream, SEAT)
        await server.until(lambda: session in server.streams)
        for method, request_id in (("roots/list", 1), ("ping", 2)):
            asked = {"jsonrpc": "2.0", "id": request_id, "method": method}
            server.streams[session].put_nowait(event(asked))
        await server.until(lambda: len(_answers(server)) == 2)
        refused, pinged = sorted(_answers(server), key=lambda a: a["id"])
        assert refused["error"]["code"] == -32601
        assert pinged["result"] == {}


async def test_what_a_client_did_not_declare_is_not_asked_of_it() -> None:
    async with _legacy() as (server, upstream, _):

        async def ask(message: JSONObject, say: Say) -> None:
            sampling = {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}}
            await say(STREAM + event(sampling))
            await server.until(lambda: _answers(server))
            await say(event(result(message["id"])))

        server.on_call = ask
        sink = RecordingSink(ABLE.capabilities)
        assert await _call(upstream, seat=ABLE, sink=sink) == OK
        assert sink.asked == []
        assert _answers(server)[0]["error"]["code"] == -32601


async def test_a_question_that_the_upstream_takes_back_is_taken_from_the_client() -> None:
    async with _legacy() as (server, upstream, _):
        taken_back = asyncio.Event()

        async def ask(message: JSONObject, say: Say) -> None:
            question = {"jsonrpc": "2.0", "id": 5, "method": "elicitation/create", "params": {}}
            await say(STREAM + event(question))
            await asking.wait()
            await say(event(note("notifications/cancelled", {"requestId": 5})))
            await taken_back.wait()
            await say(event(result(message["id"])))

        asking = asyncio.Event()

        async def answer(request: ClientRequest) -> JSONObject:
            asking.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                taken_back.set()
                raise
            raise AssertionError

        server.on_call = ask
        sink = RecordingSink(ABLE.capabilities, answers=answer)
        assert await _call(upstream, seat=ABLE, sink=sink) == OK
        assert _answers(server) == []


async def test_notices_name_the_run_whose_session_they_came_on() -> None:
    async with _legacy() as (server, upstream, notices):
        await _call(upstream)
        session = _session_of(server, upstream, SEAT)
        await server.until(lambda: session in server.streams)
        changed = note("notifications/tools/list_changed", {})
        server.streams[session].put_nowait(event(changed))
        await notices.until(SEAT.run, "notifications/tools/list_changed")
        await server.until(lambda: len(server.streams) == 2)
        (catalogue,) = server.streams.keys() - {session}
        server.streams[catalogue].put_nowait(event(changed))
        await notices.until("", "notifications/tools/list_changed")


async def test_an_upstream_without_a_standalone_stream_is_as_good() -> None:
    async with _legacy() as (server, upstream, _):
        server.offers_stream = False
        assert await _call(upstream) == OK


async def test_a_modern_listener_becomes_subscriptions_of_the_runs_session() -> None:
    async with _legacy() as (server, upstream, notices):
        sink, flight = RecordingSink(), FakeFlight()
        call = asyncio.ensure_future(
            upstream.call(listening("a://1", "a://2"), seat=SEAT, flight=flight, sink=sink)
        )
        told = await sink.until_heard("notifications/subscriptions/acknowledged")
        assert told["notifications"]["resourceSubscriptions"] == ["a://1", "a://2"]
        assert [m["params"]["uri"] for m in server.of("resources/subscribe")] == ["a://1", "a://2"]
        session = _session_of(server, upstream, SEAT)
        await server.until(lambda: session in server.streams)
        updated = note("notifications/resources/updated", {"uri": "a://1"})
        server.streams[session].put_nowait(event(updated))
        assert await notices.until(SEAT.run, updated["method"]) == {"uri": "a://1"}
        # The session is lost and opened again: so are the subscriptions.
        server.sessions.remove(session)
        server.sessions.append("filler")
        await _call(upstream)
        await server.until(lambda: len(server.of("resources/subscribe")) == 4)
        flight.cut()
        with pytest.raises(Interrupted):
            await call
        await server.until(lambda: len(server.of("resources/unsubscribe")) == 2)


async def test_a_log_level_that_a_modern_client_names_is_set_once_in_the_session() -> None:
    async with _legacy() as (server, upstream, _):

        async def call(level: str) -> None:
            action = call_tool("x", **{"io.modelcontextprotocol/logLevel": level})
            await upstream.call(action, seat=SEAT, flight=FakeFlight(), sink=RecordingSink())

        for level in ("info", "info", "debug"):
            await call(level)
        assert [m["params"]["level"] for m in server.of("logging/setLevel")] == ["info", "debug"]
        for message in server.of("tools/call"):
            assert "_meta" not in message["params"]


async def test_notifications_of_the_client_pass_and_are_owed_nothing() -> None:
    async with _legacy() as (server, upstream, _):
        told = Action(
            kind=ActionKind.NOTIFY,
            upstream="legacy",
            name="notifications/roots/list_changed",
            method="notifications/roots/list_changed",
        )
        flight = FakeFlight()
        reply = await upstream.call(told, seat=SEAT, flight=flight, sink=RecordingSink())
        assert reply.result == {}
        assert flight.sent > 0
        assert len(server.of("notifications/roots/list_changed")) == 1


async def test_what_this_generation_does_not_have_is_an_error_of_the_protocol() -> None:
    async with _legacy() as (server, upstream, _):
        update = Action(kind=ActionKind.TASK, upstream="legacy", name="t", method="tasks/update")
        reply = await upstream.call(update, seat=SEAT, flight=FakeFlight(), sink=RecordingSink())
        assert reply.error is not None
        assert reply.error["code"] == -32601
        assert server.of("tasks/update") == []


async def test_the_oldest_version_sends_no_version_header_and_may_batch() -> None:
    async with _legacy() as (server, upstream, _):
        server.version = "2025-03-26"

        async def batch(message: JSONObject, say: Say) -> None:
            both = [
                note("notifications/message", {"level": "info", "data": 1}),
                result(message["id"]),
            ]
            await say(STREAM + event(json.dumps(both)))

        server.on_call = batch
        sink = RecordingSink()
        assert await _call(upstream, sink=sink) == OK
        assert len(sink.heard) == 1
        with_session = [h for h in server.headers if "mcp-session-id" in h]
        assert all("mcp-protocol-version" not in h for h in with_session)
