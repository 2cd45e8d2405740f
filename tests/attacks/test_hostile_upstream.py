"""An upstream that is against us: each attack ends in a refusal, in bounded time and memory."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from upstream_kit import (
    SEAT,
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    listing,
    raw_server,
    read_request,
    response,
    until,
)

from midflight.adapters.upstream.child import ChildSpec
from midflight.adapters.upstream.http_client import HttpLimits, HttpTimeouts
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.mcp_stdio import McpStdioUpstream
from midflight.adapters.upstream.passage import CallTimeouts
from midflight.domain.errors import (
    Interrupted,
    Misconfigured,
    Unavailable,
    UpstreamBroken,
    UpstreamUnavailable,
)
from midflight.services.ports.upstream import Reply

pytestmark = pytest.mark.anyio

LIMITS = HttpLimits(head=4096, headers=20, body=64 * 1024, buffer=16 * 1024)
SOON = CallTimeouts(answer=0.2, whole=0.4, handshake=5)
Attack = Callable[[dict[str, Any], asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = {"content": [{"type": "text", "text": "fine"}], "isError": False}


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return ("asyncio", {"use_uvloop": request.param})


def result_of(request: dict[str, Any], result: dict[str, Any] | None = None) -> bytes:
    message = {"jsonrpc": "2.0", "id": request["id"], "result": result or OK}
    return json.dumps(message).encode()


async def _serve_modern(
    attack: Attack, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    while True:
        _, _, body = await read_request(reader)
        request = json.loads(body)
        if request["method"] == "server/discover":
            found = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
            writer.write(response(result_of(request, found)))
        else:
            await attack(request, reader, writer)
        await writer.drain()


async def _attacked(
    attack: Attack,
    *,
    timeouts: CallTimeouts | None = None,
    calls: int = 1,
    flight: FakeFlight | None = None,
    sink: RecordingSink | None = None,
) -> list[Reply | BaseException]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve_modern(attack, reader, writer)

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream(
            "hostile",
            url,
            limits=LIMITS,
            timeouts=timeouts,
            http_timeouts=HttpTimeouts(finish=0.2),
        )
        await upstream.start(Notices())
        outcomes: list[Reply | BaseException] = []
        for _ in range(calls):
            call = upstream.call(
                call_tool("echo", {"text": "x"}),
                seat=SEAT,
                flight=flight or FakeFlight(),
                sink=sink or RecordingSink(),
            )
            async with asyncio.timeout(20):
                outcomes += await asyncio.gather(call, return_exceptions=True)
        await upstream.close()
    return outcomes


def _sending(make: Callable[[dict[str, Any]], bytes]) -> Attack:
    async def attack(
        request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(make(request))

    return attack


def _event(message: bytes) -> bytes:
    return b"data: " + message + b"\n\n"


def _stream(*messages: bytes) -> bytes:
    return response(b"".join(_event(m) for m in messages), kind="text/event-stream")


def _head(extra: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + extra


BAD_REPLIES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "a head that never ends": lambda r: _head(b"x: " + b"y" * 10_000),
    "a head of many headers": lambda r: _head(b"x: y\r\n" * 100 + b"content-length: 0\r\n\r\n"),
    "a long head": lambda r: _head(b"x: " + b"y" * 5000 + b"\r\ncontent-length: 0\r\n\r\n"),
    "a body beyond the limit": lambda r: response(b" " * 100_000),
    "an event beyond the limit": lambda r: response(
        b"data: " + b"x" * 100_000, kind="text/event-stream"
    ),
    "not HTTP": lambda r: b"SSH-2.0-OpenSSH_9.2\r\n",
    "two lengths": lambda r: _head(b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc"),
    "length and chunks": lambda r: _head(
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a folded header": lambda r: _head(b"x: y\r\n z\r\ncontent-length: 0\r\n\r\n"),
    "a bare line feed": lambda r: b"HTTP/1.1 200 OK\ncontent-length: 0\n\n",
    "a switch of protocols": lambda r: (
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"
    ),
    "informational responses without end": lambda r: b"HTTP/1.1 103 Early\r\n\r\n" * 100,
    "a redirect to elsewhere": lambda r: response(
        b"", "302 Found", extra="location: http://169.254.169.254/\r\n"
    ),
    "a refusal in HTML": lambda r: response(b"<h1>no</h1>", "403 Forbidden", kind="text/html"),
    "no body at all": lambda r: response(b"", "202 Accepted"),
    "HTML": lambda r: response(b"<html>", kind="text/html"),
    "invalid JSON": lambda r: response(b'{"jsonrpc": "2.0", "id"'),
    "duplicate keys": lambda r: response(
        b'{"jsonrpc":"2.0","id":%d,"result":{"a":1},"result":{"a":2}}' % r["id"]
    ),
    "invalid UTF-8": lambda r: response(
        b'{"jsonrpc":"2.0","id":%d,"result":{"a":"\xff"}}' % r["id"]
    ),
    "deep nesting": lambda r: response(
        b'{"jsonrpc":"2.0","id":%d,"result":{"a":%s%s}}' % (r["id"], b"[" * 9000, b"]" * 9000)
    ),
    "the id of another request": lambda r: response(result_of({"id": r["id"] + 1})),
    "the id as a text": lambda r: response(result_of({"id": str(r["id"])})),
    "the id as a fraction": lambda r: response(result_of({"id": float(r["id"])})),
    "a result without an id": lambda r: response(b'{"jsonrpc":"2.0","id":null,"result":{}}'),
    "a request instead of an answer": lambda r: response(
        b'{"jsonrpc":"2.0","id":1,"method":"sampling/createMessage","params":{}}'
    ),
    "a batch": lambda r: response(b"[" + result_of(r) + b"]"),
    "a stream with the id of another request": lambda r: _stream(result_of({"id": r["id"] + 1})),
    "a request on a modern stream": lambda r: _stream(
        b'{"jsonrpc":"2.0","id":1,"method":"roots/list"}'
    ),
    "a stream that ends early": lambda r: _stream(
        b'{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}'
    ),
    "a compressed body that nobody asked for": lambda r: response(
        b"\x1f\x8b\x08\x00", extra="content-encoding: gzip\r\n"
    ),
    "input it may not ask for": lambda r: response(
        result_of(
            r,
            {
                "resultType": "input_required",
                "inputRequests": {"a": {"method": "sampling/createMessage", "params": {}}},
            },
        )
    ),
    "input of no form": lambda r: response(
        result_of(r, {"resultType": "input_required", "inputRequests": [1]})
    ),
}


@pytest.mark.parametrize("name", BAD_REPLIES)
async def test_a_bad_reply_is_broken_and_never_an_answer(name: str) -> None:
    (outcome,) = await _attacked(_sending(BAD_REPLIES[name]))
    assert isinstance(outcome, UpstreamBroken), outcome
    assert "hostile" in str(outcome)
    assert len(str(outcome)) < 400


async def test_a_good_reply_passes_the_same_limits() -> None:
    (outcome,) = await _attacked(_sending(lambda r: response(result_of(r))))
    assert isinstance(outcome, Reply)
    assert outcome.result == OK


async def test_a_second_response_in_advance_is_not_taken_for_the_next_answer() -> None:
    forged = {"content": [{"type": "text", "text": "forged"}]}

    def make(request: dict[str, Any]) -> bytes:
        ahead = result_of({"id": request["id"] + 1}, forged)
        return response(result_of(request)) + response(ahead)

    outcomes = await _attacked(_sending(make), calls=4)
    for outcome in outcomes:
        assert isinstance(outcome, Reply | UpstreamBroken)
        if isinstance(outcome, Reply):
            assert outcome.result == OK
    assert isinstance(outcomes[0], Reply)


async def test_half_a_response_in_advance_is_not_joined_to_the_next_answer() -> None:
    outcomes = await _attacked(
        _sending(lambda r: response(result_of(r)) + b"HTTP/1.1 200 OK\r\nx: "), calls=3
    )
    assert [type(outcome) for outcome in outcomes] == [Reply] * 3


async def test_what_follows_the_final_response_on_a_stream_is_not_heard() -> None:
    sink = RecordingSink()
    late = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"late"}}'
    (outcome,) = await _attacked(
        _sending(lambda r: _stream(result_of(r), late, result_of(r, {"x": 1}))), sink=sink
    )
    assert isinstance(outcome, Reply)
    assert outcome.result == OK
    assert sink.heard == []


async def test_progress_of_another_call_is_not_passed_on() -> None:
    sink = RecordingSink()

    def make(request: dict[str, Any]) -> bytes:
        other = {"progressToken": request["id"] + 1, "progress": 1}
        message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": other}
        return _stream(json.dumps(message).encode(), result_of(request))

    (outcome,) = await _attacked(_sending(make), sink=sink)
    assert isinstance(outcome, Reply)
    assert sink.heard == []


async def _forever(writer: asyncio.StreamWriter, piece: bytes) -> None:
    while True:
        writer.write(piece)
        await writer.drain()
        await asyncio.sleep(0.01)


async def test_a_stream_that_never_ends_is_left_at_the_deadline() -> None:
    async def attack(
        request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        await _forever(writer, b": still here\n\n")

    (outcome,) = await _attacked(attack, timeouts=SOON)
    assert isinstance(outcome, UpstreamBroken)
    assert "was silent for 0.2 s" in str(outcome)


async def test_progress_keeps_a_call_alive_only_to_the_hard_limit() -> None:
    async def attack(
        request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        params = {"progressToken": request["params"]["_meta"]["progressToken"], "progress": 1}
        message = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        await _forever(writer, _event(json.dumps(message).encode()))

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _serve_modern(attack, reader, writer)

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream("hostile", url, timeouts=SOON)
        action = call_tool("echo", progressToken="mine")
        with pytest.raises(UpstreamBroken, match=r"did not finish within 0\.4 s"):
            await upstream.call(action, seat=SEAT, flight=FakeFlight(), sink=RecordingSink())
        await upstream.close()


@pytest.mark.parametrize("where", ["head", "body"])
async def test_a_response_that_drips_is_left(where: str) -> None:
    async def attack(
        request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        if where == "body":
            writer.write(b"content-length: 60000\r\n\r\n")
            await _forever(writer, b" ")
        await _forever(writer, b"x: y\r\n"[:1])

    (outcome,) = await _attacked(attack)
    assert isinstance(outcome, UpstreamBroken)
    assert "did not finish a response" in str(outcome)


async def test_a_cut_does_not_wait_for_an_upstream_that_ignores_it() -> None:
    flight = FakeFlight()

    async def attack(
        request: dict[str, Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asyncio.get_running_loop().call_soon(flight.cut)
        await asyncio.Event().wait()

    (outcome,) = await _attacked(attack, flight=flight)
    assert isinstance(outcome, Interrupted)


async def test_a_cut_does_not_wait_for_a_client_that_does_not_read() -> None:
    flight = FakeFlight()
    entered = asyncio.Event()

    class Stuck(RecordingSink):
        async def notify(self, method: str, params: dict[str, Any]) -> None:
            entered.set()
            await asyncio.Event().wait()

    async def cut() -> None:
        await entered.wait()
        flight.cut()

    note = b'{"jsonrpc":"2.0","method":"notifications/message","params":{"data":1}}'
    cutting = asyncio.ensure_future(cut())
    (outcome,) = await _attacked(
        _sending(lambda r: _stream(note, result_of(r))), flight=flight, sink=Stuck()
    )
    await cutting
    assert isinstance(outcome, Interrupted)
    assert outcome.revocation == "rev_1"


async def test_names_cannot_inject_headers() -> None:
    seen: list[dict[str, str]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, body = await read_request(reader)
            request = json.loads(body)
            if request["method"] == "server/discover":
                found = {"supportedVersions": ["2026-07-28"], "capabilities": {}}
                writer.write(response(result_of(request, found)))
            else:
                seen.append(headers)
                writer.write(response(result_of(request)))

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream("hostile", url)
        for name in ("x\r\nauthorization: Bearer stolen", "x\nhost: evil", "x\0", "é", " x"):
            await upstream.call(
                call_tool(name), seat=SEAT, flight=FakeFlight(), sink=RecordingSink()
            )
        await upstream.close()
    assert len(seen) == 5
    for headers in seen:
        assert headers["mcp-name"].startswith("=?base64?")
        assert "authorization" not in headers


@pytest.mark.parametrize(
    "headers",
    [{"x\r\ny": "z"}, {"x": "a\r\nb: c"}, {"host": "evil"}, {"Mcp-Session-Id": "1"}],
)
async def test_headers_that_cannot_be_configured_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(Misconfigured):
        McpHttpUpstream("x", "http://127.0.0.1/mcp", headers=headers)


async def _legacy(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    session: str = "s1",
    call: Callable[[dict[str, Any]], bytes],
) -> None:
    while True:
        line, _, body = await read_request(reader)
        if not line.startswith("POST"):
            writer.write(response(b"", "405 Method Not Allowed"))
            continue
        request = json.loads(body)
        match request.get("method"):
            case "server/discover":
                writer.write(response(b"", "400 Bad Request"))
            case "initialize":
                said = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "serverInfo": {"name": "x", "version": "1"},
                }
                extra = f"mcp-session-id: {session}\r\n"
                writer.write(response(result_of(request, said), extra=extra))
            case method if method is None or method.startswith("notifications/"):
                writer.write(response(b"", "202 Accepted"))
            case _:
                writer.write(call(request))
        await writer.drain()


@pytest.mark.parametrize("session", ["a b", "s\tx", "é", "x" * 2000])
async def test_a_session_id_that_cannot_be_sent_back_is_refused(session: str) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _legacy(reader, writer, session=session, call=lambda r: response(result_of(r)))

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream("hostile", url)
        flight = FakeFlight()
        with pytest.raises(UpstreamUnavailable):
            await upstream.call(call_tool("echo"), seat=SEAT, flight=flight, sink=RecordingSink())
        assert flight.sent == 0
        await upstream.close()


async def test_a_legacy_stream_that_always_breaks_is_resumed_only_so_often() -> None:
    resumes = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal resumes

        def start(request: dict[str, Any]) -> bytes:
            return response(b"id: 1\nretry: 1\ndata: \n\n", kind="text/event-stream")

        line, headers, body = await read_request(reader)
        if line.startswith("GET") and "last-event-id" in headers:
            resumes += 1
            writer.write(response(b"retry: 1\n\n", kind="text/event-stream"))
            await writer.drain()
            return
        replay = asyncio.StreamReader()
        fields = "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        replay.feed_data(f"{line}\r\n{fields}\r\n".encode() + body)
        replay.feed_eof()
        try:
            await _legacy(replay, writer, call=start)
        except asyncio.IncompleteReadError:
            await writer.drain()

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream("hostile", url)
        with pytest.raises(Unavailable, match="ended its stream without an answer"):
            async with asyncio.timeout(20):
                await upstream.call(
                    call_tool("echo"), seat=SEAT, flight=FakeFlight(), sink=RecordingSink()
                )
        await upstream.close()
    assert 0 < resumes <= 10


# Children

CHILD = """
import json, os, signal, sys, time
def say(x): print(x if isinstance(x, str) else json.dumps(x), flush=True)
def answer(m, r): say({"jsonrpc": "2.0", "id": m["id"], "result": r})
OK = {"content": [{"type": "text", "text": "fine"}], "isError": False}
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "server/discover":
        answer(m, {"supportedVersions": ["2026-07-28"], "capabilities": {}})
        continue
    if "id" not in m:
        continue
    ATTACK
"""


def _child(attack: str, **more: Any) -> McpStdioUpstream:
    code = CHILD.replace("ATTACK", attack.replace("\n", "\n    "))
    spec = ChildSpec(
        command=sys.executable,
        args=("-c", code),
        max_line=64 * 1024,
        close_grace=0.3,
        term_grace=0.3,
    )
    return McpStdioUpstream("hostile", sys.executable, spec=spec, **more)


async def _call_child(upstream: McpStdioUpstream, flight: FakeFlight | None = None) -> Reply:
    async with asyncio.timeout(20):
        return await upstream.call(
            call_tool("echo"), seat=SEAT, flight=flight or FakeFlight(), sink=RecordingSink()
        )


BAD_LINES = {
    "a line beyond the limit": "say('x' * 100000)",
    "a line that never ends": "while True: sys.stdout.write('x' * 65536)",
    "invalid JSON": """say('{"jsonrpc":')""",
    "duplicate keys": """say('{"jsonrpc":"2.0","id":%d,"result":{},"result":{"a":1}}' % m["id"])""",
    "its end": "sys.exit(3)",
    "its killing": "os.kill(os.getpid(), 9)",
}


@pytest.mark.parametrize("name", BAD_LINES)
async def test_a_bad_line_of_a_child_is_broken_and_never_an_answer(name: str) -> None:
    upstream = _child(BAD_LINES[name])
    with pytest.raises(UpstreamBroken):
        await _call_child(upstream)
    await upstream.close()


async def test_a_child_that_died_is_replaced() -> None:
    upstream = _child("answer(m, OK)\nsys.exit(0)")
    for _ in range(2):
        assert (await _call_child(upstream)).result == OK
        line = upstream._lines[SEAT.run].value
        await until(lambda line=line: line is None or not line.alive)
    await upstream.close()


async def test_noise_and_answers_to_nothing_on_a_childs_output_are_dropped() -> None:
    upstream = _child(
        "say('npm notice new version')\n"
        "say({'jsonrpc': '2.0', 'id': m['id'] + 1, 'result': {'forged': 1}})\n"
        "say({'jsonrpc': '2.0', 'id': str(m['id']), 'result': {'forged': 2}})\n"
        "answer(m, OK)\nanswer(m, {'forged': 4})"
    )
    for _ in range(3):
        assert (await _call_child(upstream)).result == OK
    await upstream.close()


async def test_a_child_that_ignores_cancellation_and_sigterm_ends_with_its_run() -> None:
    upstream = _child(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\np = os.fork()\nwhile True: time.sleep(1000)"
    )
    flight = FakeFlight()
    call = asyncio.ensure_future(_call_child(upstream, flight))
    await until(lambda: flight.sent)
    flight.cut()
    with pytest.raises(Interrupted):
        await call
    line = upstream._lines[SEAT.run].value
    assert line is not None
    assert line._child is not None
    pid = line._child.pid
    await upstream.end_run(SEAT.run)
    group = [p for p in Path("/proc").glob("[0-9]*/stat") if _group_of(p) == pid]
    assert [p for p in group if _state_of(p) != b"Z"] == []
    await upstream.close()


def _fields(stat: Path) -> list[bytes]:
    try:
        return stat.read_bytes().rpartition(b")")[2].split()
    except OSError:
        return [b"Z", b"0", b"0"]


def _group_of(stat: Path) -> int:
    return int(_fields(stat)[2])


def _state_of(stat: Path) -> bytes:
    return _fields(stat)[0]


async def test_a_flood_for_one_call_ends_that_call_and_no_other() -> None:
    flood = (
        "if m['method'] == 'tools/list':\n"
        "    answer(m, {'tools': []}); continue\n"
        "while True: say({'jsonrpc': '2.0', 'method': 'notifications/progress',"
        " 'params': {'progressToken': m['id'], 'progress': 1, 'message': 'x' * 30000}})"
    )
    upstream = _child(flood)

    class Stuck(RecordingSink):
        async def notify(self, method: str, params: dict[str, Any]) -> None:
            await asyncio.Event().wait()

    async with asyncio.timeout(30):
        with pytest.raises(UpstreamBroken, match="more than its client takes in"):
            await upstream.call(
                call_tool("echo", progressToken="t"),
                seat=SEAT,
                flight=FakeFlight(),
                sink=Stuck(),
            )
    await upstream.end_run(SEAT.run)
    assert (
        await upstream.call(listing(), seat=SEAT, flight=FakeFlight(), sink=RecordingSink())
    ).result == {"tools": []}
    await upstream.close()
