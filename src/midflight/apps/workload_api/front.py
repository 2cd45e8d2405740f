"""The public socket of the Workload API: it asks the kernel who connects, and passes bytes on.

gRPC for Python does not show the credentials of a peer. So this accepts each connection itself,
reads them (SO_PEERCRED, and SO_PEERPIDFD against reused process numbers), and connects to the
gRPC server's private socket from an address of its own, by which `process` finds them again.
It understands nothing of what it passes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from midflight.apps.server.peer import peer_of
from midflight.apps.server.unix_socket import unix_socket
from midflight.domain.attestation import Process

MAX_CONNECTIONS = 1_024
MAX_OF_ONE_USER = 64
_CHUNK = 65_536
_BACKLOG = 256

log = structlog.get_logger(__name__)


class Front:
    """Connections and who is behind them."""

    def __init__(
        self,
        backend: Path,
        *,
        token: Callable[[], str],
        max_connections: int = MAX_CONNECTIONS,
        max_of_one_user: int = MAX_OF_ONE_USER,
    ) -> None:
        """`backend` is the gRPC server's socket, in a directory that is ours alone."""
        self._backend = backend
        self._token = token
        self._max = max_connections
        self._max_of_one = max_of_one_user
        self._processes: dict[str, Process] = {}
        self._users: Counter[int] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self.refused = 0

    def process(self, peer: str) -> Process | None:
        """Who is behind a gRPC peer (`unix:PATH`), or None: then it did not come through here."""
        return self._processes.get(peer.removeprefix("unix:"))

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._processes)

    @asynccontextmanager
    async def listening(self, path: Path) -> AsyncGenerator[None]:
        """Listen at `path` for every user of this machine.

        Raises:
            Misconfigured: the path is not usable (`server/unix_socket.py`).
        """
        with unix_socket(str(path), mode=0o666, backlog=_BACKLOG, reachable=True) as made:
            server = await asyncio.start_unix_server(self._accepted, sock=made)
            try:
                yield
            finally:
                server.close()
                for task in list(self._tasks):
                    task.cancel()
                await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the peer went, or we stop: the connection is all that ends
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = peer_of(writer.transport)
        if peer.uid is None or peer.gid is None or peer.pid is None:
            return
        if len(self._processes) >= self._max or self._users[peer.uid] >= self._max_of_one:
            self.refused += 1
            log.warning("workload_api_full", uid=peer.uid)
            return
        process = Process(pid=peer.pid, uid=peer.uid, gid=peer.gid, start=peer.process)
        name = str(self._backend.with_name(self._token()[:16]))
        self._users[peer.uid] += 1
        self._processes[name] = process
        try:
            await self._relay(name, reader, writer)
        finally:
            del self._processes[name]
            self._users[peer.uid] -= 1
            if not self._users[peer.uid]:
                del self._users[peer.uid]
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)  # noqa: PTH108 -- one system call, of a file in memory

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
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            inner_writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


__all__ = ["MAX_CONNECTIONS", "MAX_OF_ONE_USER", "Front"]
