"""The bench's client: closed loops over keep-alive connections, fresh JSON-RPC ids, no library."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

_IDS = itertools.count(1)
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
ARGUMENTS = {
    "to": "someone@example.org",
    "subject": "the monthly report",
    "body": "Dear all, please find the numbers of this month below. " * 4,
    "folder": "reports/2026",
    "note": "nothing of note",
    "limit": 20,
}


@dataclass
class Loaded:
    """What a load came to: seconds of each call, by status, and the whole time."""

    latencies: list[float] = field(default_factory=list)
    whole: float = 0.0
    refused: int = 0

    @property
    def rate(self) -> float:
        """Calls a second."""
        return len(self.latencies) / self.whole

    def quantile(self, q: float) -> float:
        """Seconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def legacy_request(url: str, session: str, method: str, params: dict[str, object]) -> bytes:
    """One request of a legacy session; `session` is empty for the first."""
    parts = urlsplit(url)
    message = {"jsonrpc": "2.0", "id": next(_IDS), "method": method, "params": params}
    body = json.dumps(message).encode()
    named = f"Mcp-Session-Id: {session}\r\n" if session else ""
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{named}"
        f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def request(url: str, token: str, tool: str, *, method: str = "tools/call") -> bytes:
    """One request, about 700 bytes of body."""
    parts = urlsplit(url)
    params: dict[str, object] = {"_meta": META}
    name = ""
    if method == "tools/call":
        params |= {"name": tool, "arguments": ARGUMENTS}
        name = f"Mcp-Name: {tool}\r\n"
    message = {"jsonrpc": "2.0", "id": next(_IDS), "method": method, "params": params}
    body = json.dumps(message).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n"
        f"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: {method}\r\n{name}"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection(asyncio.Protocol):
    """One keep-alive connection; one call at a time."""

    def __init__(self) -> None:
        self.session = ""
        self._done: asyncio.Future[bytes] | None = None
        self._body = bytearray()
        self._parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self._done.set_exception(exc or ConnectionError("closed"))

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"mcp-session-id":
            self.session = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        body, status = bytes(self._body), self._parser.get_status_code()
        self._body.clear()
        self._parser = httptools.HttpResponseParser(self)
        assert self._done is not None
        if status == 200:
            self._done.set_result(body)
        else:
            self._done.set_exception(ConnectionError(f"{status}: {body[:300]!r}"))

    async def call(self, raw: bytes) -> bytes:
        """Send and wait for the whole answer."""
        self._done = asyncio.get_running_loop().create_future()
        self.transport.write(raw)  # type: ignore[attr-defined]
        return await self._done


async def connect(url: str) -> Connection:
    """Open a connection."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(Connection, parts.hostname, parts.port)
    return connection


async def legacy_loop(url: str, tool: str, *, callers: int, calls: int) -> Loaded:
    """Like `closed_loop`, in one legacy session a connection and without a token."""
    loaded = Loaded()
    left = itertools.count(calls, -1)
    hello: dict[str, object] = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "bench", "version": "1"},
    }
    connections = [await connect(url) for _ in range(callers)]
    for connection in connections:
        await connection.call(legacy_request(url, "", "initialize", hello))

    async def caller(connection: Connection) -> None:
        params: dict[str, object] = {"name": tool, "arguments": ARGUMENTS}
        while next(left) > 0:
            raw = legacy_request(url, connection.session, "tools/call", params)
            began = time.perf_counter()
            await connection.call(raw)
            loaded.latencies.append(time.perf_counter() - began)

    began = time.perf_counter()
    await asyncio.gather(*map(caller, connections))
    loaded.whole = time.perf_counter() - began
    for connection in connections:
        connection.transport.close()
    return loaded


async def closed_loop(
    url: str, token: str, tool: str, *, callers: int, calls: int, method: str = "tools/call"
) -> Loaded:
    """`callers` connections, each sending its next call when the last is answered."""
    loaded = Loaded()
    left = itertools.count(calls, -1)
    connections = [await connect(url) for _ in range(callers)]

    async def caller(connection: Connection) -> None:
        while next(left) > 0:
            raw = request(url, token, tool, method=method)
            began = time.perf_counter()
            answer = await connection.call(raw)
            loaded.latencies.append(time.perf_counter() - began)
            loaded.refused += b'"isError":true' in answer or b'"error":' in answer[:60]

    began = time.perf_counter()
    await asyncio.gather(*map(caller, connections))
    loaded.whole = time.perf_counter() - began
    for connection in connections:
        connection.transport.close()
    return loaded
