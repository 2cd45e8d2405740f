"""The HTTP/1.1 client against servers whose every byte the test decides."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from upstream_kit import (
    FakeFlight,
    Handler,
    certificate_for_localhost,
    raw_server,
    read_request,
    response,
    until,
)

from midflight.adapters.upstream.http_client import (
    BesideGate,
    HttpLimits,
    HttpTimeouts,
    header_line,
)
from midflight.adapters.upstream.http_connection import SLICE
from midflight.adapters.upstream.http_pool import HttpPool
from midflight.domain.errors import (
    Interrupted,
    Misconfigured,
    UpstreamBroken,
    UpstreamUnavailable,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return ("asyncio", {"use_uvloop": request.param})


async def _get(pool: HttpPool, body: bytes = b"{}", **more: bool) -> bytes:
    async with asyncio.timeout(20):
        reply = await pool.send(b"POST", b"", body, gate=FakeFlight(), **more)
        try:
            return await reply.read()
        finally:
            reply.close()


def _answering(*replies: bytes) -> tuple[Handler, list[int]]:
    """A handler that sends the replies one a request, and counts connections."""
    connections: list[int] = []
    rest = list(replies)

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        while rest:
            await read_request(reader)
            writer.write(rest.pop(0))
            await writer.drain()

    return handle, connections


async def test_requests_share_one_connection_and_carry_what_they_should() -> None:
    seen: list[tuple[str, dict[str, str], bytes]] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(response(b"ok"))

    async with raw_server(handle) as url:
        pool = HttpPool("x", f"{url}?a=b", headers=header_line("authorization", "Bearer t"))
        flight = FakeFlight()
        for body in (b"one", b"two"):
            reply = await pool.send(b"POST", header_line("mcp-name", "n"), body, gate=flight)
            assert reply.status == 200
            assert reply.header(b"content-type") == "application/json"
            assert await reply.read() == b"ok"
        assert pool.size == 1
        await pool.close()
        assert pool.size == 0
    line, headers, body = seen[1]
    assert line == "POST /mcp?a=b HTTP/1.1"
    assert headers["host"].startswith("127.0.0.1:")
    assert (headers["authorization"], headers["mcp-name"], body) == ("Bearer t", "n", b"two")
    assert flight.sent == len(b"onetwo")  # the bodies; heads are not counted
    assert flight.received > 100
    assert flight.looks == 2


async def test_chunked_bodies_and_bodies_that_end_with_the_connection_are_read() -> None:
    chunks = b"2\r\nab\r\n1;x=y\r\nc\r\n0\r\nt: u\r\n\r\n"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    until_end = b"HTTP/1.1 200 OK\r\n\r\nrest"
    handle, connections = _answering(chunked, until_end)
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        assert await _get(pool) == b"abc"
        assert await _get(pool) == b"rest"
        assert len(connections) == 1
        await pool.close()


async def test_informational_responses_are_passed_over() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
    handle, _ = _answering(early + response(b"real"))
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        assert await _get(pool) == b"real"
        await pool.close()


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    handle, connections = _answering(
        response(b"", "307 Go", extra="location: http://127.0.0.1:1/\r\n")
    )
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        reply = await pool.send(b"POST", b"", b"{}", gate=FakeFlight())
        assert reply.status == 307
        reply.close()
        await pool.close()
    assert len(connections) == 1


async def test_nothing_is_written_when_the_gate_refuses_and_the_connection_stays() -> None:
    handle, connections = _answering(response(b"1"), response(b"2"))
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        assert await _get(pool) == b"1"
        cut = FakeFlight()
        cut.reason = "revoked"
        with pytest.raises(Interrupted):
            await pool.send(b"POST", b"", b"{}", gate=cut)
        assert cut.sent == 0
        assert await _get(pool) == b"2"
        assert len(connections) == 1
        await pool.close()


async def test_an_effect_is_never_sent_again_and_a_question_is() -> None:
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Answers the first request of a connection and dies, unheard, at the second.
        requests.append((await read_request(reader))[2])
        writer.write(response(b"ok"))
        requests.append((await read_request(reader))[2])
        writer.transport.abort()

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        assert await _get(pool, b"1") == b"ok"
        with pytest.raises(UpstreamBroken):
            await _get(pool, b"effect")
        assert requests.count(b"effect") == 1
        assert await _get(pool, b"2") == b"ok"
        assert await _get(pool, b"question", replay=True) == b"ok"
        assert requests.count(b"question") == 2
        await pool.close()


async def test_a_question_is_not_asked_again_once_bytes_have_come_back() -> None:
    requests: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append((await read_request(reader))[2])
        writer.write(response(b"ok"))
        requests.append((await read_request(reader))[2])
        writer.write(b"HTTP/1.1 200")
        await writer.drain()

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        assert await _get(pool) == b"ok"
        with pytest.raises(UpstreamBroken):
            await _get(pool, b"question", replay=True)
        assert requests.count(b"question") == 1
        await pool.close()


async def test_a_kept_connection_that_the_upstream_has_closed_is_not_used() -> None:
    closed = asyncio.Event()
    bodies: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append((await read_request(reader))[2])
        writer.write(response(b"ok"))
        await writer.drain()
        writer.close()
        closed.set()

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        for body in (b"1", b"2", b"3"):
            closed.clear()
            assert await _get(pool, body) == b"ok"
            await closed.wait()
        assert bodies == [b"1", b"2", b"3"]
        await pool.close()


async def test_no_more_connections_are_opened_than_allowed_and_the_rest_wait() -> None:
    busy, most = 0, 0
    go = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal busy, most
        while True:
            await read_request(reader)
            busy += 1
            most = max(most, busy)
            if busy == 3:
                go.set()
            await go.wait()
            busy -= 1
            writer.write(response(b"ok"))

    async with raw_server(handle) as url:
        pool = HttpPool("x", url, limits=HttpLimits(connections=3))
        assert await asyncio.gather(*(_get(pool) for _ in range(20))) == [b"ok"] * 20
        assert most == 3
        assert pool.size <= 3
        await pool.close()


async def test_waiting_for_a_connection_ends_with_words() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        await reader.read()

    async with raw_server(handle) as url:
        limits, timeouts = HttpLimits(connections=1), HttpTimeouts(connect=0.05)
        pool = HttpPool("x", url, limits=limits, timeouts=timeouts)
        first = asyncio.ensure_future(_get(pool))
        await until(lambda: pool.size == 1)
        flight = FakeFlight()
        with pytest.raises(UpstreamUnavailable, match="in use"):
            await pool.send(b"POST", b"", b"{}", gate=flight)
        assert flight.sent == 0
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        # The room of the one that was given up is free again.
        waiting = asyncio.ensure_future(_get(pool))
        await until(lambda: pool.size == 1)
        await pool.close()
        with pytest.raises((UpstreamBroken, UpstreamUnavailable)):
            await waiting


async def test_a_cancelled_request_closes_its_connection() -> None:
    gone = asyncio.Event()
    asked = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        asked.set()
        await reader.read()
        gone.set()

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        task = asyncio.ensure_future(_get(pool))
        await asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with asyncio.timeout(20):
            await gone.wait()
        await pool.close()


async def test_cancelling_a_request_as_its_answer_comes_leaves_the_next_exchange_alone() -> None:
    handle, connections = _answering(response(b"1"), response(b"2"), response(b"3"))
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        loop = asyncio.get_running_loop()
        others: list[asyncio.Task[bytes]] = []

        class Flight(FakeFlight):
            def came(self, nbytes: int) -> None:
                # The answer is about to be whole, and free the connection: the next request takes
                # it, then the reader is cancelled, then it would have been woken.
                super().came(nbytes)
                others.append(loop.create_task(_get(pool, b"another's")))
                loop.call_soon(first.cancel)

        first = loop.create_task(pool.send(b"POST", b"", b"{}", gate=Flight()))
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await others[0] == b"2"
        assert await _get(pool) == b"3"
        assert len(connections) == 1
        assert len(others) == 1
        await pool.close()


async def test_an_upload_answered_early_and_cancelled_then_gives_its_connection_back() -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response(b"enough"))
        await writer.drain()
        await gone.wait()

    gone = asyncio.Event()
    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        loop = asyncio.get_running_loop()

        class Flight(FakeFlight):
            def came(self, nbytes: int) -> None:
                super().came(nbytes)
                loop.call_soon(first.cancel)

        body = bytes(64 * 1024 * 1024)
        first = loop.create_task(pool.send(b"POST", b"", body, gate=Flight()))
        with pytest.raises(asyncio.CancelledError):
            await first
        await until(lambda: pool.size == 0)
        gone.set()
        await pool.close()


async def test_a_large_body_leaves_in_slices_and_a_cut_stops_it_half_way() -> None:
    read = 0
    flight = FakeFlight()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal read
        while read < SLICE:
            read += len(await reader.read(1024))
        flight.reason = "revoked"
        while data := await reader.read(1 << 16):
            read += len(data)

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        size = 64 * 1024 * 1024
        with pytest.raises(Interrupted):
            await pool.send(b"POST", b"", bytes(size), gate=flight)
        assert flight.sent < size / 2
        await pool.close()


async def test_a_reader_that_does_not_read_stops_the_upstream() -> None:
    written = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        for _ in range(1600):
            writer.write(piece)
            await writer.drain()
            written += 0x10000
        writer.write(b"0\r\n\r\n")

    async with raw_server(handle) as url:
        pool = HttpPool("x", url)
        flight = FakeFlight()
        reply = await pool.send(b"POST", b"", b"{}", gate=flight)
        while True:
            before = flight.received
            for _ in range(200):
                await asyncio.sleep(0)
            if flight.received == before:
                break
        # The buffer, one read more, and what sockets hold; not the hundred megabytes.
        assert flight.received < 4 * 1024 * 1024
        size = 0
        while data := await reply.chunk():
            size += len(data)
        assert size == 1600 * 0x10000
        await pool.close()


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(response(b"ok"))
        await reader.read()
        gone.set()

    async with raw_server(handle) as url:
        pool = HttpPool("x", url, timeouts=HttpTimeouts(keep=0.02))
        assert await _get(pool) == b"ok"
        async with asyncio.timeout(20):
            await gone.wait()
        assert pool.size == 0
        await pool.close()


async def test_an_upstream_that_is_away_is_unavailable() -> None:
    async with raw_server(_answering()[0]) as url:
        pass
    pool = HttpPool("x", url)
    with pytest.raises(UpstreamUnavailable, match="cannot be connected to"):
        await _get(pool)
    assert pool.size == 0
    await pool.close()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "http:///mcp",
        "http://user:secret@example.org/mcp",
        "http://example.org/#x",
        "http://example.org:99999/",
        "http://example.org/a b",
        "http://example.org/\r\nx: y",
    ],
)
async def test_urls_that_mean_something_else_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        HttpPool("x", url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "a\0", "ü", " a", "a ", "\x7f"])
async def test_header_values_that_would_be_something_else_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="may not be sent") as caught:
        header_line("x-y", value)
    assert value not in str(caught.value)


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[tuple[str, Path]]:
    certificate = certificate_for_localhost(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handle, _ = _answering(response(b"safe"), response(b"safe"))
    async with raw_server(handle, ssl=context) as url:
        yield url.replace("127.0.0.1", "localhost"), certificate


async def test_tls_works_with_a_configured_authority(https: tuple[str, Path]) -> None:
    url, certificate = https
    pool = HttpPool("x", url, tls=ssl.create_default_context(cafile=str(certificate)))
    assert await _get(pool) == b"safe"
    assert await _get(pool) == b"safe"
    assert pool.size == 1
    await pool.close()


async def test_an_unknown_certificate_is_refused_before_anything_leaves(
    https: tuple[str, Path],
) -> None:
    url, _ = https
    pool = HttpPool("x", url)
    flight = FakeFlight()
    with pytest.raises(UpstreamUnavailable, match="does not verify"):
        await pool.send(b"POST", b"", b"secret", gate=flight)
    assert flight.sent == 0
    assert pool.size == 0
    await pool.close()


def test_what_a_call_sends_beside_itself_is_not_what_ends_it() -> None:
    flight = FakeFlight()
    gate = BesideGate(flight)
    flight.carried(ended := lambda: None)
    gate.carried(lambda: pytest.fail("the answer to a question was ended in place of the call"))
    assert flight.close is ended
    gate.left(3)
    gate.came(2)
    assert (flight.sent, flight.received) == (3, 2)
    flight.reason = "enough"
    with pytest.raises(Interrupted):
        gate.look()
