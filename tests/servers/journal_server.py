"""A small modern MCP server that notes every call it received before it does anything else.

Tools: `look`, `peek`, `send` answer at once or a few turns of the loop later; `hold` never answers,
`fail` answers with a tool error, `break` with a JSON-RPC error, `drop` closes the connection in the
middle of its answer. What comes back says what went in, so that a test can put a marker into both.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httptools
import msgspec

TOOLS = ("look", "peek", "send", "hold", "fail", "break", "drop")
_META = {"io.modelcontextprotocol/serverInfo": {"name": "journal", "version": "1"}}


class Journal:
    """What reached the server, in order."""

    def __init__(self, *, slow_every: int = 3, repeats: bool = False) -> None:
        """Every `slow_every`th answer comes some turns of the loop later.

        With `repeats` each answer says what the call was authorised with, and its arguments.
        """
        self.repeats = repeats
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.heads: list[dict[bytes, bytes]] = []
        self.certificates: set[bytes] = set()
        self.url = ""
        self.said = "nothing in particular"
        self.slow_every = slow_every
        self.numbers = itertools.count(1)
        self.tasks: set[asyncio.Task[None]] = set()

    def nonces(self, *tools: str) -> list[str]:
        """The argument `nonce` of all calls of some tools."""
        return [given.get("nonce", "") for name, given in self.calls if name in tools]


class _Connection(asyncio.Protocol):
    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._body = b""
        self._head: dict[bytes, bytes] = {}
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        message = msgspec.json.decode(self._body)
        head, self._body, self._head = self._head, b"", {}
        match message["method"]:
            case "server/discover":
                result: dict[str, Any] = {
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {}},
                    "ttlMs": 1_000_000,
                    "cacheScope": "public",
                    "_meta": _META,
                }
                self._answer(message, result)
            case "tools/list":
                self._answer(message, _listed())
            case "tools/call":
                self._journal.heads.append(head)
                tls = self._transport.get_extra_info("ssl_object")
                if tls is not None and (shown := tls.getpeercert(binary_form=True)):
                    self._journal.certificates.add(shown)
                self._call(message, message["params"], head)
            case method:
                self._send(404, {"error": {"code": -32601, "message": method}}, message)

    def _call(self, message: Any, params: Any, head: dict[bytes, bytes]) -> None:
        journal = self._journal
        name, arguments = params["name"], params.get("arguments", {})
        journal.calls.append((name, arguments))
        text = f"{name} {arguments.get('nonce', '')} {journal.said}"
        if journal.repeats:
            text += f" {head.get(b'authorization', b'').decode()} {arguments}"
        result = {
            "resultType": "complete",
            "content": [{"type": "text", "text": text}],
            "_meta": _META,
        }
        number = next(journal.numbers)
        match name:
            case "hold":
                return
            case "fail":
                self._answer(message, result | {"isError": True})
            case "break":
                self._send(200, {"error": {"code": -32603, "message": text}}, message)
            case "drop":
                self._transport.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
                    b"content-length: 100000\r\n\r\n" + text.encode()
                )
                self._transport.close()
            case _ if number % journal.slow_every:
                self._answer(message, result)
            case _:
                task = asyncio.ensure_future(self._later(number % 40, message, result))
                journal.tasks.add(task)
                task.add_done_callback(journal.tasks.discard)

    async def _later(self, turns: int, message: Any, result: dict[str, Any]) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        self._answer(message, result)

    def _answer(self, message: Any, result: dict[str, Any]) -> None:
        self._send(200, {"result": result}, message)

    def _send(self, status: int, answer: dict[str, Any], message: Any) -> None:
        body = msgspec.json.encode({"jsonrpc": "2.0", "id": message["id"], **answer})
        head = b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        if not self._transport.is_closing():
            self._transport.write(head % (status, len(body)) + body)


def _listed() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {"nonce": {"type": "string"}, "text": {"type": "string"}},
    }
    return {
        "resultType": "complete",
        "tools": [
            {"name": name, "description": f"Does {name}.", "inputSchema": schema} for name in TOOLS
        ],
        "ttlMs": 1_000_000,
        "cacheScope": "public",
    }


@asynccontextmanager
async def journalling(
    *, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[Journal]:
    """Serve in this loop. The journal is the caller's, whatever happens to the plane.

    With `tls` it is over TLS, for `localhost`, and notes whose certificates it saw.
    """
    journal = Journal(**settings)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(journal), "127.0.0.1", 0, ssl=tls)
    where = "http://127.0.0.1" if tls is None else "https://localhost"
    journal.url = f"{where}:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield journal
    finally:
        server.close()
        for task in list(journal.tasks):
            task.cancel()


__all__ = ["TOOLS", "Journal", "journalling"]
