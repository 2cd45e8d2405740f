"""A client that says exactly what a test wants: no SDK stands between an attack and the gateway."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from gateways import Gateway

MODERN = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
ACCEPT = "application/json, text/event-stream"


class RawClient:
    """One token, any messages."""

    def __init__(self, http: httpx2.AsyncClient, url: str, token: str) -> None:
        self.http = http
        self.url = url
        self.token = token
        self.session = ""
        self._ids = itertools.count(1)

    async def post(self, body: Any, **headers: str) -> httpx2.Response:
        """One POST; underscores of header names are dashes."""
        carried = {
            "authorization": f"Bearer {self.token}",
            "accept": ACCEPT,
            **({"mcp-session-id": self.session} if self.session else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return await self.http.post(self.url, json=body, headers=carried)

    async def modern(
        self, method: str, params: dict[str, Any], *, capabilities: Any = None, **meta: Any
    ) -> dict[str, Any]:
        """A request of 2026-07-28 and the last message of its answer."""
        carried = {
            f"{PREFIX}protocolVersion": MODERN,
            f"{PREFIX}clientCapabilities": capabilities or {},
            **meta,
        }
        name = params.get("name") or params.get("uri")
        answer = await self.post(
            self.request(method, {**params, "_meta": carried}),
            mcp_protocol_version=MODERN,
            mcp_method=method,
            **({"mcp_name": name} if name else {}),
        )
        return last_message(answer)

    async def open(self, version: str = "2025-11-25", **params: Any) -> dict[str, Any]:
        """Initialize a session and return the answer."""
        wanted = {
            "protocolVersion": version,
            "capabilities": {},
            "clientInfo": {"name": "raw", "version": "0"},
            **params,
        }
        answer = await self.post(self.request("initialize", wanted))
        self.session = answer.headers.get("mcp-session-id", "")
        return last_message(answer)

    async def legacy(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A request of the session and the last message of its answer."""
        return last_message(await self.post(self.request(method, params)))

    def request(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """A request under a fresh id."""
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params}

    @contextlib.asynccontextmanager
    async def calling(
        self, method: str, params: dict[str, Any]
    ) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
        """A request of the session; the messages of its stream as they come."""
        headers = {
            "authorization": f"Bearer {self.token}",
            "accept": ACCEPT,
            "mcp-session-id": self.session,
        }
        body = self.request(method, params)
        async with self.http.stream("POST", self.url, json=body, headers=headers) as answer:
            yield _events(answer)


async def _events(answer: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: {"):
            yield json.loads(line.removeprefix("data: "))


def last_message(answer: httpx2.Response) -> dict[str, Any]:
    """The final message, of a document or of a stream; the status if there is none."""
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        lines = [ln for ln in answer.text.splitlines() if ln.startswith("data: {")]
        return json.loads(lines[-1].removeprefix("data: "))
    if not answer.content:
        return {"status": answer.status_code}
    return answer.json()


@contextlib.asynccontextmanager
async def raw_client(
    gateway: Gateway, path: str = "/mcp", *, token: str | None = None
) -> AsyncIterator[RawClient]:
    """A raw client of the gateway, with a fresh token unless one is given."""
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
        yield RawClient(http, f"{gateway.url}{path}", token or await gateway.token())


__all__ = ["MODERN", "PREFIX", "RawClient", "last_message", "raw_client"]
