"""The client for HTTP/2 and proxies: a real HTTP/2 server, a real proxy, and cancellation."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import pytest
from upstream_kit import FakeFlight, certificate_for_localhost, raw_server, read_request, response

from midflight.adapters.upstream.http2 import Http2Client
from midflight.adapters.upstream.http_client import HttpLimits, HttpTimeouts, header_line
from midflight.domain.errors import Interrupted, UpstreamBroken, UpstreamUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return ("asyncio", {"use_uvloop": request.param})


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's, client's) with HTTP/2 offered."""
    pem = certificate_for_localhost(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    server.set_alpn_protocols(["h2"])
    return server, ssl.create_default_context(cafile=str(pem))


class Http2Server:
    """Answers each request with its own body, or not at all while `mute`."""

    def __init__(self) -> None:
        self.connections = 0
        self.headers: list[dict[str, str]] = []
        self.mute = False
        self.asked = asyncio.Event()
        self.left = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        state.initiate_connection()
        bodies: dict[int, bytes] = {}
        while True:
            writer.write(state.data_to_send())
            data = await reader.read(65536)
            if not data:
                self.left.set()
                return
            for happened in state.receive_data(data):
                match happened:
                    case h2.events.RequestReceived():
                        pairs = [(k.decode(), v.decode()) for k, v in happened.headers]
                        self.headers.append(dict(pairs))
                        bodies[happened.stream_id] = b""
                    case h2.events.DataReceived():
                        bodies[happened.stream_id] += happened.data
                    case h2.events.StreamEnded():
                        self.asked.set()
                        if not self.mute:
                            stream = happened.stream_id
                            state.send_headers(stream, [(":status", "200"), ("x-a", "b")])
                            state.send_data(stream, bodies[stream], end_stream=True)
                    case _:
                        pass


def _localhost(url: str) -> str:
    return url.replace("127.0.0.1", "localhost")


async def test_http2_is_spoken_and_a_connection_is_kept(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server = Http2Server()
    async with raw_server(server, ssl=contexts[0]) as url, asyncio.timeout(20):
        client = Http2Client(
            "x", _localhost(url), headers=header_line("authorization", "t"), tls=contexts[1]
        )
        for body in (b"one", b"two"):
            flight = FakeFlight()
            reply = await client.send(b"POST", header_line("mcp-name", "n"), body, gate=flight)
            assert reply.status == 200
            assert reply.header(b"x-a") == "b"
            assert await reply.read() == body
            assert flight.sent > 0
            assert flight.received >= 3
            assert flight.looks >= 1
        await client.close()
    assert server.connections == 1
    assert server.headers[0]["authorization"] == "t"
    assert server.headers[0]["mcp-name"] == "n"
    assert "cookie" not in server.headers[1]


async def test_giving_up_an_exchange_is_seen_by_the_upstream(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server = Http2Server()
    server.mute = True
    async with raw_server(server, ssl=contexts[0]) as url, asyncio.timeout(20):
        client = Http2Client("x", _localhost(url), tls=contexts[1])
        task = asyncio.ensure_future(client.send(b"POST", b"", b"{}", gate=FakeFlight()))
        await server.asked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.left.wait()
        server.mute = False
        reply = await client.send(b"POST", b"", b"again", gate=FakeFlight())
        assert await reply.read() == b"again"
        await client.close()


async def test_nothing_leaves_when_the_gate_refuses(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server = Http2Server()
    async with raw_server(server, ssl=contexts[0]) as url, asyncio.timeout(20):
        client = Http2Client("x", _localhost(url), tls=contexts[1])
        flight = FakeFlight()
        flight.reason = "revoked"
        with pytest.raises(Interrupted):
            await client.send(b"POST", b"", b"{}", gate=flight)
        assert flight.sent == 0
        await client.close()
    assert server.headers == []


async def test_requests_go_through_the_proxy() -> None:
    lines: list[str] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line, _, _ = await read_request(reader)
            lines.append(line)
            writer.write(response(b"through", extra="set-cookie: a=b\r\n"))

    async with raw_server(proxy) as url, asyncio.timeout(20):
        client = Http2Client("x", "http://tools.invalid/mcp", proxy=url.removesuffix("/mcp"))
        for _ in range(2):
            reply = await client.send(b"POST", b"", b"{}", gate=FakeFlight())
            assert await reply.read() == b"through"
        await client.close()
    assert lines == ["POST http://tools.invalid/mcp HTTP/1.1"] * 2


async def test_its_limits_and_errors_are_those_of_the_pool() -> None:
    replies = [
        response(b"x" * 2000),
        response(b"", extra="x: y\r\n" * 50),
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nx",
    ]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(replies.pop(0))
        await writer.drain()
        if not replies:
            await reader.read()

    limits = HttpLimits(body=1000, headers=20)
    async with raw_server(handle) as url, asyncio.timeout(20):
        client = Http2Client(
            "x", url, http2=False, limits=limits, timeouts=HttpTimeouts(finish=0.1)
        )
        for _ in range(4):
            with pytest.raises(UpstreamBroken):
                await (await client.send(b"POST", b"", b"{}", gate=FakeFlight())).read()
        await client.close()
    client = Http2Client("x", url, http2=False)
    flight = FakeFlight()
    with pytest.raises(UpstreamUnavailable):
        await client.send(b"POST", b"", b"{}", gate=flight)
    assert flight.sent == 0
    await client.close()
