"""Clients that send too much, too slowly, or never read: bounded memory, bounded time.

Deadlines are a few milliseconds here, and no test looks at a clock: it waits for the server to act.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import msgspec
import pytest
from server_kit import (
    Recorder,
    connect,
    conversation,
    parse_answers,
    passing,
    request,
    running,
    until,
)

from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.server.asgi import Receive, Scope, Send
from midflight.apps.server.body import read_body
from midflight.apps.server.limits import Limits
from midflight.apps.server.respond import send_error, send_json
from midflight.domain.errors import MidflightError

pytestmark = pytest.mark.anyio

LONG = 60.0  # a deadline that must not be the one that acts
PATIENT = Limits(head_s=LONG, linger_s=0.05)
HASTY = Limits(head_s=0.25, body_idle_s=LONG, body_total_s=LONG, keep_alive_s=LONG, linger_s=0.05)
HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n"


@pytest.fixture(params=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", {"use_uvloop": request.param == "uvloop"}


# Too much


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
        (b"GET /" + b"a" * 100_000_000, 414),
        (HEAD + b"X: " + b"a" * 40_000 + b"\r\n\r\n", 431),
        (HEAD + b"X: " + b"a" * 55_000_000, 431),
        (HEAD + b"a" * 55_000_000, 431),
        (HEAD + b"X: y\r\n" * 100 + b"\r\n", 431),
        (HEAD + b"a:\r\n" * 1_000_000, 431),
        (b"\r\n" * 10_000_000, 400),
    ],
    ids=[
        "a long target",
        "an endless target",
        "a long value",
        "an endless value",
        "an endless name",
        "101 headers",
        "a million headers",
        "endless empty lines",
    ],
)
async def test_an_oversized_head_is_refused_without_being_held(data: bytes, status: int) -> None:
    app = Recorder()
    telemetry = QuietTelemetry()
    async with running(app, PATIENT, telemetry=telemetry) as port:
        client = await connect(port)
        sending = asyncio.ensure_future(client.send(data))
        answers = parse_answers(await client.rest())
        sending.cancel()
        client.abort()
        await asyncio.gather(sending, return_exceptions=True)
    assert [answer.status for answer in answers] == [status]
    assert app.started == 0
    assert telemetry.counts["http_refused"] == 1


async def test_a_head_at_the_limits_passes() -> None:
    app = Recorder()
    limits = Limits(request_line=64, header_bytes=200, header_count=5, linger_s=0.05)
    target = b"/" + b"a" * (64 - len(b"GET / HTTP/1.1"))
    first = b"GET " + target + b" HTTP/1.1\r\n"
    fields = b"Host: a\r\nConnection: close\r\nA: 1\r\nB: 2\r\nC: "
    exact = first + fields + b"x" * (200 - len(fields) - 4) + b"\r\n\r\n"
    async with running(app, limits) as port:
        passed = parse_answers(await conversation(port, exact))
        longer = parse_answers(await conversation(port, exact.replace(b"C: ", b"C: x")))
        target_longer = parse_answers(await conversation(port, exact.replace(b"/a", b"/aa")))
    assert [answer.status for answer in passed + longer + target_longer] == [200, 431, 414]


async def test_a_body_over_the_limit_is_answered_while_it_is_still_being_sent() -> None:
    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, scope["headers"], 1_000)
        except MidflightError as error:
            await send_error(send, error)
        else:
            await send_json(send, b"%d" % len(body))

    chunk = b"10000\r\n" + b"a" * 65_536 + b"\r\n"
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 400
    declared = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n" + b"a" * 30_000_000
    )
    async with running(bounded, Limits(linger_s=LONG, drain_bytes=100_000)) as port:
        for data in (chunked, declared):
            client = await connect(port)
            sending = asyncio.ensure_future(client.send(data))
            assert (await client.answer()).status == 413
            assert parse_answers(await client.rest()) == []
            sending.cancel()
            client.abort()
            await asyncio.gather(sending, return_exceptions=True)


async def test_after_an_early_answer_a_short_rest_of_the_body_is_skipped_and_the_next_served() -> (
    None
):
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, b'"early"')

    async with running(hasty) as port:
        client = await connect(port)
        await client.send(POST + b"a" * 10)
        assert (await client.answer()).body == b'"early"'
        await client.send(b"a" * 90 + request())
        assert (await client.answer()).body == b'"early"'
        await client.close()


async def test_chunks_that_are_mostly_framing_are_refused() -> None:
    app = Recorder()
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with running(app, Limits(linger_s=0.05)) as port:
        client = await connect(port)
        sending = asyncio.ensure_future(client.send(head + b"1;" + b"x" * 50_000_000))
        assert [answer.status for answer in parse_answers(await client.rest())] == [400]
        sending.cancel()
        client.abort()
        await asyncio.gather(sending, return_exceptions=True)
        await until(lambda: bool(app.requests))
        many = head + b"1\r\na\r\n" * 5_000 + b"0\r\n\r\n"
        client = await connect(port)
        await client.send(many)
        assert (await client.answer()).status == 200
        await client.close()
    assert [seen.body for seen in app.requests] == [None, b"a" * 5_000]


async def test_what_waits_behind_an_unanswered_request_is_bounded() -> None:
    gone = asyncio.Event()

    async def forever(_scope: Scope, receive: Receive, _send: Send) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        gone.set()

    for flood in (request() * 20, b"POST / HTTP/1.1\r\nContent-Length: 9999999\r\n" * 10_000):
        gone.clear()
        async with running(Recorder(forever)) as port:
            client = await connect(port)
            await client.send(request())
            with_flood = asyncio.ensure_future(client.send(flood))
            assert await client.rest() == b""
            await gone.wait()
            client.abort()
            await asyncio.gather(with_flood, return_exceptions=True)


# Too slowly


@pytest.mark.parametrize("start", [b"", b"G", b"\r\n", b"\r", HEAD, HEAD + b"X: y\r\n\r"])
async def test_a_half_head_is_not_waited_for(start: bytes) -> None:
    app = Recorder()
    async with running(app, HASTY) as port:
        answers = parse_answers(await conversation(port, start))
    # A connection that said nothing is closed without a word.
    assert [answer.status for answer in answers] == ([408] if start else [])
    assert app.started == 0


async def test_dripping_a_head_does_not_extend_its_deadline() -> None:
    app = Recorder()
    # However fast this machine drips until then, it is not the size that ends it.
    endless = msgspec.structs.replace(HASTY, header_bytes=2**40)
    async with running(app, endless) as port:
        client = await connect(port)

        async def drip() -> None:
            await client.send(HEAD + b"X: ")
            while True:
                await client.send(b"a")
                await asyncio.sleep(0)

        dripping = asyncio.ensure_future(drip())
        assert [answer.status for answer in parse_answers(await client.rest())] == [408]
        dripping.cancel()
        client.abort()
        await asyncio.gather(dripping, return_exceptions=True)
    assert app.started == 0


async def test_a_body_that_stops_coming_is_not_waited_for() -> None:
    app = Recorder()
    limits = Limits(body_idle_s=0.02, linger_s=0.05)
    async with running(app, limits) as port:
        answers = parse_answers(await conversation(port, POST + b"a"))
        await until(lambda: bool(app.requests))
    assert [answer.status for answer in answers] == [408]
    assert [seen.body for seen in app.requests] == [None]


async def test_a_body_that_drips_on_is_not_waited_for_beyond_its_total() -> None:
    app = Recorder()
    limits = Limits(body_idle_s=LONG, body_total_s=0.03, linger_s=0.05)
    async with running(app, limits) as port:
        client = await connect(port)

        async def drip() -> None:
            await client.send(POST.replace(b"100", b"100000"))
            while True:
                await client.send(b"a")
                await asyncio.sleep(0)

        dripping = asyncio.ensure_future(drip())
        assert [answer.status for answer in parse_answers(await client.rest())] == [408]
        dripping.cancel()
        client.abort()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_an_app_that_is_slow_to_read_does_not_cost_the_client_its_deadline() -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        body = await read_body(receive, scope["headers"], 10_000_000)
        await send_json(send, b"%d" % len(body))

    size = 300_000
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size
    async with running(slow, Limits(body_idle_s=0.2, body_total_s=0.2)) as port:
        client = await connect(port)
        sending = asyncio.ensure_future(client.send(head + b"a" * size))
        await passing(0.7)  # the deadline passes several times
        release.set()
        assert (await client.answer()).body == b"300000"
        await sending
        await client.close()


async def test_waiting_for_100_continue_does_not_cost_the_client_its_deadline() -> None:
    release = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await release.wait()
        await send_json(send, await read_body(receive, scope["headers"], 100))

    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    async with running(slow, Limits(body_idle_s=0.2, body_total_s=0.2)) as port:
        client = await connect(port)
        await client.send(head)
        await passing(0.7)
        release.set()
        assert (await client.answer()).status == 100
        await client.send(b"ok")
        assert (await client.answer()).body == b"ok"
        await client.close()


async def test_an_idle_connection_is_closed() -> None:
    app = Recorder()
    async with running(app, Limits(keep_alive_s=0.02, linger_s=0.05)) as port:
        client = await connect(port)
        await client.send(request())
        assert (await client.answer()).status == 200
        assert await client.rest() == b""
        await client.close()


async def test_a_client_that_does_not_read_is_cut() -> None:
    cut = asyncio.Event()

    async def pour(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        gone = False

        def left() -> None:
            nonlocal gone
            gone = True

        _scope["state"]["on_disconnect"](left)
        while not gone:
            piece = {"type": "http.response.body", "body": b"a" * 65_536, "more_body": True}
            await send(piece)
            await asyncio.sleep(0)
        cut.set()

    limits = Limits(write_stall_s=0.02, head_s=0.25, keep_alive_s=0.02)
    async with running(Recorder(pour), limits) as port:
        # A plain socket, for asyncio's streams read on their own.
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(request())
            await cut.wait()


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
async def test_an_answered_connection_whose_peer_reads_nothing_is_not_kept(
    connection: bytes,
) -> None:
    async def large(scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, b"a" * (20_000_000 if scope["path"] == "/large" else 1))

    limits = Limits(
        connections=1, write_stall_s=0.01, linger_s=0.05, head_s=0.25, keep_alive_s=0.02
    )
    async with running(Recorder(large), limits) as port:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(request(path="/large", headers=[f"Connection: {connection.decode()}"]))
            while True:  # there is room for one, so another is served once this one is cut
                client = await connect(port)
                await client.send(request())
                status = (await client.answer()).status
                client.abort()
                if status == 200:
                    break


async def test_a_slow_reader_that_keeps_its_pace_gets_everything() -> None:
    size = 12_000_000

    async def large(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_json(send, b"a" * size, headers=[(b"connection", b"close")])

    limits = Limits(write_stall_s=0.3, linger_s=0.01, head_s=0.3, keep_alive_s=0.02)
    async with running(large, limits) as port:
        with socket.create_connection(("127.0.0.1", port)) as raw:
            raw.sendall(request())
            raw.setblocking(False)
            loop = asyncio.get_running_loop()
            got = 0
            while piece := await loop.sock_recv(raw, 1_000_000):
                got += len(piece)
                await passing(0.1)
    assert got > size


# Too many


async def test_connections_over_the_limit_are_told_so() -> None:
    app = Recorder()
    telemetry = QuietTelemetry()
    limits = Limits(connections=3, linger_s=0.05)
    async with running(app, limits, telemetry=telemetry) as port:
        held = [await connect(port) for _ in range(3)]
        for client in held:
            await client.send(request())
            assert (await client.answer()).status == 200
        [refused] = parse_answers(await conversation(port, request()))
        assert refused.status == 503
        await held[0].close()
        while True:  # the server learns of the close in its own time
            [answer] = parse_answers(
                await conversation(port, request(headers=["Connection: close"]))
            )
            if answer.status == 200:
                break
        for client in held:
            await client.close()
    assert telemetry.counts["http_connections_refused"] >= 1


async def test_a_flood_of_connections_is_dropped_beyond_those_that_are_told() -> None:
    app = Recorder()
    telemetry = QuietTelemetry()
    async with running(app, Limits(connections=1), telemetry=telemetry) as port:
        clients = [await connect(port) for _ in range(100)]
        # One is served, 64 would be told why not, the others are reset at once.
        await until(lambda: telemetry.counts["http_connections_refused"] == 99)
        reading = [asyncio.ensure_future(client.rest()) for client in clients]
        await until(lambda: sum(task.done() for task in reading) >= 35)
        for task, client in zip(reading, clients, strict=True):
            task.cancel()
            client.abort()
        ended = await asyncio.gather(*reading, return_exceptions=True)
    assert sum(one == b"" for one in ended) == 35
    assert app.started == 0


async def test_one_peer_cannot_have_all_connections() -> None:
    app = Recorder()
    limits = Limits(connections=10, connections_per_peer=2, linger_s=0.05)
    async with running(app, limits) as port:
        held = [await connect(port) for _ in range(2)]
        for client in held:
            await client.send(request())
            assert (await client.answer()).status == 200
        [refused] = parse_answers(await conversation(port, request()))
        # 127.0.0.2 is another peer.
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, local_addr=("127.0.0.2", 0)
        )
        writer.write(request(headers=["Connection: close"]))
        [served] = parse_answers(await reader.read())
        writer.close()
        await writer.wait_closed()
        for client in held:
            await client.close()
    assert (refused.status, served.status) == (503, 200)
