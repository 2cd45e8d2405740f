"""A public socket before a gRPC server: it asks the kernel who connects, and passes bytes on.

gRPC for Python does not show the credentials of a peer. So this accepts each connection itself,
reads them (SO_PEERCRED, and SO_PEERPIDFD against reused process numbers), and connects to the
gRPC server's private socket from an address of its own, by which `behind` finds them again. Each
user has a share of the connections, which one that has not finished its handshake counts against.
It understands nothing of what it passes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Generic, TypeVar

import structlog

from midflight.apps.server.peer import Peer, unix_peer
from midflight.apps.server.unix_socket import unix_socket

MAX_CONNECTIONS = 1_024
MAX_OF_ONE_USER = 64
HANDSHAKE_S = 10.0
_CHUNK = 65_536
_BACKLOG = 256
_PAUSE_S = 1.0

T = TypeVar("T")
Admit = Callable[[Peer, asyncio.BaseTransport], T | None]
"""Who a connection is from, once its handshake is over; None closes it."""

log = structlog.get_logger(__name__)


class Front(Generic[T]):
    """Connections and who is behind them."""

    def __init__(
        self,
        backend: Path,
        *,
        admit: Admit[T],
        token: Callable[[], str],
        tls: ssl.SSLContext | None = None,
        max_connections: int = MAX_CONNECTIONS,
        max_of_one_user: int = MAX_OF_ONE_USER,
    ) -> None:
        """`backend` is the gRPC server's socket, in a directory that is ours alone."""
        self._backend = backend
        self._admit = admit
        self._token = token
        self._tls = tls
        self._max = max_connections
        self._max_of_one = max_of_one_user
        self._behind: dict[str, T] = {}
        self._users: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused = 0

    def behind(self, peer: str) -> T | None:
        """Who is behind a gRPC peer (`unix:PATH`), or None: then it did not come through here."""
        return self._behind.get(peer.removeprefix("unix:"))

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._users.total()

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncGenerator[None]:
        """Listen at `path` for every user of this machine.

        Raises:
            Misconfigured: the path is not usable (`server/unix_socket.py`).
        """
        with unix_socket(str(path), mode=0o666, backlog=_BACKLOG, reachable=True) as made:
            accepting = asyncio.ensure_future(self._accept(made))
            try:
                yield
            finally:
                tasks = [accepting, *self._tasks]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:
                # Such as too many open files: those that are served may end meanwhile.
                log.warning("spiffe_socket_cannot_accept", why=os.strerror(error.errno or 0))
                await asyncio.sleep(_PAUSE_S)
                continue
            task = asyncio.ensure_future(self._accepted(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _accepted(self, connection: socket.socket) -> None:
        try:
            await self._counted(connection)
        except (OSError, asyncio.CancelledError):
            pass  # the peer went, or we stop: the connection is all that ends
        finally:
            connection.close()

    async def _counted(self, connection: socket.socket) -> None:
        peer = unix_peer(connection)
        if peer.uid is None or peer.gid is None or peer.pid is None:
            return
        if self.connections >= self._max or self._users[peer.uid] >= self._max_of_one:
            self.refused += 1
            log.warning("spiffe_socket_full", uid=peer.uid)
            return
        self._users[peer.uid] += 1
        try:
            await self._serve(connection, peer)
        finally:
            self._users[peer.uid] -= 1
            if not self._users[peer.uid]:
                del self._users[peer.uid]

    async def _serve(self, connection: socket.socket, peer: Peer) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=None if self._tls is None else HANDSHAKE_S,
        )
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        try:
            behind = self._admit(peer, transport)
            if behind is None:
                return
            name = str(self._backend.with_name(self._token()[:16]))
            self._behind[name] = behind
            try:
                await self._relay(name, reader, writer)
            finally:
                del self._behind[name]
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108 -- one system call, of a file in memory
        finally:
            transport.abort()

    async def _relay(
        self, name: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behind = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            behind.setblocking(False)
            behind.bind(name)
            await asyncio.get_running_loop().sock_connect(behind, str(self._backend))
            inner_reader, inner_writer = await asyncio.open_unix_connection(sock=behind)
        except BaseException:
            behind.close()
            raise
        ways = [
            asyncio.ensure_future(_pump(reader, inner_writer)),
            asyncio.ensure_future(_pump(inner_reader, writer)),
        ]
        try:
            # Either end closing closes both: there is no half of a gRPC connection.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # First what must happen: waiting for the rest may itself be cancelled.
            inner_writer.transport.abort()
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


__all__ = ["MAX_CONNECTIONS", "MAX_OF_ONE_USER", "Admit", "Front"]
