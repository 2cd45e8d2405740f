"""`subscriptions/listen` of modern clients, over upstreams of both generations."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bare_client import PREFIX, Modern, Stream, modern

from conformance.reference_server import reference
from gateways import AGENT, OPERATOR, Gateway
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.refusal import REFUSAL

pytestmark = [
    pytest.mark.anyio,
    # What is deprecated in the modern generation is what legacy clients have.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

GENERATIONS = pytest.mark.parametrize("upstream_is_legacy", [True, False], ids=["legacy", "modern"])
ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
WATCHED = "test://watched-resource"
WANTED = {"toolsListChanged": True, "resourceSubscriptions": [WATCHED]}


@contextlib.asynccontextmanager
async def gateway_of(gateway_factory: Any, *, upstream_is_legacy: bool) -> AsyncIterator[Gateway]:
    async with (
        reference(legacy=upstream_is_legacy) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


@contextlib.asynccontextmanager
async def listening(client: Modern, wanted: dict[str, Any]) -> AsyncIterator[tuple[Any, Stream]]:
    """(id of the request, its stream) of a listener that is acknowledged."""
    request = client.request("subscriptions/listen", notifications=wanted)
    async with client.streaming(request) as stream:
        first = await stream.next()
        assert first is not None
        assert first["method"] == ACKNOWLEDGED
        assert first["params"]["notifications"] == wanted
        yield request["id"], stream


async def heard_while(
    stream: Stream, method: str, client: Modern, tool: str, **arguments: Any
) -> Any:
    """Call a tool until its change is heard."""
    told = asyncio.ensure_future(stream.next_of(method))
    while not told.done():
        await client.call(tool, **arguments)
        await asyncio.sleep(0)
    return told.result()


@GENERATIONS
async def test_a_changed_list_is_heard_under_the_listeners_own_id(
    upstream_is_legacy: bool, gateway_factory: Any
) -> None:
    async with (
        gateway_of(gateway_factory, upstream_is_legacy=upstream_is_legacy) as gateway,
        modern(gateway) as client,
        listening(client, {"toolsListChanged": True}) as (request_id, stream),
    ):
        method = "notifications/tools/list_changed"
        told = await heard_while(stream, method, client, "test_trigger_tool_change")
        assert told["params"]["_meta"][f"{PREFIX}subscriptionId"] == request_id
        listed = (await client.ask("tools/list"))["result"]["tools"]
        assert "test_changing_tool" not in {tool["name"] for tool in listed}


@GENERATIONS
async def test_an_update_of_a_resource_is_heard(
    upstream_is_legacy: bool, gateway_factory: Any
) -> None:
    async with (
        gateway_of(gateway_factory, upstream_is_legacy=upstream_is_legacy) as gateway,
        modern(gateway) as client,
        listening(client, WANTED) as (request_id, stream),
    ):
        method = "notifications/resources/updated"
        told = await heard_while(stream, method, client, "test_touch_resource", uri=WATCHED)
        assert told["params"]["uri"] == WATCHED
        assert told["params"]["_meta"][f"{PREFIX}subscriptionId"] == request_id


async def test_what_was_not_asked_for_is_not_heard(gateway_factory: Any) -> None:
    async with (
        gateway_of(gateway_factory, upstream_is_legacy=True) as gateway,
        modern(gateway) as client,
        listening(client, {"promptsListChanged": True}) as (_, narrow),
        listening(client, {"toolsListChanged": True, "promptsListChanged": True}) as (_, wide),
    ):
        method = "notifications/tools/list_changed"
        await heard_while(wide, method, client, "test_trigger_tool_change")
        method = "notifications/prompts/list_changed"
        await heard_while(wide, method, client, "test_trigger_prompt_change")
        first = await narrow.next()
        assert first is not None
        assert first["method"] == method


async def test_a_listener_whose_run_is_revoked_is_told_the_end(gateway_factory: Any) -> None:
    async with (
        gateway_of(gateway_factory, upstream_is_legacy=True) as gateway,
        modern(gateway) as client,
        listening(client, WANTED) as (request_id, stream),
    ):
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="stolen key", author=OPERATOR
        )
        last = await stream.next()
        assert last is not None
        assert (last["id"], last["result"]["resultType"]) == (request_id, "complete")
        assert await stream.next() is None
        again = await client.ask("subscriptions/listen", notifications=WANTED)
        assert again["error"]["data"][REFUSAL]["code"] == "revoked"


async def test_a_listener_that_leaves_gives_its_subscriptions_back(gateway_factory: Any) -> None:
    async with (
        gateway_of(gateway_factory, upstream_is_legacy=True) as gateway,
        modern(gateway) as client,
    ):
        async with listening(client, WANTED):
            assert (
                len(gateway.plane.interruption.flights()) == 2
            )  # the stream and what it subscribed
        while gateway.plane.interruption.flights():
            await asyncio.sleep(0)
