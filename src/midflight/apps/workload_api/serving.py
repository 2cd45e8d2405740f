"""A gRPC server on a private socket, and the front before it that others reach."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import grpc.aio

from midflight.apps.workload_api.front import MAX_OF_ONE_USER, Admit, Front
from midflight.apps.workload_api.handlers import OPTIONS

T = TypeVar("T")


@asynccontextmanager
async def serving(
    path: Path,
    handler: Callable[[Front[T]], grpc.GenericRpcHandler],
    *,
    admit: Admit[T],
    token: Callable[[], str],
    tls: ssl.SSLContext | None = None,
    max_of_one_user: int = MAX_OF_ONE_USER,
) -> AsyncGenerator[Front[T]]:
    """Serve at `path` while the context lasts.

    Args:
        path: of the public socket.
        handler: makes the calls, given what knows who is behind a connection.
        admit: says who that is (`front.py`).
        token: gives random text.
        tls: for the public socket, if any.
        max_of_one_user: connections of one user.

    Raises:
        Misconfigured: the path is not usable.
    """
    # Short, whatever the state directory is called: an address of a Unix socket has 107 bytes.
    private = Path(tempfile.mkdtemp(prefix="mf-wl-"))  # mode 0700
    backend = private / "s"
    front = Front(backend, admit=admit, token=token, tls=tls, max_of_one_user=max_of_one_user)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handler(front),))
    try:
        server.add_insecure_port(f"unix:{backend}")
        await server.start()
        try:
            async with front.listening(path):
                yield front
        finally:
            await server.stop(None)
    finally:
        shutil.rmtree(private, ignore_errors=True)


__all__ = ["serving"]
