"""A server on the official SDK with one of everything, for tests. Also a program: stdio.

It asks in the form of the generation that it is called in: by a request in the middle of the call,
or by an `input_required` result. What the official suite needs is in `conformance`.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from mcp import types
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel, Field

TOOLS = (
    "add",
    "ask",
    "describe",
    "echo",
    "environment",
    "grow",
    "insist",
    "process",
    "region",
    "slow",
    "tell",
    "was_cancelled",
)


class Name(BaseModel):
    """What `ask` asks for."""

    name: str


class Served:
    """What reached the server; read by tests in the same process."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cancelled: list[str] = []
        self.slow_started = asyncio.Event()
        self.slow_ended = asyncio.Event()
        self._changed = asyncio.Event()

    def cancel(self, tag: str) -> None:
        """Note that a `slow` call was cancelled."""
        self.cancelled.append(tag)
        self._changed.set()

    async def until_cancelled(self, tag: str) -> None:
        """Wait until a `slow` call of that tag was cancelled."""
        while tag not in self.cancelled:
            self._changed.clear()
            await self._changed.wait()


def build(served: Served | None = None) -> MCPServer:
    """The server."""
    seen = served or Served()
    server = MCPServer("sample", instructions="A sample of everything.")

    @server.tool()
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        seen.calls.append("add")
        return a + b

    @server.tool()
    def echo(text: str) -> str:
        """Say it again."""
        seen.calls.append("echo")
        return text

    @server.tool()
    def describe(text: str) -> dict[str, Any]:
        """Answer with structure."""
        seen.calls.append("describe")
        return {"text": text, "length": len(text)}

    @server.tool()
    def environment() -> dict[str, str]:
        """The environment that the server was started with."""
        return dict(os.environ)

    @server.tool()
    def process() -> int:
        """The process that the server is."""
        return os.getpid()

    @server.tool()
    def region(place: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Place"})]) -> str:
        """Say a place that modern clients mirror in a header."""
        return place

    @server.tool()
    async def tell(steps: int, context: Context) -> str:
        """Report progress, then answer."""
        seen.calls.append("tell")
        for step in range(1, steps + 1):
            await context.report_progress(step, steps, f"step {step}")
        return f"{steps} steps"

    @server.tool()
    async def ask(context: Context) -> str | types.InputRequiredResult:
        """Ask for a name."""
        seen.calls.append("ask")
        if _is_legacy(context):
            answer = await context.elicit("Your name?", Name)
            return f"hello {answer.data.name}" if answer.action == "accept" else answer.action
        responses = context.input_responses
        if not responses:
            form = types.ElicitRequestFormParams(
                message="Your name?", requested_schema=Name.model_json_schema()
            )
            return types.InputRequiredResult(
                input_requests={"name": types.ElicitRequest(params=form)}, request_state="waiting"
            )
        assert context.request_state == "waiting"
        given = responses["name"]
        assert isinstance(given, types.ElicitResult)
        return f"hello {(given.content or {}).get('name')}" if given.content else given.action

    @server.tool()
    async def insist(context: Context) -> str | types.InputRequiredResult:
        """Ask again whatever the answer is."""
        return types.InputRequiredResult(input_requests={"roots": types.ListRootsRequest()})

    @server.tool()
    async def slow(tag: str = "") -> str:
        """Never answer by itself."""
        seen.calls.append("slow")
        seen.slow_started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.cancel(tag)
            raise
        finally:
            seen.slow_ended.set()
        return "never"

    @server.tool()
    async def was_cancelled(tag: str) -> bool:
        """Whether `slow` of that tag was cancelled, or is within ten seconds."""
        try:
            async with asyncio.timeout(10):
                await seen.until_cancelled(tag)
        except TimeoutError:
            return False
        return True

    @server.tool()
    async def grow(context: Context) -> str:
        """Add a tool, and say so."""
        server.add_tool(lambda: "extra", name=f"extra_{len(await server.list_tools())}")
        await context.notify_tools_changed()
        if _is_legacy(context):
            await context.session.send_tool_list_changed()
        return "grown"

    @server.resource("sample://greeting")
    def greeting() -> str:
        return "hello"

    @server.resource("sample://items/{number}")
    def item(number: str) -> str:
        return f"item {number}"

    @server.prompt()
    def summarise(topic: str) -> str:
        """Summarise a topic."""
        return f"Summarise {topic}."

    @server.completion()
    async def complete(
        ref: Any, argument: types.CompletionArgument, context: Any
    ) -> types.Completion | None:
        del ref, context
        return types.Completion(values=[f"{argument.value}one", f"{argument.value}two"])

    return server


@asynccontextmanager
async def over_http(served: Served | None = None, *, legacy: bool = False) -> AsyncIterator[str]:
    """Serve over Streamable HTTP in this loop; yields the URL. `legacy`: as one of 2025-11-25."""
    # Here, since the program below starts without the folders of pytest.
    from sdk_serving import only_legacy, serving  # noqa: PLC0415

    app: Any = build(served).streamable_http_app()
    async with serving(only_legacy(app) if legacy else app) as base:
        yield f"{base}/mcp"


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


def _is_legacy(context: Context) -> bool:
    version = context.protocol_version
    return version is not None and version < "2026"


if __name__ == "__main__":
    if sys.argv[1:] == ["--legacy"]:
        run_legacy_stdio()
    else:
        build().run("stdio")
