"""The official client in both generations, against real servers of both, over HTTP and stdio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp import types

from gateways import AGENT, OPERATOR
from midflight.domain.records import Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.refusal import REFUSAL
from servers.sdk_server import TOOLS, Served, over_http

pytestmark = pytest.mark.anyio

SERVER = Path(__file__).parents[1] / "servers" / "sdk_server.py"
MODES = ["2026-07-28", "auto", "legacy"]
UPSTREAMS = ["http", "http-legacy", "stdio"]


@asynccontextmanager
async def upstream(kind: str, served: Served) -> AsyncIterator[dict[str, Any]]:
    if kind == "stdio":
        yield {"name": "one", "command": sys.executable, "args": (str(SERVER),), "reach": "closed"}
        return
    async with over_http(served, legacy=kind == "http-legacy") as url:
        yield {"name": "one", "url": url, "reach": "closed"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", UPSTREAMS)
async def test_everything_a_server_offers_passes(
    kind: str, mode: str, gateway_factory: Any
) -> None:
    async with upstream(kind, Served()) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        async with gateway.client(mode=mode) as client:
            tools = (await client.list_tools()).tools
            assert sorted(t.name for t in tools) == sorted(TOOLS)
            added = await client.call_tool("add", {"a": 2, "b": 3})
            assert added.structured_content == {"result": 5}
            described = await client.call_tool("describe", {"text": "naïve ☃"})
            assert described.structured_content == {"text": "naïve ☃", "length": 7}
            assert [str(r.uri) for r in (await client.list_resources()).resources] == [
                "sample://greeting"
            ]
            (contents,) = (await client.read_resource("sample://greeting")).contents
            assert isinstance(contents, types.TextResourceContents)
            assert contents.text == "hello"
            (item,) = (await client.read_resource("sample://items/7")).contents
            assert isinstance(item, types.TextResourceContents)
            assert item.text == "item 7"
            templates = (await client.list_resource_templates()).resource_templates
            assert [t.uri_template for t in templates] == ["sample://items/{number}"]
            assert [p.name for p in (await client.list_prompts()).prompts] == ["summarise"]
            prompt = await client.get_prompt("summarise", {"topic": "x"})
            assert "Summarise x." in str(prompt.messages)
            completed = await client.complete(
                types.PromptReference(name="summarise"), {"name": "topic", "value": "t"}
            )
            assert completed.completion.values == ["tone", "ttwo"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", UPSTREAMS)
async def test_progress_reaches_the_client_with_its_own_token(
    kind: str, mode: str, gateway_factory: Any
) -> None:
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        del total, message
        seen.append(done)

    async with upstream(kind, Served()) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        async with gateway.client(mode=mode) as client:
            result = await client.call_tool("tell", {"steps": 3}, progress_callback=progress)
            assert "3 steps" in str(result.content)
    assert seen == [1, 2, 3]


async def answer_name(context: Any, params: Any) -> types.ElicitResult:
    del context, params
    return types.ElicitResult(action="accept", content={"name": "ada"})


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        ("http-legacy", "legacy"),
        ("http-legacy", "2026-07-28"),
        ("http", "2026-07-28"),
        ("http", "legacy"),
    ],
)
async def test_a_question_in_the_middle_of_a_call_passes_between_generations(
    kind: str, mode: str, gateway_factory: Any
) -> None:
    async with upstream(kind, Served()) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        async with gateway.client(mode=mode, elicitation_callback=answer_name) as client:
            result = await client.call_tool("ask", {})
            assert "hello ada" in str(result.content), result


@pytest.mark.parametrize("mode", ["2026-07-28", "legacy"])
@pytest.mark.parametrize("kind", ["http", "http-legacy"])
async def test_a_revoked_call_is_cut_and_the_upstream_told(
    kind: str, mode: str, gateway_factory: Any
) -> None:
    served = Served()
    async with upstream(kind, served) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        async with gateway.client(mode=mode) as client:
            call = asyncio.ensure_future(client.call_tool("slow", {}))
            await served.slow_started.wait()
            receipt = await gateway.plane.interruption.revoke(
                Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="stolen key", author=OPERATOR
            )
            result = await call
            assert result.is_error
            refusal = (result.meta or {})[REFUSAL]
            assert refusal["code"] == "interrupted"
            assert "stolen key" in str(result.content)
            assert len(receipt.impact.cut) == 1
            await served.slow_ended.wait()
            assert served.cancelled == [""]
            again = await client.call_tool("add", {"a": 1, "b": 1})
            assert (again.meta or {})[REFUSAL]["code"] == "revoked"
    assert "add" not in served.calls


async def test_a_modern_client_that_closes_its_stream_cancels_the_call(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with upstream("http", served) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        async with gateway.client(mode="2026-07-28") as client:
            call = asyncio.ensure_future(client.call_tool("slow", {}))
            await served.slow_started.wait()
            call.cancel()
            await served.slow_ended.wait()
        await gateway.plane.ledger.flush()
        tail = await gateway.plane.ledger.tail(50)
    outcomes = [found.record for found in tail if isinstance(found.record, Outcome)]
    assert outcomes[-1].state is Terminal.CANCELLED


async def test_all_upstreams_together_prefix_only_names_that_collide(
    gateway_factory: Any,
) -> None:
    async with over_http(Served()) as first, over_http(Served()) as second:
        entries = [
            {"name": "one", "url": first, "reach": "closed"},
            {"name": "two", "url": second, "reach": "closed"},
        ]
        async with gateway_factory(entries) as gateway:
            await gateway.pin_all()
            async with gateway.client() as client:
                names = {t.name for t in (await client.list_tools()).tools}
                assert names == {f"{u}__{t}" for u in ("one", "two") for t in TOOLS}
                added = await client.call_tool("two__add", {"a": 1, "b": 1})
                assert added.structured_content == {"result": 2}
            async with gateway.client("/mcp/one") as client:
                assert {t.name for t in (await client.list_tools()).tools} == set(TOOLS)


async def test_an_unpinned_tool_is_neither_listed_nor_callable(gateway_factory: Any) -> None:
    async with upstream("http", Served()) as entry, gateway_factory([entry]) as gateway:
        await gateway.pin_all()
        await gateway.plane.catalogue.unpin("one", "add", author=OPERATOR)
        async with gateway.client() as client:
            assert "add" not in {t.name for t in (await client.list_tools()).tools}
            result = await client.call_tool("add", {"a": 1, "b": 1})
            assert result.is_error
            assert (result.meta or {})[REFUSAL]["code"] == "unpinned"
