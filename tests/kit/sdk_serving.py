"""Serving apps of the official SDK on loopback, in this loop, in either generation."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import uvicorn

ASGI = Callable[[Any, Any, Any], Awaitable[None]]


@contextlib.asynccontextmanager
async def serving(app: object) -> AsyncIterator[str]:
    """Serve an ASGI app; yields its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,  # type: ignore[arg-type] -- uvicorn's type of an ASGI app is narrower than the SDK's
        log_config=None,
        lifespan="on",
        ws="none",
    )
    config.load()
    server = uvicorn.Server(config)
    # Not `serve`: it looks ten times a second whether it shall end, and leaves what runs behind.
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    await server.on_tick(0)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        for each in server.servers:
            each.close()
        state = server.server_state
        for connection in list(state.connections):
            connection.shutdown()
        tasks = list(state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in list(state.connections):
            connection.transport.abort()
        await server.lifespan.shutdown()


def only_legacy(app: ASGI) -> ASGI:
    """Hide the modern generation of an app, as a server of 2025-11-25 would answer."""

    async def legacy(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and dict(scope["headers"]).get(b"mcp-protocol-version") == (
            b"2026-07-28"
        ):
            body = b'{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Bad"}}'
            headers = [(b"content-type", b"application/json")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return
        await app(scope, receive, send)

    return legacy


__all__ = ["ASGI", "only_legacy", "serving"]
