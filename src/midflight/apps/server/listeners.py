"""Where the server listens, as values, and the sockets made from them.

A listener on anything but loopback needs TLS. Unix sockets are made in `unix_socket.py`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from midflight.apps.server.asgi import App
from midflight.domain.errors import Misconfigured
from midflight.domain.value import Value

LOCALHOST = "localhost"
# How often a free port is looked for that both families can have.
_ATTEMPTS = 20


class TcpListener(Value):
    """An address to listen on, and the app that answers there.

    Attributes:
        name: what the settings call it, for messages and for finding it among the bound ones.
        host: an IP address, or `localhost` for both loopback addresses on one port.
        port: 0 for a free one.
        tls: a context of `tls.py`; required unless the host is loopback.
    """

    name: str
    app: App
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None


class UnixListener(Value):
    """A Unix socket to listen on. `path` is absolute, `mode` at most 0o660."""

    name: str
    app: App
    path: str
    mode: int = 0o600


Listener: TypeAlias = TcpListener | UnixListener


class Bound(Value):
    """A listener that listens.

    Attributes:
        name: the listener's name.
        addresses: (host, port) pairs, one for each socket; empty for a Unix socket.
        path: path of a Unix socket, else empty.
        url: where clients find it: `http://127.0.0.1:8411`, `https://…`, or `unix:/run/…`.
    """

    name: str
    addresses: tuple[tuple[str, int], ...] = ()
    path: str = ""
    url: str = ""

    @property
    def port(self) -> int:
        """The port, the same for every address; 0 for a Unix socket."""
        return self.addresses[0][1] if self.addresses else 0


def check_listeners(listeners: Iterable[Listener]) -> None:
    """Refuse listeners that must not be. Every problem at once.

    Raises:
        Misconfigured: with one line a problem.
    """
    problems: list[str] = []
    names: set[str] = set()
    for listener in listeners:
        if listener.name in names:
            problems.append(f"two listeners are called {listener.name!r}")
        names.add(listener.name)
        match listener:
            case TcpListener():
                problems += _tcp_problems(listener)
            case UnixListener():
                problems += _unix_problems(listener)
    if problems:
        raise Misconfigured(
            "The listeners cannot be opened as configured.",
            problems,
            hint="Listen on 127.0.0.1 or localhost, or configure a certificate and key.",
        )


def is_loopback(host: str) -> bool:
    """Whether a host in a listener or a socket's name is this machine only."""
    if host == LOCALHOST:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_tcp(listener: TcpListener, backlog: int) -> list[socket.socket]:
    """Sockets that listen for `listener`.

    `localhost` gets both families on one port where the machine has both, so that no other local
    user can take the second one and be what clients reach under that name.

    Raises:
        Misconfigured: the address cannot be had.
    """
    hosts = ("127.0.0.1", "::1") if listener.host == LOCALHOST else (listener.host,)
    for attempt in range(_ATTEMPTS):
        try:
            return _open_all(hosts, listener.port, backlog)
        except OSError as problem:
            taken = problem.errno == errno.EADDRINUSE and listener.port == 0
            if not taken or attempt == _ATTEMPTS - 1:
                raise Misconfigured(
                    f"Cannot listen on {listener.host} port {listener.port}: "
                    f"{os.strerror(problem.errno or 0)}.",
                    hint="Stop what holds the address, or configure another.",
                ) from problem
    raise AssertionError("the last attempt returns or raises")


def url_of(listener: TcpListener, port: int) -> str:
    """Where clients find a TCP listener."""
    scheme = "http" if listener.tls is None else "https"
    host = f"[{listener.host}]" if ":" in listener.host else listener.host
    return f"{scheme}://{host}:{port}"


def _open_all(hosts: Sequence[str], port: int, backlog: int) -> list[socket.socket]:
    with contextlib.ExitStack() as undo:
        opened: list[socket.socket] = []
        for host in hosts:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                made = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
                _listen(made, host, port, backlog)
            except OSError as problem:
                absent = problem.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
                if absent and opened:
                    continue  # a machine without IPv6 has no ::1 to defend
                raise
            opened.append(made)
            port = made.getsockname()[1]
        undo.pop_all()
        return opened


def _listen(made: socket.socket, host: str, port: int, backlog: int) -> None:
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if made.family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    made.bind((host, port))
    made.listen(backlog)


def _tcp_problems(listener: TcpListener) -> list[str]:
    problems: list[str] = []
    if not 0 <= listener.port <= 65_535:
        problems.append(f"{listener.name}: {listener.port} is not a port")
    if listener.host != LOCALHOST:
        try:
            ipaddress.ip_address(listener.host)
        except ValueError:
            problems.append(
                f"{listener.name}: {listener.host!r} is neither an IP address nor localhost"
            )
            return problems
    if listener.tls is None and not is_loopback(listener.host):
        problems.append(
            f"{listener.name}: {listener.host} can be reached from other machines and has no TLS"
        )
    return problems


def _unix_problems(listener: UnixListener) -> list[str]:
    problems: list[str] = []
    if not listener.path.startswith("/"):
        problems.append(f"{listener.name}: {listener.path!r} is not an absolute path")
    if listener.mode & ~0o660 or not listener.mode & 0o600:
        problems.append(f"{listener.name}: a socket's mode is 0600 or 0660")
    return problems


__all__ = [
    "LOCALHOST",
    "Bound",
    "Listener",
    "TcpListener",
    "UnixListener",
    "check_listeners",
    "is_loopback",
    "open_tcp",
    "url_of",
]
