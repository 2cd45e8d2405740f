"""One connection: over real sockets, and over a transport made of lists where bytes are cut."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server_kit import Answer, Recorder, connect, conversation, parse_answers, request, running
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.limits import Limits
from midflight.apps.server.occupancy import Occupancy
from midflight.apps.server.peer import scope_peer
from midflight.apps.server.protocol import BoundedProtocol
from midflight.apps.server.respond import send_json
from midflight.apps.server.serve import _configuration

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closing = False

    def write(self, data: bytes) -> None:
        if not self.closing:
            self.written += data

    def close(self) -> None:
        self.closing = True

    abort = close
    write_eof = close

    def is_closing(self) -> bool:
        return self.closing

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


def protocol(app: Any, limits: Limits) -> BoundedProtocol:
    return BoundedProtocol(
        _configuration(app),
        ServerState(),
        limits=limits,
        occupancy=Occupancy(limits),
        telemetry=QuietTelemetry(),
    )


async def served(pieces: list[bytes]) -> tuple[list[Any], list[int]]:
    """What reaches the app, and the statuses of the answers, when `pieces` come one by one."""
    app = Recorder()
    connection = protocol(app, Limits(pipelined=1_000))
    wire = Wire()
    connection.connection_made(wire)  # type: ignore[arg-type]
    for piece in pieces:
        if not wire.closing:
            connection.data_received(piece)
    for _ in range(400):
        await asyncio.sleep(0)
    statuses = [answer.status for answer in parse_answers(bytes(wire.written))]
    connection.connection_lost(None)
    for _ in range(5):
        await asyncio.sleep(0)
    return app.requests, statuses


STREAM = (
    request(path="/1")
    + b"\r\n"
    + request("POST", "/2", body=b"two")
    + request("POST", "/3", headers=["Upgrade: h2c", "Connection: upgrade"], body=b"GET /x HTTP/1")
    + request(path="/4")
    + request("POST", "/5", body=b"\r\n\r\nfive")
)
CHUNKED_LAST = (
    b"POST /6 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nsix\r\n0\r\nT: r\r\n\r\n"
)
SEEN = [
    ("/1", b""),
    ("/2", b"two"),
    ("/3", b"GET /x HTTP/1"),
    ("/4", b""),
    ("/5", b"\r\n\r\nfive"),
    ("/6", b"six"),
]


@settings(max_examples=200)
@given(cuts=st.sets(st.integers(1, len(STREAM + CHUNKED_LAST) - 1), max_size=40))
def test_however_the_bytes_are_cut_the_same_requests_are_served_in_order(cuts: set[int]) -> None:
    data = STREAM + CHUNKED_LAST
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[a:b] for a, b in itertools.pairwise(edges)]
    requests, statuses = asyncio.run(served(pieces))
    assert [(seen.path, seen.body) for seen in requests] == SEEN
    assert statuses == [200] * 6


@settings(max_examples=200)
@given(pieces=st.lists(st.binary(max_size=60), max_size=12))
def test_no_bytes_crash_a_connection(pieces: list[bytes]) -> None:
    asyncio.run(served(pieces))


@settings(max_examples=200)
@given(
    at=st.integers(0, len(STREAM)), noise=st.binary(min_size=1, max_size=8), cut=st.integers(0, 400)
)
def test_damaged_requests_never_reach_the_app_as_more_than_were_sent(
    at: int, noise: bytes, cut: int
) -> None:
    data = STREAM[:at] + noise + STREAM[at + len(noise) :]
    requests, _ = asyncio.run(served([data[:cut], data[cut:]]))
    assert len(requests) <= 5


async def test_a_head_never_takes_more_memory_than_its_limits() -> None:
    limits = Limits()
    for start, filler in ((b"GET /", b"a"), (b"GET / HTTP/1.1\r\nX: ", b"a"), (b"", b"\r\n")):
        connection = protocol(Recorder(), limits)
        wire = Wire()
        connection.connection_made(wire)  # type: ignore[arg-type]
        connection.data_received(start)
        most = 0
        for _ in range(1_000):
            connection.data_received(filler * 100)
            most = max(most, len(connection._buffer))
        assert most <= limits.request_line + limits.header_bytes + 4 + 200
        assert wire.closing
        connection.connection_lost(None)


# What apps see


async def test_the_peer_is_in_the_scope_and_headers_cannot_change_it() -> None:
    app = Recorder()
    forged = ["X-Forwarded-For: 10.9.9.9", "Forwarded: for=10.9.9.9", "X-Real-IP: 10.9.9.9"]
    async with running(app) as port:
        await conversation(port, request(headers=[*forged, "Connection: close"]))
    [scope] = app.scopes
    peer = scope_peer(scope)
    assert (peer.address, peer.kind, peer.uid, peer.certificate) == ("127.0.0.1", "tcp", None, None)
    assert scope["client"] == ("127.0.0.1", peer.port)
    assert scope["scheme"] == "http"


async def test_answers_do_not_name_the_server_and_have_a_date() -> None:
    async with running(Recorder()) as port:
        [answer] = parse_answers(await conversation(port, request(headers=["Connection: close"])))
        [refusal] = parse_answers(await conversation(port, b"nonsense\r\n\r\n"))
    for one in (answer, refusal):
        assert b"server" not in one.headers
        assert b"date" in one.headers


async def test_an_app_learns_at_once_that_its_client_is_gone() -> None:
    seen: list[str] = []
    watching = asyncio.Event()
    over = asyncio.Event()

    async def wait(scope: Scope, receive: Receive, _send: Send) -> None:
        scope["state"]["on_disconnect"](lambda: seen.append("watcher"))
        watching.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        seen.append("receive")
        over.set()

    async with running(Recorder(wait)) as port:
        for leave in ("close", "abort", "half-close"):
            watching.clear()
            over.clear()
            seen.clear()
            client = await connect(port)
            await client.send(request("POST", body=b"x" * 10))
            await watching.wait()
            match leave:
                case "close":
                    await client.close()
                case "abort":
                    client.abort()
                case _:
                    client.writer.write_eof()
            await over.wait()
            client.abort()
            assert seen == ["watcher", "receive"]


async def test_a_disconnect_is_seen_behind_pipelined_bytes() -> None:
    """Uvicorn stops reading then, and would not see the client leave."""
    over = asyncio.Event()
    watching = asyncio.Event()

    async def wait(_scope: Scope, receive: Receive, _send: Send) -> None:
        watching.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        over.set()

    async with running(Recorder(wait)) as port:
        client = await connect(port)
        await client.send(request() + request(path="/never"))
        await watching.wait()
        await client.close()
        await over.wait()


async def test_a_watcher_is_not_called_for_an_answered_request() -> None:
    called: list[str] = []

    async def quick(scope: Scope, _receive: Receive, send: Send) -> None:
        scope["state"]["on_disconnect"](lambda: called.append(scope["path"]))
        await send_json(send, b"1")

    async with running(Recorder(quick)) as port:
        client = await connect(port)
        await client.send(request())
        await client.answer()
        await client.close()
    assert called == []


async def test_pipelined_requests_are_answered_one_after_the_other() -> None:
    running_now = 0
    most = 0

    async def slow(scope: Scope, _receive: Receive, send: Send) -> None:
        nonlocal running_now, most
        running_now += 1
        most = max(most, running_now)
        for _ in range(5):
            await asyncio.sleep(0)
        running_now -= 1
        await send_json(send, scope["path"].encode())

    async with running(Recorder(slow)) as port:
        client = await connect(port)
        await client.send(b"".join(request(path=f"/{n}") for n in range(10)))
        bodies = [(await client.answer()).body for _ in range(10)]
        await client.close()
    assert bodies == [b"/%d" % n for n in range(10)]
    assert most == 1


async def test_100_continue_is_sent_when_the_app_reads_and_only_then() -> None:
    async def refuse(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, b"1", status=403)

    expecting = ["Expect: 100-continue", "Content-Length: 3"]
    async with running(Recorder()) as port:
        client = await connect(port)
        await client.send(request("POST", headers=expecting))
        assert (await client.answer()).status == 100
        await client.send(b"abc")
        assert (await client.answer()).status == 200
        await client.close()
    async with running(refuse, Limits(linger_s=0.02)) as port:
        answers = parse_answers(await conversation(port, request("POST", headers=expecting)))
    assert [answer.status for answer in answers] == [403]


async def test_http_1_0_gets_no_chunks_and_no_100_continue() -> None:
    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"one ", b"two ", b""):
            await send({"type": "http.response.body", "body": piece, "more_body": piece != b""})

    head = b"POST / HTTP/1.0\r\nExpect: 100-continue\r\nConnection: keep-alive\r\n"
    async with running(Recorder(stream)) as port:
        old = await conversation(port, head + b"Content-Length: 2\r\n\r\nab")
    header, _, body = old.partition(b"\r\n\r\n")
    assert body == b"one two "
    assert header.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"transfer-encoding" not in header
    assert b"connection: close" in header
    async with running(Recorder()) as port:
        [answer] = parse_answers(await conversation(port, head + b"\r\n"))
    assert (answer.status, answer.body) == (200, b'"ok"')


async def test_an_app_that_fails_gives_500_and_one_that_fails_later_is_cut(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(scope: Scope, _receive: Receive, send: Send) -> None:
        if scope["path"] == "/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"part", "more_body": True})
        raise RuntimeError("as planned")

    async with running(fail) as port:
        [early] = parse_answers(await conversation(port, request()))
        late = await conversation(port, request(path="/late"))
    assert early.status == 500
    assert late.endswith(b"4\r\npart\r\n")  # no last chunk, so a reader can tell
    assert "as planned" in caplog.text


async def test_head_answers_have_no_body() -> None:
    async with running(Recorder()) as port:
        data = await conversation(port, request("HEAD", headers=["Connection: close"]))
    assert data.endswith(b"\r\n\r\n")
    assert b"content-length: 4" in data


async def test_an_answer_is_typed() -> None:
    async with running(Recorder()) as port:
        [refusal] = parse_answers(await conversation(port, b"nonsense\r\n\r\n"))
    assert isinstance(refusal, Answer)
    assert refusal.headers[b"content-type"] == b"application/json"
    assert b'"code":"malformed_request"' in refusal.body


# What is assumed about uvicorn


def test_uvicorn_still_has_what_the_subclass_builds_on() -> None:
    for name in ("on_headers_complete", "on_message_complete", "on_response_complete", "shutdown"):
        assert callable(getattr(HttpToolsProtocol, name))
    assert list(inspect.signature(HttpToolsProtocol.__init__).parameters)[1:] == [
        "config",
        "server_state",
        "app_state",
        "_loop",
    ]
    cycle = set(inspect.signature(RequestResponseCycle.__init__).parameters)
    assert {"scope", "transport", "flow", "keep_alive", "on_response", "message_event"} <= cycle


async def test_uvicorn_s_connection_still_has_the_state_that_is_looked_at() -> None:
    connection = protocol(Recorder(), Limits())
    connection.connection_made(Wire())  # type: ignore[arg-type]
    connection.data_received(request("POST", headers=["Content-Length: 3"]) + b"a")
    cycle = connection.cycle
    assert connection.scope is cycle.scope
    assert cycle.scope["headers"] is connection.headers
    assert cycle.body == b"a"
    assert (cycle.response_started, cycle.response_complete, cycle.disconnected) == (False,) * 3
    assert (cycle.chunked_encoding, cycle.expected_content_length) == (None, 0)
    assert cycle.waiting_for_100_continue is False
    assert (connection.flow.read_paused, connection.flow.write_paused) == (False, False)
    assert connection.timeout_keep_alive_task is None
    connection.connection_lost(None)
    assert cycle.disconnected
    for _ in range(5):
        await asyncio.sleep(0)
