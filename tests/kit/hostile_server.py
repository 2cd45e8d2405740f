"""An upstream over HTTP that says what a test lets it say, in either generation, and keeps it all.

Answers come from `answers`, by method: a result, or a coroutine of the params that makes one. What
is not there gets an empty result. Nothing of it is checked: that is the gateway's business.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from upstream_kit import raw_server, read_request, response

Answer = dict[str, Any] | Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
CAPABILITIES = {"tools": {"listChanged": True}, "resources": {"subscribe": True}, "prompts": {}}


def tool(name: str, **more: Any) -> dict[str, Any]:
    """A definition."""
    return {"name": name, "description": name, "inputSchema": {"type": "object"}, **more}


class Hostile:
    """See the module."""

    def __init__(self, *, modern: bool, tools: tuple[str, ...] = ("look",)) -> None:
        self.modern = modern
        self.url = ""
        self.heard: list[tuple[str, dict[str, Any]]] = []
        self.answers: dict[str, Answer] = {
            "tools/list": {"tools": [tool(name) for name in tools]},
            "prompts/list": {"prompts": []},
            "resources/list": {"resources": []},
            "resources/templates/list": {"resourceTemplates": []},
            "tools/call": {"content": [{"type": "text", "text": "done"}]},
        }
        self.notices: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def methods(self) -> list[str]:
        """What was asked, in order."""
        return [method for method, _ in self.heard]

    def notify(self, method: str, **params: Any) -> None:
        """Say something on the standing stream, if somebody listens (legacy)."""
        self.notices.put_nowait({"jsonrpc": "2.0", "method": method, "params": params})

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        while True:
            line, _, body = await read_request(reader)
            if line.startswith("GET"):
                await self._stream(writer)
                return
            if line.startswith("DELETE"):
                writer.write(response(status="204 No Content"))
                continue
            message = json.loads(body)
            method, params = message.get("method", "an answer"), message.get("params", {})
            self.heard.append((method, params or message.get("result", {})))
            writer.write(await self._reply(method, params, message.get("id")))
            await writer.drain()

    async def _reply(self, method: str, params: dict[str, Any], request_id: object) -> bytes:
        if method == "server/discover" and not self.modern:
            return response(b"no session", status="400 Bad Request", kind="text/plain")
        if request_id is None or method == "an answer":
            return response(status="202 Accepted")
        extra = ""
        match method:
            case "server/discover":
                result: dict[str, Any] = {
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": CAPABILITIES,
                }
            case "initialize":
                result = {
                    "protocolVersion": "2025-11-25",
                    "capabilities": CAPABILITIES,
                    "serverInfo": {"name": "hostile", "version": "0"},
                }
                extra = f"mcp-session-id: s{len(self.heard)}\r\n"
            case _:
                made = self.answers.get(method, {})
                result = made if isinstance(made, dict) else await made(params)
        message = {"jsonrpc": "2.0", "id": request_id, "result": result}
        return response(json.dumps(message).encode(), extra=extra)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
        )
        while True:
            await writer.drain()
            writer.write(b"data: " + json.dumps(await self.notices.get()).encode() + b"\n\n")


@contextlib.asynccontextmanager
async def hostile(*, modern: bool = True, tools: tuple[str, ...] = ("look",)) -> AsyncIterator[Any]:
    """Serve one on loopback; `url` says where."""
    server = Hostile(modern=modern, tools=tools)
    async with raw_server(server.serve) as url:
        server.url = url
        yield server


__all__ = ["Hostile", "hostile", "tool"]
