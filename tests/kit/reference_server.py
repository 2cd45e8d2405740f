"""An MCP server built with the official SDK: over stdio when run, as an app otherwise."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Annotated, Any

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from mcp_types import (
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    InputRequiredResult,
    ListRootsRequest,
)
from pydantic import BaseModel, Field

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


class Name(BaseModel):
    name: str


class Journal:
    """What the server noticed; read by tests in the same process."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.cancelled: list[str] = []
        self.changed = asyncio.Event()

    def note(self, where: list[str], what: str) -> None:
        where.append(what)
        self.changed.set()

    async def until(self, where: list[str], what: str) -> None:
        async with asyncio.timeout(10):
            while what not in where:
                self.changed.clear()
                await self.changed.wait()


def make_server(journal: Journal | None = None) -> MCPServer:
    journal = journal or Journal()
    server = MCPServer("reference", instructions="For tests.")

    @server.tool()
    def echo(text: str) -> str:
        return text

    @server.tool()
    def environment() -> dict[str, str]:
        return dict(os.environ)

    @server.tool()
    def process() -> int:
        return os.getpid()

    @server.tool()
    def region(place: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Place"})]) -> str:
        return place

    @server.tool()
    async def forever(tag: str) -> str:
        journal.note(journal.started, tag)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            journal.note(journal.cancelled, tag)
            raise
        return "never"

    @server.tool()
    async def cancelled(tag: str) -> bool:
        """Whether `forever` of that tag was cancelled, or is within ten seconds."""
        try:
            await journal.until(journal.cancelled, tag)
        except TimeoutError:
            return False
        return True

    @server.tool()
    async def steps(count: int, ctx: Context) -> str:
        for step in range(count):
            await ctx.report_progress(step + 1, count, f"step {step + 1}")
        return f"{count} steps"

    @server.tool()
    async def greet(ctx: Context) -> str | InputRequiredResult:
        version = ctx.protocol_version
        if version is not None and version < "2026":
            answer = await ctx.elicit("Who are you?", Name)
            if answer.action == "accept":
                return f"Hello {answer.data.name}"
            return f"{answer.action}"
        responses = ctx.input_responses
        if not responses:
            return InputRequiredResult(
                input_requests={
                    "who": ElicitRequest(
                        params=ElicitRequestFormParams(
                            message="Who are you?", requested_schema=Name.model_json_schema()
                        )
                    )
                },
                request_state="state-1",
            )
        assert ctx.request_state == "state-1"
        who = responses["who"]
        assert isinstance(who, ElicitResult)
        if who.action == "accept" and who.content is not None:
            return f"Hello {who.content['name']}"
        return who.action

    @server.tool()
    async def insist(ctx: Context) -> str | InputRequiredResult:
        return InputRequiredResult(input_requests={"roots": ListRootsRequest()})

    @server.tool()
    async def grow(ctx: Context) -> str:
        def extra() -> str:
            return "extra"

        server.add_tool(extra, name=f"extra_{len(await server.list_tools())}")
        await ctx.notify_tools_changed()
        if ctx.protocol_version is not None and ctx.protocol_version < "2026":
            await ctx.session.send_tool_list_changed()
        return "grown"

    @server.tool()
    async def touch(uri: str, ctx: Context) -> str:
        await ctx.notify_resource_updated(uri)
        if ctx.protocol_version is not None and ctx.protocol_version < "2026":
            await ctx.session.send_resource_updated(uri)
        return "touched"

    @server.resource("note://{name}")
    def note(name: str) -> str:
        return f"note {name}"

    @server.resource("page://one")
    def page() -> str:
        return "page one"

    @server.prompt()
    def ask(topic: str) -> str:
        return f"Tell me about {topic}"

    return server


@contextlib.asynccontextmanager
async def serving(app: object) -> AsyncIterator[str]:
    """Serve an ASGI app on loopback, in this loop; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        log_config=None,
        lifespan="on",
        ws="none",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(20):
            while not server.started:
                if task.done():
                    task.result()
                await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listener.close()


def only_legacy(app: ASGI) -> ASGI:
    """Hide the modern generation of an app, as a server of 2025-11-25 would answer."""

    async def legacy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-protocol-version") == (
            b"2026-07-28"
        ):
            body = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad"}}'
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    return legacy


def run_legacy_stdio() -> None:
    """Serve over stdio as a server of 2025-11-25: `server/discover` is not known."""
    relay = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=sys.stdout.buffer
    )
    assert relay.stdin is not None
    for line in sys.stdin.buffer:
        message = json.loads(line)
        if message.get("method") == "server/discover":
            error = {"code": -32601, "message": "Method not found"}
            answer = {"jsonrpc": "2.0", "id": message["id"], "error": error}
            sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
            sys.stdout.buffer.flush()
            continue
        relay.stdin.write(line)
        relay.stdin.flush()
    relay.stdin.close()
    relay.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["--legacy"]:
        run_legacy_stdio()
    else:
        make_server().run()
