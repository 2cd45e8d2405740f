"""A modern MCP server that counts what it receives, over HTTP in this loop or over stdio.

What it counts are the bytes of the messages of actions: bodies of requests, lines without their
end, cut ones included. Tools: `note` answers at once; `hold` never, and heeds no cancellation;
`late` answers when the test lets it; `work` answers with a task that runs until it is cancelled.

As a program it writes what it counted into the file that it is given, a line for each message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httptools

TOOLS = ("note", "hold", "late", "work")
OWN = frozenset({"server/discover", "tools/list", "subscriptions/listen", "tasks/cancel"})
"""What Midflight asks for itself."""


class Counted:
    """What was received."""

    def __init__(self, *, deaf: bool = False) -> None:
        """With `deaf` it does not answer cancellations of tasks."""
        self.deaf = deaf
        self.bytes = 0
        self.calls: list[str] = []
        self.nonces: list[str] = []
        self.cancelled: list[str] = []
        self.tasks = 0
        self.url = ""
        self.changed = asyncio.Event()
        self.let_go = asyncio.Event()
        self.connections: set[_Connection] = set()

    def count(self, nbytes: int) -> None:
        """Bytes of an action."""
        self.bytes += nbytes
        self.changed.set()

    async def until(self, calls: int) -> None:
        """Wait until so many calls have come."""
        while len(self.calls) < calls:
            self.changed.clear()
            await self.changed.wait()

    def answer(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """The result, or None where none is given now."""
        params = message.get("params", {})
        match message["method"]:
            case "server/discover":
                return {
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"tools": {}},
                    "ttlMs": 1_000_000,
                    "cacheScope": "public",
                    "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "c", "version": "1"}},
                }
            case "tools/list":
                return {
                    "resultType": "complete",
                    "tools": [
                        {"name": name, "description": name, "inputSchema": {"type": "object"}}
                        for name in TOOLS
                    ],
                    "ttlMs": 1_000_000,
                    "cacheScope": "public",
                }
            case "tasks/cancel":
                self.cancelled.append(params["taskId"])
                self.changed.set()
                return None if self.deaf else {"resultType": "complete"}
            case "tools/call":
                name = params["name"]
                self.calls.append(name)
                self.nonces.append(str(params.get("arguments", {}).get("nonce", "")))
                self.changed.set()
                if name == "work":
                    self.tasks += 1
                    return {
                        "resultType": "task",
                        "taskId": f"task-{self.tasks}",
                        "status": "working",
                    }
                if name in {"hold", "late"}:
                    return None
            case _:
                pass
        return {"resultType": "complete", "content": [{"type": "text", "text": "noted"}]}


class _Connection(asyncio.Protocol):
    def __init__(self, counted: Counted) -> None:
        self._counted = counted
        self._body = b""
        self._method = ""
        self._late: asyncio.Task[None] | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._counted.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._counted.connections.discard(self)
        if self._late is not None:
            self._late.cancel()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body, self._method = b"", ""

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"mcp-method":
            self._method = value.decode()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if self._method not in OWN:
            self._counted.count(len(body))

    def on_message_complete(self) -> None:
        message = json.loads(self._body)
        result = self._counted.answer(message)
        if result is not None:
            self._send(message["id"], result)
        elif message["params"].get("name") == "late":
            self._late = asyncio.ensure_future(self._later(message["id"]))

    async def _later(self, number: Any) -> None:
        await self._counted.let_go.wait()
        self._send(
            number, {"resultType": "complete", "content": [{"type": "text", "text": "late"}]}
        )

    def _send(self, number: Any, result: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % len(body) + body)


@asynccontextmanager
async def counting(**settings: Any) -> AsyncIterator[Counted]:
    """Serve over HTTP in this loop."""
    counted = Counted(**settings)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(counted), "127.0.0.1", 0
    )
    counted.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp"
    try:
        yield counted
    finally:
        server.close()
        for connection in list(counted.connections):
            connection.transport.abort()


def command(journal: Path) -> dict[str, Any]:
    """How to configure it over stdio; what it counted is in the file."""
    return {"command": sys.executable, "args": [str(Path(__file__)), str(journal)]}


def counted_in(journal: Path) -> dict[str, Any]:
    """What the program over stdio has counted, in all its processes: one runs for each run."""
    text = journal.read_text(encoding="utf-8") if journal.exists() else ""
    lines = [json.loads(line) for line in text.splitlines()]
    return {
        "bytes": sum(line["bytes"] for line in lines),
        "calls": [line["call"] for line in lines if line["call"]],
        "cancelled": [line["cancelled"] for line in lines if line["cancelled"]],
    }


def main() -> None:
    """Serve over stdio."""
    counted = Counted()
    with Path(sys.argv[1]).open("a", encoding="utf-8") as journal:
        for line in sys.stdin.buffer:
            message = json.loads(line)
            method, params = message.get("method", ""), message.get("params", {})
            own = method in OWN | {"notifications/cancelled"}
            said = {
                "bytes": 0 if own else len(line.rstrip(b"\n")),
                "call": params.get("name", ""),
                "cancelled": params["taskId"] if method == "tasks/cancel" else "",
            }
            journal.write(json.dumps(said) + "\n")
            journal.flush()
            result = counted.answer(message) if "id" in message else None
            if result is not None:
                answer = {"jsonrpc": "2.0", "id": message["id"], "result": result}
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main()

__all__ = ["OWN", "TOOLS", "Counted", "command", "counted_in", "counting"]
