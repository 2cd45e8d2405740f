"""Sessions of legacy clients through the gateway: their end, their streams, batches, notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bare_client import bare, final, legacy, messages

from conformance.reference_server import reference
from gateways import Gateway
from midflight.domain.records import Outcome, Terminal
from servers.sdk_server import Served, over_http

pytestmark = [
    pytest.mark.anyio,
    # What is deprecated in the modern generation is what legacy clients have.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

VERSIONS = ["2025-03-26", "2025-06-18", "2025-11-25"]
GENERATIONS = pytest.mark.parametrize("upstream_is_legacy", [True, False], ids=["legacy", "modern"])
WATCHED = "test://watched-resource"


@contextlib.asynccontextmanager
async def sample(gateway_factory: Any, served: Served | None = None) -> AsyncIterator[Gateway]:
    async with (
        over_http(served) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


@contextlib.asynccontextmanager
async def changing(gateway_factory: Any, *, upstream_is_legacy: bool) -> AsyncIterator[Gateway]:
    """Before the reference server, whose lists and resources change when asked."""
    async with (
        reference(legacy=upstream_is_legacy) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


async def outcomes(gateway: Gateway) -> list[Terminal]:
    await gateway.plane.ledger.flush()
    tail = await gateway.plane.ledger.tail(100)
    return [found.record.state for found in tail if isinstance(found.record, Outcome)]


@pytest.mark.parametrize("version", VERSIONS)
async def test_every_legacy_version_has_its_sessions(version: str, gateway_factory: Any) -> None:
    async with sample(gateway_factory) as gateway, legacy(gateway, version=version) as client:
        assert (await client.ask("ping"))["result"] == {}
        assert "result" in await client.call("add", a=1, b=1)


async def test_a_session_that_its_client_ended_is_gone(gateway_factory: Any) -> None:
    async with sample(gateway_factory) as gateway, legacy(gateway) as client:
        assert (await client.delete()).status_code == 204
        again = await client.post(client.request("ping"))
        assert again.status_code == 404
        assert (await client.delete()).status_code == 404


async def test_a_session_of_another_run_does_not_exist(gateway_factory: Any) -> None:
    async with sample(gateway_factory) as gateway:
        run = await gateway.open_run()
        async with legacy(gateway) as owner, bare(gateway, token=await gateway.token(run)) as http:
            stolen = {name: owner.http.headers[name] for name in ("mcp-session-id",)}
            answer = await http.post(owner.url, json=owner.request("ping"), headers=stolen)
            assert answer.status_code == 404
            ended = await http.delete(owner.url, headers=stolen)
            assert ended.status_code == 404
            assert (await owner.ask("ping"))["result"] == {}


async def test_a_session_belongs_to_one_endpoint(gateway_factory: Any) -> None:
    async with sample(gateway_factory) as gateway, legacy(gateway) as client:
        client.url = f"{gateway.url}/mcp/one"
        assert (await client.post(client.request("ping"))).status_code == 404


async def test_a_batch_is_answered_whole_in_the_version_that_has_batches(
    gateway_factory: Any,
) -> None:
    async with sample(gateway_factory) as gateway:
        async with legacy(gateway, version="2025-03-26") as client:
            sums = [
                client.request("tools/call", name="add", arguments={"a": n, "b": 1})
                for n in range(3)
            ]
            noticed = {"jsonrpc": "2.0", "method": "notifications/roots/list_changed"}
            answered = messages(await client.post([*sums, noticed]))
            found = {m["id"]: m["result"]["structuredContent"]["result"] for m in answered}
            assert found == {m["id"]: n + 1 for n, m in enumerate(sums)}
            nothing_owed = await client.post([noticed])
            assert (nothing_owed.status_code, nothing_owed.content) == (202, b"")
        async with legacy(gateway, version="2025-06-18") as client:
            refused = await client.post([client.request("ping")])
            assert refused.status_code == 400
            assert final(refused)["error"]["code"] == -32600


async def test_a_legacy_client_cancels_its_call_by_a_notification(gateway_factory: Any) -> None:
    served = Served()
    async with sample(gateway_factory, served) as gateway, legacy(gateway) as client:
        request = client.request("tools/call", name="slow", arguments={"tag": "mine"})
        call = asyncio.ensure_future(client.post(request))
        await served.slow_started.wait()
        await client.tell("notifications/cancelled", requestId=request["id"], reason="enough")
        answer = await call
        assert final(answer)["error"]["code"] == -32800
        await served.until_cancelled("mine")
        assert (await outcomes(gateway))[-1] is Terminal.CANCELLED


async def test_a_client_cannot_cancel_what_is_not_its_own(gateway_factory: Any) -> None:
    served = Served()
    async with sample(gateway_factory, served) as gateway:
        run = await gateway.open_run()
        async with (
            legacy(gateway) as owner,
            legacy(gateway, token=await gateway.token(run)) as thief,
        ):
            request = owner.request("tools/call", name="slow", arguments={})
            call = asyncio.ensure_future(owner.post(request))
            await served.slow_started.wait()
            await thief.tell("notifications/cancelled", requestId=request["id"])
            assert (await thief.call("add", a=1, b=1))["result"]["structuredContent"]
            assert not call.done()
            assert served.cancelled == []
            await owner.tell("notifications/cancelled", requestId=request["id"])
            await call


async def test_the_end_of_a_session_cancels_what_it_has_in_flight(gateway_factory: Any) -> None:
    served = Served()
    async with sample(gateway_factory, served) as gateway, legacy(gateway) as client:
        request = client.request("tools/call", name="slow", arguments={"tag": "left"})
        call = asyncio.ensure_future(client.post(request))
        await served.slow_started.wait()
        await client.delete()
        await served.until_cancelled("left")
        await call
        assert (await outcomes(gateway))[-1] is Terminal.CANCELLED


@GENERATIONS
async def test_a_changed_list_reaches_the_sessions_own_stream(
    upstream_is_legacy: bool, gateway_factory: Any
) -> None:
    async with (
        changing(gateway_factory, upstream_is_legacy=upstream_is_legacy) as gateway,
        legacy(gateway) as client,
        client.listening() as stream,
    ):
        assert stream.response.status_code == 200
        told = asyncio.ensure_future(stream.next_of("notifications/tools/list_changed"))
        while not told.done():
            # Midflight's own stream at the upstream may be a moment behind its first call.
            await client.call("test_trigger_tool_change")
            await asyncio.sleep(0)
        assert "params" not in told.result() or told.result()["params"] == {}
        # By then the catalogue has looked: what drifted is not shown any more.
        listed = (await client.ask("tools/list"))["result"]["tools"]
        assert "test_changing_tool" not in {tool["name"] for tool in listed}


@GENERATIONS
async def test_an_update_of_a_subscribed_resource_reaches_the_sessions_own_stream(
    upstream_is_legacy: bool, gateway_factory: Any
) -> None:
    async with (
        changing(gateway_factory, upstream_is_legacy=upstream_is_legacy) as gateway,
        legacy(gateway) as client,
        client.listening() as stream,
    ):
        assert (await client.ask("resources/subscribe", uri=WATCHED))["result"] == {}
        told = asyncio.ensure_future(stream.next_of("notifications/resources/updated"))
        while not told.done():
            # As above.
            await client.call("test_touch_resource", uri=WATCHED)
            await asyncio.sleep(0)
        assert told.result()["params"]["uri"] == WATCHED
        assert (await client.ask("resources/unsubscribe", uri=WATCHED))["result"] == {}


async def test_a_session_has_one_stream_of_its_own(gateway_factory: Any) -> None:
    async with (
        sample(gateway_factory) as gateway,
        legacy(gateway) as client,
        client.listening() as first,
    ):
        assert first.response.status_code == 200
        async with client.listening() as second:
            assert second.response.status_code == 409


async def test_the_sessions_stream_ends_with_the_session(gateway_factory: Any) -> None:
    async with (
        sample(gateway_factory) as gateway,
        legacy(gateway) as client,
        client.listening() as stream,
    ):
        await client.delete()
        assert await stream.next() is None


@GENERATIONS
async def test_log_messages_come_as_far_as_the_session_wants_them(
    upstream_is_legacy: bool, gateway_factory: Any
) -> None:
    async with (
        changing(gateway_factory, upstream_is_legacy=upstream_is_legacy) as gateway,
        legacy(gateway) as client,
    ):
        assert (await client.ask("logging/setLevel", level="info"))["result"] == {}
        request = client.request("tools/call", name="test_tool_with_logging", arguments={})
        said = messages(await client.post(request))
        logged = [m["params"]["level"] for m in said if m.get("method") == "notifications/message"]
        assert logged
        assert set(logged) == {"info"}
        refused = await client.ask("logging/setLevel", level="shout")
        assert "error" in refused
