"""What a stranger may cost the server: sizes, counts and seconds, as one value.

Each number bounds memory or time that somebody without any proof can make Midflight spend.
"""

from __future__ import annotations

from midflight.domain.value import Value


class Limits(Value):
    """Bounds on connections and requests. Every one is positive.

    Attributes:
        request_line: bytes of the request line (RFC 9112 §3 recommends at least 8,000).
        header_bytes: bytes of all header lines of a request together.
        header_count: header lines of a request.
        head_s: seconds from the first byte of a request until its head is complete; also how long
            a fresh connection may stay silent.
        body_idle_s: seconds without a byte of a body that the app is waiting for.
        body_total_s: seconds for a whole body, not counting what the app itself delays.
        keep_alive_s: seconds that a connection may rest between requests.
        write_stall_s: seconds in which a client that reads slowly must take at least 16 KiB.
        pipelined: requests that may wait behind an unanswered one.
        pipelined_bytes: bytes that may wait behind an unanswered request.
        connections: open connections over all listeners.
        connections_per_peer: open connections of one peer: an IPv4 address, an IPv6 /64, or the
            user id on a Unix socket. All local TCP clients are one peer.
        drain_bytes: bytes of a body that are read and dropped after an early answer, so that the
            client gets to see the answer and may keep the connection.
        linger_s: seconds for such dropping, and for a client to take a refusal.
        handshake_s: seconds for a TLS handshake.
        shutdown_s: seconds that running requests get when the server stops.
        accept_backlog: connections that the kernel holds until they are accepted.
    """

    request_line: int = 8_192
    header_bytes: int = 32_768
    header_count: int = 100
    head_s: float = 10.0
    body_idle_s: float = 30.0
    body_total_s: float = 300.0
    keep_alive_s: float = 75.0
    write_stall_s: float = 30.0
    pipelined: int = 16
    pipelined_bytes: int = 65_536
    connections: int = 4_096
    connections_per_peer: int = 2_048
    drain_bytes: int = 1_048_576
    linger_s: float = 2.0
    handshake_s: float = 10.0
    shutdown_s: float = 10.0
    accept_backlog: int = 1_024

    def __post_init__(self) -> None:
        wrong = [name for name in self.__struct_fields__ if getattr(self, name) <= 0]
        if wrong:
            raise ValueError(f"limits must be positive: {', '.join(wrong)}")


__all__ = ["Limits"]
