"""The forwarder adds one line to each request and leaves every other byte alone."""

from __future__ import annotations

import asyncio

import pytest

from conformance.forwarder import forwarding

pytestmark = [pytest.mark.anyio, pytest.mark.conformance]

REQUESTS = [
    b"POST / HTTP/1.1\r\nHoSt: evil.example\r\nOrigin: null\r\ncontent-length: 5\r\n\r\na\r\n\r\n",
    b"GET /mcp HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /mcp HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nTrailer: t\r\n\r\n",
]


async def test_each_request_gets_a_line_and_keeps_every_other_byte() -> None:
    received = b""
    tokens = iter(range(10))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        while some := await reader.read(64):
            received += some
            if received.endswith(b"Trailer: t\r\n\r\n"):
                break
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nanswer")
        writer.close()

    async def authorize() -> str:
        return f"Bearer {next(tokens)}"

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, forwarding() as forwarder:
        url = forwarder.forward_to(f"http://127.0.0.1:{port}/mcp", authorize)
        assert url == f"http://127.0.0.1:{forwarder.port}/mcp"
        reader, writer = await asyncio.open_connection("127.0.0.1", forwarder.port)
        for request in REQUESTS:
            for number in range(0, len(request), 7):
                writer.write(request[number : number + 7])
                await writer.drain()
        assert await reader.read() == b"HTTP/1.1 200 OK\r\n\r\nanswer"
        writer.close()
    expected = b"".join(
        request.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer %d\r\n\r\n" % number, 1)
        for number, request in enumerate(REQUESTS)
    )
    assert received == expected
