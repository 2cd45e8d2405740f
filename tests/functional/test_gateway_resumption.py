"""A legacy client that loses its connection in the middle of a call comes back for the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest

from gateways import AGENT, OPERATOR, Gateway
from midflight.domain.revocation import Scope, ScopeKind
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


class Legacy:
    """A client of 2025-11-25 that can drop its connections."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url

    async def open(self) -> None:
        """Begin a session, as a client that answers questions."""
        params = {
            "protocolVersion": "2025-11-25",
            "capabilities": {"elicitation": {}},
            "clientInfo": {"name": "test", "version": "1"},
        }
        answer = await self.post({"id": 0, "method": "initialize", "params": params})
        self.http.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        await self.post({"method": "notifications/initialized"})

    async def post(self, message: dict[str, Any]) -> httpx2.Response:
        answer = await self.http.post(self.url, json={"jsonrpc": "2.0", **message})
        assert answer.status_code in {200, 202}, answer.text
        return answer

    async def call_until_asked(self, tool: str) -> tuple[str, dict[str, Any]]:
        """Call a tool, read up to its question, drop the connection: the last id, the question."""
        body = {"id": 1, "method": "tools/call", "params": {"name": tool, "arguments": {}}}
        request = {"jsonrpc": "2.0", **body}
        async with self.http.stream("POST", self.url, json=request) as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            seen = events(answer)
            first, priming, retry = await anext(seen)
            assert (first.endswith("-0"), priming, retry) == (True, None, 1_000)
            last, question, _ = await anext(seen)
            assert question is not None
            assert question["method"] == "elicitation/create"
            await seen.aclose()
        return last, question

    async def reply(self, question: dict[str, Any]) -> None:
        result = {"action": "accept", "content": {"name": "ada"}}
        await self.post({"id": question["id"], "result": result})

    @asynccontextmanager
    async def resume(self, last: str) -> AsyncIterator[httpx2.Response]:
        headers = {"last-event-id": last, "accept": "text/event-stream"}
        async with self.http.stream("GET", self.url, headers=headers) as answer:
            yield answer


async def events(answer: httpx2.Response) -> Any:
    """(id, message or None, retry or None) of each event."""
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.strip()
            continue
        data, retry = fields.get("data"), fields.get("retry")
        yield (
            fields.get("id", ""),
            json.loads(data) if data else None,
            int(retry) if retry else None,
        )
        fields = {}


@asynccontextmanager
async def client(gateway: Gateway) -> AsyncIterator[Legacy]:
    headers = {
        "authorization": f"Bearer {await gateway.token()}",
        "accept": "application/json, text/event-stream",
    }
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        legacy = Legacy(http, f"{gateway.url}/mcp")
        await legacy.open()
        yield legacy


@asynccontextmanager
async def gateway_of(gateway_factory: Any) -> AsyncIterator[Gateway]:
    async with (
        over_http(Served(), legacy=True) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


async def test_the_answer_waits_for_a_client_that_comes_back(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, client(gateway) as legacy:
        last, question = await legacy.call_until_asked("ask")
        await legacy.reply(question)
        async with legacy.resume(last) as answer:
            got = [event async for event in events(answer)]
    ((cursor, message, _),) = got
    assert message["id"] == 1
    assert "hello ada" in str(message["result"])
    assert cursor.endswith("-2")


async def test_a_client_that_comes_back_early_gets_what_is_still_to_come(
    gateway_factory: Any,
) -> None:
    async with gateway_of(gateway_factory) as gateway, client(gateway) as legacy:
        last, _ = await legacy.call_until_asked("ask")
        start = last.replace("-1", "-0")
        async with legacy.resume(start) as answer:
            seen = events(answer)
            again, question, _ = await anext(seen)
            assert again == last
            await legacy.reply(question)
            _, message, _ = await anext(seen)
            assert "hello ada" in str(message["result"])
            assert [event async for event in seen] == []


async def test_nobody_comes_back_to_a_run_that_was_revoked(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, client(gateway) as legacy:
        last, question = await legacy.call_until_asked("ask")
        await legacy.reply(question)
        async with legacy.resume(last) as answer:
            assert "hello ada" in (await answer.aread()).decode()
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="stolen key", author=OPERATOR
        )
        async with legacy.resume(last) as answer:
            assert answer.status_code == 403
            assert await answer.aread() == b""


async def test_a_stream_that_is_being_resumed_ends_with_its_run(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, client(gateway) as legacy:
        last, _ = await legacy.call_until_asked("ask")
        async with legacy.resume(last) as answer:
            await gateway.plane.interruption.revoke(
                Scope(kind=ScopeKind.WORKLOAD, id=AGENT), reason="stolen key", author=OPERATOR
            )
            assert b"hello" not in await answer.aread()
