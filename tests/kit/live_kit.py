"""A whole gateway with real sockets in a thread, and a client that writes any bytes it likes.

For tests that are not asynchronous themselves, as hypothesis' are not. Above stand the attacks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httptools
from process_kit import Said, call_bytes
from thread_kit import in_a_thread

from gateways import Gateway, running_gateway
from servers.journal_server import Journal, journalling

T = TypeVar("T")
PATIENCE_S = 30.0


class LiveGateway:
    """See `live_gateway`."""

    def __init__(
        self, gateway: Gateway, journal: Journal, loop: asyncio.AbstractEventLoop, token: str
    ) -> None:
        self.gateway = gateway
        self.plane = gateway.plane
        self.journal = journal
        self.token = token
        self.host = urlsplit(gateway.url).netloc
        self._loop = loop

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run something on the gateway's loop and wait for it."""

        async def run() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(PATIENCE_S)

    def talk(self, raw: bytes, *, leave: bool = False) -> list[Said]:
        """Send bytes on a connection of their own, and read all answers; see `bytes_of`."""
        return parse(self.bytes_of(raw, leave=leave))

    def bytes_of(self, raw: bytes, *, leave: bool = False) -> bytes:
        """Everything that comes back until the gateway closes.

        With `leave` the client ends its side once all is sent, as one that gave up does; without,
        the bytes must be such that the gateway closes.
        """
        host, _, port = self.host.partition(":")
        pieces: list[bytes] = []
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as raw_socket:
            # What is refused early is not read to its end: the refusal still counts.
            sending = threading.Thread(target=_send, args=(raw_socket, raw, leave))
            sending.start()
            with contextlib.suppress(ConnectionError):
                while piece := raw_socket.recv(65_536):
                    pieces.append(piece)
            sending.join()
        return b"".join(pieces)

    def honest(self, nonce: str = "honest") -> Said:
        """One call as a good client makes it."""
        raw = call_bytes(self.token, "look", {"nonce": nonce}, host=self.host, headers=CLOSE)
        [said] = self.talk(raw)
        return said

    def counts(self) -> dict[str, int]:
        """The counters of the metrics page."""
        raw = f"GET /metrics HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n"
        text = self.bytes_of(raw.encode()).decode()
        lines = [line for line in text.splitlines() if line.startswith("midflight_")]
        pairs = [line.rsplit(" ", 1) for line in lines if "_total" in line]
        return {name: int(float(value)) for name, value in pairs}

    def records(self, kind: str) -> list[dict[str, Any]]:
        """Records of a kind that are on disk, after a flush."""

        async def read() -> list[dict[str, Any]]:
            await self.plane.ledger.flush()
            found = [entry async for entry in self.plane.ledger.query(kinds=[kind])]
            return [{"id": e.id, "record": e.record} for e in found]

        return self.do(read)


CLOSE = ("Connection: close",)


def _send(raw_socket: socket.socket, raw: bytes, leave: bool) -> None:
    with contextlib.suppress(OSError):
        raw_socket.sendall(raw)
        if leave:
            raw_socket.shutdown(socket.SHUT_WR)


class _Sink:
    def __init__(self) -> None:
        self.said: list[Said] = []
        self._headers: dict[str, str] = {}
        self._body = b""
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, b""

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        kind = self._headers.get("content-type", "")
        message = json.loads(self._body) if kind == "application/json" else self._body.decode()
        self.said.append(Said(status, self._headers, message))


def parse(raw: bytes) -> list[Said]:
    """Every whole answer in the bytes; AssertionError if they are not HTTP."""
    sink = _Sink()
    try:
        sink.parser.feed_data(raw)
    except httptools.HttpParserError as error:
        raise AssertionError(f"not HTTP: {error} {raw[:500]!r}") from None
    return sink.said


@contextlib.contextmanager
def live_gateway(folder: Path, **settings: Any) -> Iterator[LiveGateway]:
    """Serve a gateway over a journalling upstream, everything pinned as closed-world reads."""

    @contextlib.asynccontextmanager
    async def serve(loop: asyncio.AbstractEventLoop) -> AsyncIterator[LiveGateway]:
        async with journalling() as journal:
            upstream = {"name": "up", "url": journal.url, "reach": "closed"}
            settings.setdefault("approvals", {"wait": {"hold": "0s"}})  # nobody answers here
            async with running_gateway(folder, [upstream], **settings) as gateway:
                await gateway.pin_all()
                yield LiveGateway(gateway, journal, loop, await gateway.token())

    with in_a_thread(serve, name="gateway") as live:
        yield live


__all__ = ["CLOSE", "LiveGateway", "live_gateway", "parse"]
