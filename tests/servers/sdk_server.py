"""A server on the official SDK with one of everything, for tests. Also a program: stdio.

In the legacy generation it asks in the middle of a call; in the modern one it answers
`input_required`. `legacy_only` makes an app that knows nothing of the modern generation.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from mcp import types
from mcp.server import MCPServer
from mcp.server.elicitation import AcceptedElicitation
from mcp.server.mcpserver import Context
from pydantic import BaseModel

TOOLS = ("add", "ask", "ask_modern", "describe", "slow", "tell")


class Name(BaseModel):
    """What `ask` asks for."""

    name: str


class Served:
    """Counts what reaches the server."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.cancelled = 0
        self.slow_started = asyncio.Event()
        self.slow_ended = asyncio.Event()


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
    async def tell(steps: int, context: Context) -> str:
        """Report progress, then answer."""
        seen.calls.append("tell")
        for step in range(1, steps + 1):
            await context.report_progress(step, steps, f"step {step}")
        return f"{steps} steps"

    @server.tool()
    async def ask(context: Context) -> str:
        """Ask for a name in the middle of the call."""
        seen.calls.append("ask")
        answer = await context.elicit("Your name?", Name)
        if isinstance(answer, AcceptedElicitation):
            return f"hello {answer.data.name}"
        return f"you said {answer.action}"

    @server.tool()
    async def ask_modern(context: Context) -> str | types.InputRequiredResult:
        """Ask for a name by an interim result."""
        seen.calls.append("ask_modern")
        responses = context.input_responses
        if responses is None or "name" not in responses:
            form = types.ElicitRequestFormParams(
                message="Your name?",
                requested_schema={
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                },
            )
            return types.InputRequiredResult(
                input_requests={"name": types.ElicitRequest(params=form)}, request_state="waiting"
            )
        answer = responses["name"]
        assert isinstance(answer, types.ElicitResult)
        return f"hello {(answer.content or {}).get('name')}"

    @server.tool()
    async def slow() -> str:
        """Never answer by itself."""
        seen.calls.append("slow")
        seen.slow_started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.cancelled += 1
            raise
        finally:
            seen.slow_ended.set()
        return "never"

    @server.tool()
    def describe(text: str) -> dict[str, Any]:
        """Answer with structure."""
        seen.calls.append("describe")
        return {"text": text, "length": len(text)}

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


def legacy_only(app: Any) -> Any:
    """An ASGI app that answers requests of the modern generation as a legacy server does."""

    async def wrapped(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            versions = [v for k, v in scope["headers"] if k == b"mcp-protocol-version"]
            if versions and versions[0] == b"2026-07-28":
                await send({"type": "http.response.start", "status": 400, "headers": []})
                await send({"type": "http.response.body", "body": b"Bad Request: no session"})
                return
        await app(scope, receive, send)

    return wrapped


@asynccontextmanager
async def over_http(served: Served, *, legacy: bool = False) -> AsyncIterator[str]:
    """Serve over Streamable HTTP in this loop; yields the URL."""
    app: Any = build(served).streamable_http_app()
    if legacy:
        app = legacy_only(app)
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_config=None, log_level="critical", lifespan="on", loop="none"
    )
    server = uvicorn.Server(config)
    # uvicorn would take the test runner's signals.
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign]
    task = asyncio.ensure_future(server.serve())
    while not server.started:
        await asyncio.sleep(0)
        if task.done():
            task.result()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


if __name__ == "__main__":
    build().run("stdio")
