"""What is cut is answered from beside its task: in no other response, and with no other's id."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bare_client import PREFIX, Modern, modern
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel
from sdk_serving import only_legacy, serving

from gateways import AGENT, OPERATOR, running_gateway
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.refusal import REFUSAL

pytestmark = pytest.mark.anyio

SCOPE = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)


class Name(BaseModel):
    """What is asked for."""

    name: str


def asking(answered: asyncio.Event) -> Any:
    """A server that asks in the middle of a call, and then never comes to an end."""
    server = MCPServer("asking")

    @server.tool()
    async def ask(context: Context) -> str:
        """Ask for a name."""
        await context.elicit("Your name?", Name)
        answered.set()
        await asyncio.Event().wait()
        return "never"

    return only_legacy(server.streamable_http_app())


def calling(client: Modern, **params: Any) -> dict[str, Any]:
    meta = {f"{PREFIX}clientCapabilities": {"elicitation": {"form": {}}}}
    return client.request("tools/call", name="ask", arguments={}, _meta=meta, **params)


async def test_a_retry_that_is_cut_is_answered_with_its_own_id(tmp_path: Path) -> None:
    answered = asyncio.Event()
    async with serving(asking(answered)) as base:
        upstreams = [{"name": "up", "url": f"{base}/mcp"}]
        async with running_gateway(tmp_path, upstreams) as gateway:
            await gateway.pin_all()
            async with modern(gateway, "/mcp/up") as client:
                first = calling(client)
                asked = (await client.post(first)).json()
                assert asked["id"] == first["id"]
                (key,) = asked["result"]["inputRequests"]
                given = {key: {"action": "accept", "content": {"name": "Ada"}}}
                state = asked["result"]["requestState"]
                retry = calling(client, requestState=state, inputResponses=given)
                doing = asyncio.ensure_future(client.post(retry))
                await answered.wait()
                await gateway.plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
                told = (await doing).json()
    assert told["result"]["_meta"][REFUSAL]["code"] == "interrupted"
    assert told["id"] == retry["id"]
