"""Starts and stops several listeners in the running event loop.

It replaces uvicorn's `Server`, which has one listener, takes over signals and exits the process.
Whoever starts the loop chooses it (`uvloop`), and owns signals.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from midflight.apps.server.asgi import App
from midflight.apps.server.limits import Limits
from midflight.apps.server.listeners import (
    Bound,
    Listener,
    TcpListener,
    UnixListener,
    check_listeners,
    open_tcp,
    url_of,
)
from midflight.apps.server.occupancy import Occupancy
from midflight.apps.server.protocol import BoundedProtocol
from midflight.apps.server.unix_socket import unix_socket
from midflight.services.ports.telemetry import Telemetry


class _Silent:
    """Telemetry of a server that was given none."""

    def action(self, *, kind: str, upstream: str, state: str, code: str, seconds: float) -> None:
        """Nothing."""

    def decided(self, *, seconds: float) -> None:
        """Nothing."""

    def gauge(self, name: str, value: float) -> None:
        """Nothing."""

    def count(self, name: str, amount: int = 1) -> None:
        """Nothing."""


@asynccontextmanager
async def serving(
    listeners: Sequence[Listener],
    limits: Limits | None = None,
    *,
    telemetry: Telemetry | None = None,
) -> AsyncGenerator[tuple[Bound, ...]]:
    """Serve while the context lasts; yields where, in the order of `listeners`.

    On leaving, nothing new is accepted, idle connections close, running requests get
    `limits.shutdown_s` seconds, and what then still runs is cancelled.

    Raises:
        Misconfigured: a listener may not or cannot be opened; then none is.
    """
    check_listeners(listeners)
    server = _Server(limits or Limits(), telemetry or _Silent())
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(server.stop)
        bound = [await server.listen(listener, undo) for listener in listeners]
        server.keep_date()
        yield tuple(bound)


class _Server:
    """What all listeners share."""

    def __init__(self, limits: Limits, telemetry: Telemetry) -> None:
        self._limits = limits
        self._telemetry = telemetry
        self._occupancy = Occupancy(limits)
        self._state = ServerState()
        self._servers: list[asyncio.AbstractServer] = []
        self._loop = asyncio.get_running_loop()
        self._date: asyncio.TimerHandle | None = None

    async def listen(self, listener: Listener, undo: contextlib.AsyncExitStack) -> Bound:
        make = functools.partial(
            BoundedProtocol,
            _configuration(listener.app),
            self._state,
            limits=self._limits,
            occupancy=self._occupancy,
            telemetry=self._telemetry,
            _loop=self._loop,
        )
        backlog = self._limits.accept_backlog
        match listener:
            case TcpListener():
                handshake = None if listener.tls is None else self._limits.handshake_s
                addresses: list[tuple[str, int]] = []
                for made in open_tcp(listener, backlog):
                    addresses.append(made.getsockname()[:2])
                    server = await self._loop.create_server(
                        make,
                        sock=made,
                        ssl=listener.tls,
                        ssl_handshake_timeout=handshake,
                        backlog=backlog,
                    )
                    self._servers.append(server)
                url = url_of(listener, addresses[0][1])
                return Bound(name=listener.name, addresses=tuple(addresses), url=url)
            case UnixListener():
                held = unix_socket(listener.path, mode=listener.mode, backlog=backlog)
                made = undo.enter_context(held)
                # The stack closes the socket it holds; the loop gets its own.
                server = await self._loop.create_unix_server(make, sock=made.dup(), backlog=backlog)
                self._servers.append(server)
                return Bound(name=listener.name, path=listener.path, url=f"unix:{listener.path}")

    def keep_date(self) -> None:
        """Keep the Date header right, which an origin server with a clock must send."""
        date = formatdate(time.time(), usegmt=True).encode()
        self._state.default_headers = [(b"date", date)]
        self._telemetry.gauge("http_connections", self._occupancy.admitted)
        self._date = self._loop.call_later(1.0, self.keep_date)

    async def stop(self) -> None:
        """See `serving`."""
        for server in self._servers:
            server.close()
        connections: list[Any] = list(self._state.connections)
        for connection in connections:
            connection.shutdown()
        await _at_most(self._limits.shutdown_s, self._occupancy.emptied())
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=self._limits.linger_s)
        connections = list(self._state.connections)
        for connection in connections:
            connection.transport.abort()
        await _at_most(self._limits.linger_s, self._occupancy.emptied())
        if self._date is not None:
            self._date.cancel()


def _configuration(app: App) -> Config:
    """What uvicorn is told: raw ASGI, and nothing that trusts or tells more than it must."""
    shut_in: Any = app
    config = Config(
        shut_in,
        interface="asgi3",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        workers=1,
    )
    config.load()
    return config


async def _at_most(seconds: float, done: Any) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done


__all__ = ["serving"]
