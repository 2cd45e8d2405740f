"""A forwarder that adds one header to each request and changes nothing else.

The official suite has no way to send a token, and Midflight answers no stranger. So the suite
talks to this: every byte goes on as it came, with an Authorization line behind the other lines of
the head. Host and Origin stay, or the check of DNS rebinding would look at the forwarder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

Authorize = Callable[[], Awaitable[str]]
"""() → the value of Authorization for the next request."""

MAX_HEAD = 256 * 1024


class Forwarder:
    """Listens on loopback; requests wait until `forward_to` says where they go."""

    def __init__(self, port: int) -> None:
        """Made by `forwarding`."""
        self.port = port
        self._target: asyncio.Future[tuple[str, int, Authorize]] = (
            asyncio.get_running_loop().create_future()
        )

    def forward_to(self, url: str, authorize: Authorize) -> str:
        """Begin forwarding to the server of `url`; the URL that stands for it here."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target.set_result((parts.hostname, parts.port, authorize))
        return f"http://127.0.0.1:{self.port}{parts.path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the suite, and one to the server for it."""
        host, port, authorize = await self._target
        server_reader, server_writer = await asyncio.open_connection(host, port, limit=MAX_HEAD)
        try:
            there = asyncio.ensure_future(_requests(reader, server_writer, authorize))
            back = asyncio.ensure_future(_bytes(server_reader, writer))
            # Whichever side closes, the other hears of it: closing cancels in this protocol.
            _, pending = await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
        finally:
            server_writer.close()
            writer.close()


@asynccontextmanager
async def forwarding() -> AsyncIterator[Forwarder]:
    """A forwarder on an ephemeral port of loopback."""
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(forwarder.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=MAX_HEAD)
    forwarder = Forwarder(server.sockets[0].getsockname()[1])
    try:
        yield forwarder
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


def with_line(head: bytes, authorization: str) -> bytes:
    """A request's head, blank line included, with one line more."""
    line = f"Authorization: {authorization}\r\n".encode("ascii")
    return head.removesuffix(b"\r\n") + line + b"\r\n"


async def _requests(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authorize: Authorize
) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as ended:
            writer.write(ended.partial)
            return
        writer.write(with_line(head, await authorize()))
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            await _chunks(reader, writer)
        else:
            writer.write(await reader.readexactly(int(fields.get(b"content-length", b"0"))))
        await writer.drain()


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        size = await reader.readuntil(b"\r\n")
        writer.write(size)
        if not int(size, 16):
            break
        writer.write(await reader.readexactly(int(size, 16) + 2))
        await writer.drain()
    while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
        writer.write(line)
    writer.write(line)


async def _bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while some := await reader.read(64 * 1024):
        writer.write(some)
        await writer.drain()


__all__ = ["Authorize", "Forwarder", "forwarding", "with_line"]
