"""The bench's upstream: a modern MCP server that costs next to nothing, so that it is not measured.

Tools: `look`, `send` (answer about 1 KB at once) and `hang` (never answers). Run as a program with
the core to stay on; it prints its URL on one line.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from typing import Any

import httptools
import msgspec
import uvloop

FILLER = "x" * 900
META = {"io.modelcontextprotocol/serverInfo": {"name": "echo", "version": "1"}}
DISCOVERED: dict[str, Any] = {
    "resultType": "complete",
    "supportedVersions": ["2026-07-28"],
    "capabilities": {"tools": {}},
    "ttlMs": 1_000_000,
    "cacheScope": "public",
    "_meta": META,
}
STRINGS = {name: {"type": "string"} for name in ("to", "subject", "body", "folder", "note")}


def tools(count: int) -> list[dict[str, Any]]:
    """Definitions of `look`, `send`, `hang` and `count` further ones."""
    names = ["look", "send", "hang", *(f"tool_{number}" for number in range(count))]
    return [
        {
            "name": name,
            "description": f"Does {name}.",
            "inputSchema": {
                "type": "object",
                "properties": {**STRINGS, "limit": {"type": "integer"}},
            },
        }
        for name in names
    ]


class Echo(asyncio.Protocol):
    """One connection."""

    listed: bytes = b""
    bytes_of_calls = 0
    last_call = 0.0
    """Monotonic seconds, which all processes of a machine share."""

    def __init__(self) -> None:
        self._body = b""
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        message = msgspec.json.decode(self._body)
        if message["method"] == "tools/call":
            Echo.bytes_of_calls += len(self._body)
            Echo.last_call = time.monotonic()
        self._body = b""
        match message["method"]:
            case "server/discover":
                result: Any = DISCOVERED
            case "tools/list":
                result = self._tools()
            case "bench/bytes":
                result = {"bytes": Echo.bytes_of_calls, "last": Echo.last_call}
            case "tools/call" if message["params"]["name"] == "hang":
                return
            case "tools/call":
                result = {
                    "resultType": "complete",
                    "content": [{"type": "text", "text": FILLER}],
                    "_meta": META,
                }
            case _:
                self._send(
                    404,
                    {
                        "jsonrpc": "2.0",
                        "id": message.get("id"),
                        "error": {"code": -32601, "message": "no such method"},
                    },
                )
                return
        self._send(200, {"jsonrpc": "2.0", "id": message["id"], "result": result})

    def _tools(self) -> dict[str, Any]:
        return {
            "resultType": "complete",
            "tools": tools(int(os.environ.get("BENCH_TOOLS", "0"))),
            "ttlMs": 1_000_000,
            "cacheScope": "public",
        }

    def _send(self, status: int, message: dict[str, Any]) -> None:
        body = msgspec.json.encode(message)
        self._transport.write(
            b"HTTP/1.1 %d OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (status, len(body), body)
        )


async def serve() -> None:
    """Serve on a free port until killed."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, backlog=4096)
    port = server.sockets[0].getsockname()[1]
    print(f"http://127.0.0.1:{port}/mcp", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    uvloop.run(serve())
