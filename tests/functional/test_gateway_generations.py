"""Methods that one generation has and the other does not, as the bytes of HTTP show it."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from gateways import Gateway
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio

MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"


async def send(
    gateway: Gateway, body: dict[str, Any], **headers: str
) -> tuple[int, dict[str, Any]]:
    """(status, message) of a POST without a session."""
    carried = {
        "authorization": f"Bearer {await gateway.token()}",
        "accept": "application/json, text/event-stream",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.post(
            f"{gateway.url}/mcp", json={"jsonrpc": "2.0", "id": 7, **body}, headers=carried
        )
    return answer.status_code, answer.json()


async def send_modern(
    gateway: Gateway, method: str, params: dict[str, Any], **headers: str
) -> tuple[int, dict[str, Any]]:
    meta = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": {}}
    body = {"method": method, "params": {**params, "_meta": meta}}
    return await send(gateway, body, mcp_protocol_version=MODERN, mcp_method=method, **headers)


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "tasks/result",
        "tasks/list",
        "unknown/method",
    ],
)
async def test_a_modern_request_for_what_its_generation_lacks_is_not_found(
    method: str, gateway_factory: Any
) -> None:
    async with (
        over_http(Served()) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        status, answer = await send_modern(gateway, method, {})
    assert (status, answer["error"]["code"], answer["id"]) == (404, -32601, 7)


@pytest.mark.parametrize("method", ["tasks/get", "tasks/update", "tasks/cancel"])
async def test_tasks_need_the_extension_declared(method: str, gateway_factory: Any) -> None:
    async with (
        over_http(Served()) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        status, answer = await send_modern(gateway, method, {"taskId": "t"})
    assert (status, answer["error"]["code"]) == (400, -32021)
    needed = answer["error"]["data"]["requiredCapabilities"]
    assert needed == {"extensions": {f"{PREFIX}tasks": {}}}


@pytest.mark.parametrize("version", ["2024-11-05", "2025-11-25", "9999-01-01"])
async def test_a_legacy_client_that_says_its_version_early_may_initialize(
    version: str, gateway_factory: Any
) -> None:
    params = {
        "protocolVersion": version,
        "capabilities": {},
        "clientInfo": {"name": "early", "version": "1"},
    }
    async with (
        over_http(Served()) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        body = {"method": "initialize", "params": params}
        status, answer = await send(gateway, body, mcp_protocol_version=version)
    assert status == 200
    assert answer["result"]["protocolVersion"] == "2025-11-25"
