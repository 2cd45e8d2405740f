"""An upstream that asks more than anybody answers, and then says no more: the call ends.

The caller's task finds out itself, with nobody beside it to wake it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest
from upstream_kit import (
    ABLE,
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    raw_server,
    read_request,
    response,
)

from midflight.adapters.upstream.child import ChildSpec
from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.mcp_stdio import McpStdioUpstream
from midflight.domain.errors import UpstreamBroken
from midflight.services.ports.upstream import ClientRequest, Upstream

pytestmark = pytest.mark.anyio

MANY = 40
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
OPENED = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "serverInfo": {"name": "hostile", "version": "1"},
}
CHILD = f"""
import json, sys
def say(x): print(json.dumps(x), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if m.get("method") == "server/discover":
        say({{"jsonrpc": "2.0", "id": m["id"], "error": {{"code": -32601, "message": "no"}}}})
    elif m.get("method") == "initialize":
        say({{"jsonrpc": "2.0", "id": m["id"], "result": {OPENED!r}}})
    elif m.get("method") == "tools/call":
        for n in range({MANY}):
            say({{"jsonrpc": "2.0", "id": n, "method": "elicitation/create", "params": {{}}}})
"""


def _event(message: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n\n"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        line, _, body = await read_request(reader)
        message = json.loads(body or b"{}")
        match message.get("method"):
            case "server/discover":
                writer.write(response(b"no session", status="400 Bad Request", kind="text/plain"))
            case "initialize":
                made = {"jsonrpc": "2.0", "id": message["id"], "result": OPENED}
                writer.write(response(json.dumps(made).encode()))
            case "tools/call":
                asks = {"method": "elicitation/create", "params": {}}
                writer.write(STREAM + b"".join(_event({"id": n, **asks}) for n in range(MANY)))
            case _ if line.startswith("GET"):
                writer.write(response(status="405 Method Not Allowed"))
            case _:
                writer.write(response(status="202 Accepted"))
        await writer.drain()


async def _never(request: ClientRequest) -> Any:
    del request
    await asyncio.Event().wait()


async def _asked_too_much(upstream: Upstream) -> None:
    await upstream.start(Notices())
    with pytest.raises(UpstreamBroken, match="asked too much at once"):
        async with asyncio.timeout(20) as limit:
            await upstream.call(
                call_tool("echo"),
                seat=ABLE,
                flight=FakeFlight(),
                sink=RecordingSink(ABLE.capabilities, answers=_never),
            )
    assert not limit.expired()
    await upstream.close()


async def test_a_child_that_asks_too_much_and_falls_silent_does_not_keep_the_call() -> None:
    spec = ChildSpec(command=sys.executable, args=("-c", CHILD), close_grace=0.3, term_grace=0.3)
    await _asked_too_much(McpStdioUpstream("hostile", sys.executable, spec=spec))


async def test_a_stream_that_asks_too_much_and_falls_silent_does_not_keep_the_call() -> None:
    async with raw_server(_serve) as url:
        await _asked_too_much(McpHttpUpstream("hostile", url))
