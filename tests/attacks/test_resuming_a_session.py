"""A client comes back by a resumed session, without showing its certificate or proving its key."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest
from authority import Authority, trusting
from broker_kit import broker_house
from server_kit import Recorder, request

from midflight.apps.server.listeners import TcpListener
from midflight.apps.server.serve import serving
from midflight.apps.server.tls import server_context

NOW = 1_800_000_000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9)
VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def connected(
    raw: socket.socket, context: ssl.SSLContext, said: bytes, session: Any = None
) -> tuple[Any, bool]:
    """(session, whether it was resumed) of a connection that is answered; `OSError` otherwise."""
    raw.settimeout(30)
    # Not verified by its name here: what matters is who the server takes the client for.
    context.check_hostname = False
    with context.wrap_socket(raw, session=session) as connection:
        connection.sendall(said)
        if not connection.recv(1):
            raise ConnectionError
        return connection.session, bool(connection.session_reused)


def check_anew(open_one: Any, context: ssl.SSLContext, said: bytes) -> None:
    """No session comes back, and the client can begin anew."""
    session, resumed = connected(open_one(), context, said)
    assert not resumed
    try:
        _, resumed = connected(open_one(), context, said, session)
    except OSError:
        resumed = False  # as with TLS 1.2, where a session ends in an alert
    assert not resumed
    assert connected(open_one(), context, said)[1] is False


@VERSIONS
def test_at_the_broker_endpoint(tmp_path: Path, version: ssl.TLSVersion) -> None:
    with broker_house(tmp_path) as house:

        def open_one() -> socket.socket:
            raw = socket.socket(socket.AF_UNIX)
            raw.connect(house.socket)
            return raw

        context = house.context(house.svid())
        context.maximum_version = version
        check_anew(open_one, context, PREFACE)


@VERSIONS
@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio", ("asyncio", {"use_uvloop": True})])
async def test_where_certificates_are_asked_for(
    tmp_path: Path, version: ssl.TLSVersion, anyio_backend: Any
) -> None:
    del anyio_backend
    authority = Authority(tmp_path)
    tls = server_context(*authority.issue("server"), now=NOW, client_ca=authority.file)
    async with serving([TcpListener(name="a", app=Recorder(), tls=tls)]) as [bound]:
        context = trusting(authority, authority.issue("workload"))
        context.maximum_version = version
        await asyncio.to_thread(
            check_anew,
            lambda: socket.create_connection(("127.0.0.1", bound.port)),
            context,
            request(),
        )
