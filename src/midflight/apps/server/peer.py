"""Who is on the other end of a connection, as the kernel and TLS say; never as headers say.

A fact for the apps above (`services/identity.py` and the control socket turn it into a proof).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import select
import socket
import struct
from pathlib import Path
from typing import Any, Literal

from midflight.apps.server.asgi import Scope
from midflight.domain.value import Value
from midflight.wire.proc_stat import read_stat

# Linux 6.5, <asm-generic/socket.h>; Python 3.11 has no name for it.
_SO_PEERPIDFD = 77
_CREDENTIALS = struct.Struct("3i")


class Peer(Value):
    """The other end of one connection.

    Attributes:
        address: IP address of a TCP peer; `uid:1000` of a Unix peer.
        kind: `tcp` or `unix`.
        port: port of a TCP peer, else 0.
        uid, gid, pid: credentials of the process that called connect() on a Unix socket
            (SO_PEERCRED, unix(7)), else None. Another process may hold the descriptor by now.
        process: `PID@START` with the start time in clock ticks since boot, which tells a process
            from a later one with the same number; empty where the kernel (before Linux 6.5)
            cannot vouch for it or the process is gone.
        certificate: the client's TLS certificate, DER, or None. TLS has proved its key, and
            verified it as far as the listener asked for.
        chain: the certificate and what the client sent with it, DER, the leaf first.
    """

    address: str
    kind: Literal["tcp", "unix"]
    port: int = 0
    uid: int | None = None
    gid: int | None = None
    pid: int | None = None
    process: str = ""
    certificate: bytes | None = None
    chain: tuple[bytes, ...] = ()

    @property
    def share(self) -> str:
        """Whose share of the connections this one counts against."""
        if ":" in self.address and self.kind == "tcp":
            # Whoever has one IPv6 address has its /64.
            scoped = self.address.partition("%")[0]
            return str(ipaddress.IPv6Network((scoped, 64), strict=False))
        return self.address


def peer_of(transport: asyncio.BaseTransport) -> Peer:
    """Ask the kernel and TLS who a connection is from."""
    held: Any = transport.get_extra_info("socket")
    if held is not None and held.family == socket.AF_UNIX:
        # asyncio's and uvloop's sockets are views; a duplicate is a real one.
        with socket.socket(fileno=os.dup(held.fileno())) as duplicate:
            return unix_peer(duplicate)
    name: Any = transport.get_extra_info("peername") or ("", 0)
    chain = chain_of(transport)
    return Peer(
        address=str(name[0]),
        kind="tcp",
        port=int(name[1]),
        certificate=chain[0] if chain else None,
        chain=chain,
    )


def chain_of(transport: asyncio.BaseTransport) -> tuple[bytes, ...]:
    """The client's certificate and what it sent with it, DER; empty without one."""
    tls: Any = transport.get_extra_info("ssl_object")
    leaf = None if tls is None else tls.getpeercert(binary_form=True)
    return () if leaf is None else _chain(tls, leaf)


def scope_peer(scope: Scope) -> Peer:
    """The peer of a request, put into its scope by `protocol.py`."""
    peer: Peer = scope["state"]["peer"]
    return peer


def _chain(tls: Any, leaf: bytes) -> tuple[bytes, ...]:
    """What the client sent. Public from Python 3.13 on; before, an inner object of `ssl` has it."""
    ask = getattr(tls, "get_unverified_chain", None)
    if ask is not None:
        return tuple(ask() or (leaf,))
    inner = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", None)
    sent: Any = None if inner is None else inner()
    # 2 is _ssl.ENCODING_DER.
    return tuple(each.public_bytes(2) for each in sent) if sent else (leaf,)


def unix_peer(connection: socket.socket) -> Peer:
    """Who called connect() on the other end of a Unix socket."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid, uid, gid = _CREDENTIALS.unpack(raw)
    process = _process(connection, pid)
    return Peer(address=f"uid:{uid}", kind="unix", uid=uid, gid=gid, pid=pid, process=process)


def _process(connection: socket.socket, pid: int) -> str:
    """Identity of the peer's process; the open pidfd proves that the number was not reused."""
    try:
        held = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return ""
    try:
        with contextlib.suppress(OSError):
            stat = read_stat(Path(f"/proc/{pid}/stat").read_bytes())
            poll = select.poll()
            poll.register(held, select.POLLIN)
            if stat is not None and not poll.poll(0):  # readable once the process has ended
                return f"{pid}@{stat.started}"
        return ""
    finally:
        os.close(held)


__all__ = ["Peer", "chain_of", "peer_of", "scope_peer", "unix_peer"]
