"""GET of a JSON document from a daemon of this machine: over its Unix socket or TLS, in bounds.

Blocking, on the standard library, for attestors that run it in a thread. Redirects are not
followed, proxies are not asked, and the whole answer has one deadline.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

from midflight.domain.errors import Unavailable

MAX_BYTES = 16 * 1024 * 1024
_BLOCK = 65_536

Connect = Callable[[float], http.client.HTTPConnection]
"""Makes a connection with a time limit in seconds."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def over_socket(path: str) -> Connect:
    """Connections to a Unix socket."""
    return lambda timeout: _UnixConnection(path, timeout)


def over_tcp(host: str, port: int, *, tls: ssl.SSLContext | None) -> Connect:
    """Connections to a port, with TLS unless None."""
    if tls is None:
        return lambda timeout: http.client.HTTPConnection(host, port, timeout=timeout)
    return lambda timeout: http.client.HTTPSConnection(host, port, timeout=timeout, context=tls)


def get_json(
    connect: Connect, path: str, *, headers: Mapping[str, str] | None = None, timeout_s: float
) -> Any:
    """The document, or None where there is none (404).

    Raises:
        Unavailable: no answer in time, another status, too large, or no JSON.
    """
    deadline = time.monotonic() + timeout_s
    connection = connect(timeout_s)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        if response.status == http.client.NOT_FOUND:
            return None
        if response.status != http.client.OK:
            raise Unavailable(f"It answered with status {response.status}.")
        pieces: list[bytes] = []
        size = 0
        while piece := response.read1(_BLOCK):
            size += len(piece)
            if size > MAX_BYTES or time.monotonic() > deadline:
                raise Unavailable("Its answer is too large or too slow.")
            pieces.append(piece)
        return json.loads(b"".join(pieces))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise Unavailable(f"It did not answer ({type(error).__name__}).") from None
    finally:
        connection.close()


__all__ = ["MAX_BYTES", "Connect", "get_json", "over_socket", "over_tcp"]
