"""Bare MCP clients of both generations: every header and every byte is the test's own.

For what an official client does not show: statuses, headers, streams, and what no client would do.
"""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx2

from gateways import Gateway

MODERN = "2026-07-28"
NEWEST_LEGACY = "2025-11-25"
PREFIX = "io.modelcontextprotocol/"
BOTH = "application/json, text/event-stream"


class Stream:
    """The messages of one event stream."""

    def __init__(self, response: httpx2.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any] | None:
        """The next message, or None at the end. Comments and events without data are passed by."""
        async for line in self._lines:
            name, _, value = line.partition(":")
            if name == "data" and value.strip():
                return json.loads(value)
        return None

    async def next_of(self, method: str) -> dict[str, Any]:
        """The next message of a method; whatever comes before it is passed by."""
        while message := await self.next():
            if message.get("method") == method:
                return message
        raise AssertionError(f"the stream ended without {method}")


class Bare:
    """What both generations share: one endpoint, one token."""

    def __init__(self, http: httpx2.AsyncClient, url: str) -> None:
        self.http = http
        self.url = url
        self._ids = itertools.count(1)

    def headers_of(self, message: dict[str, Any]) -> dict[str, str]:
        """What the generation wants beside a message."""
        return {}

    async def post(self, message: Any, **headers: str) -> httpx2.Response:
        """Send one message (or a batch), and read the answer to its end."""
        carried = self.headers_of(message) if isinstance(message, dict) else {}
        return await self.http.post(self.url, json=message, headers={**carried, **headers})

    @contextlib.asynccontextmanager
    async def streaming(self, message: dict[str, Any]) -> AsyncIterator[Stream]:
        """Send one message and read its stream while the context lasts."""
        headers = self.headers_of(message)
        async with self.http.stream("POST", self.url, json=message, headers=headers) as response:
            yield Stream(response)

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        """A request with a fresh id."""
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a request; the final message of its answer."""
        return final(await self.post(self.request(method, **params)))

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool; the final message."""
        return await self.ask("tools/call", name=tool, arguments=arguments)


class Modern(Bare):
    """A client of 2026-07-28."""

    def headers_of(self, message: dict[str, Any]) -> dict[str, str]:
        carried = {"mcp-protocol-version": MODERN, "mcp-method": message["method"]}
        params = message["params"]
        name = params.get("name") or params.get("uri") or params.get("taskId")
        return carried | ({"mcp-name": name} if name else {})

    def request(self, method: str, **params: Any) -> dict[str, Any]:
        meta = {f"{PREFIX}protocolVersion": MODERN, f"{PREFIX}clientCapabilities": {}}
        return super().request(method, **{**params, "_meta": meta | params.get("_meta", {})})


class Legacy(Bare):
    """A client with a session. `open` it first."""

    async def open(self, version: str = NEWEST_LEGACY, **capabilities: Any) -> None:
        """Begin a session."""
        client_info = {"name": "bare", "version": "1"}
        request = self.request(
            "initialize",
            protocolVersion=version,
            capabilities=capabilities,
            clientInfo=client_info,
        )
        answer = await self.post(request)
        assert answer.status_code == 200, answer.text
        assert final(answer)["result"]["protocolVersion"] == version
        self.http.headers["mcp-session-id"] = answer.headers["mcp-session-id"]
        self.http.headers["mcp-protocol-version"] = version
        await self.tell("notifications/initialized")

    async def tell(self, method: str, **params: Any) -> None:
        """Send a notification."""
        answer = await self.post({"jsonrpc": "2.0", "method": method, "params": params})
        assert answer.status_code == 202, answer.text

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Stream]:
        """The session's own stream while the context lasts."""
        headers = {"accept": "text/event-stream"}
        async with self.http.stream("GET", self.url, headers=headers) as response:
            yield Stream(response)

    async def delete(self) -> httpx2.Response:
        """End the session."""
        return await self.http.delete(self.url)


def final(answer: httpx2.Response) -> dict[str, Any]:
    """The final message of an answer, whichever form it came in."""
    return messages(answer)[-1]


def messages(answer: httpx2.Response) -> Sequence[dict[str, Any]]:
    """All messages of an answer, whichever form it came in."""
    if answer.headers["content-type"].startswith("application/json"):
        return [answer.json()]
    lines = [line.partition(":") for line in answer.text.splitlines()]
    return [json.loads(value) for name, _, value in lines if name == "data" and value.strip()]


@contextlib.asynccontextmanager
async def bare(gateway: Gateway, *, token: str | None = None) -> AsyncIterator[httpx2.AsyncClient]:
    """An HTTP client that carries a token of the gateway's agent, or the one given."""
    held = await gateway.token() if token is None else token
    headers = {"authorization": f"Bearer {held}", "accept": BOTH}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        yield http


@contextlib.asynccontextmanager
async def modern(
    gateway: Gateway, path: str = "/mcp", *, token: str | None = None
) -> AsyncIterator[Modern]:
    """A modern client of the gateway's agent."""
    async with bare(gateway, token=token) as http:
        yield Modern(http, gateway.url + path)


@contextlib.asynccontextmanager
async def legacy(
    gateway: Gateway,
    path: str = "/mcp",
    *,
    token: str | None = None,
    version: str = NEWEST_LEGACY,
    **capabilities: Any,
) -> AsyncIterator[Legacy]:
    """A legacy client of the gateway's agent, its session open."""
    async with bare(gateway, token=token) as http:
        client = Legacy(http, gateway.url + path)
        await client.open(version, **capabilities)
        yield client


__all__ = [
    "MODERN",
    "PREFIX",
    "Legacy",
    "Modern",
    "Stream",
    "bare",
    "final",
    "legacy",
    "messages",
    "modern",
]
