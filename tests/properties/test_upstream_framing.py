"""However bytes are cut into pieces, the same lines and the same responses come out."""

from __future__ import annotations

import asyncio
import itertools
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from upstream_kit import FakeFlight

from midflight.adapters.upstream.child import _Lines
from midflight.adapters.upstream.http_client import HttpLimits, HttpTimeouts
from midflight.adapters.upstream.http_connection import Connection
from midflight.domain.errors import UpstreamBroken

CUTS = st.lists(st.integers(0, 400), max_size=12)
LIMITS = HttpLimits(head=512, headers=10, body=256, buffer=128)


def _pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[a:b] for a, b in itertools.pairwise(places)]


@given(st.lists(st.binary(max_size=40)), CUTS)
def test_lines_do_not_depend_on_how_they_arrive(texts: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(texts) + b"\n"
    heard: list[bytes] = []
    lines = _Lines(10_000, heard.append, lambda: heard.append(b"excess"), lambda: None)
    for piece in _pieces(data, cuts):
        lines.data_received(piece)
    assert heard == [line for line in data.split(b"\n") if line and not line.isspace()]


@given(st.binary(max_size=300), CUTS, st.integers(1, 20))
def test_a_line_beyond_the_limit_is_never_heard(data: bytes, cuts: list[int], limit: int) -> None:
    heard: list[bytes] = []
    excess: list[int] = []
    lines = _Lines(limit, heard.append, lambda: excess.append(1), lambda: None)
    for piece in _pieces(data, cuts):
        lines.data_received(piece)
    assert all(len(line) <= limit for line in heard)
    assert len(excess) <= 1
    assert bool(excess) == any(len(line) > limit for line in data.split(b"\n"))


class _Transport(asyncio.Transport):
    """As much of a transport as a connection uses."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})
        self.closing = False

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = True

    def write(self, data: Any) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def _receive(pieces: list[bytes]) -> tuple[str, bytes, bool]:
    """How the response ended, its body, and whether the connection is free for another."""
    free: list[Connection] = []
    with socket.socket() as sock:
        connection = Connection(
            peer="x",
            limits=LIMITS,
            timeouts=HttpTimeouts(),
            on_free=free.append,
            on_gone=lambda _: None,
        )
        transport = _Transport(sock)
        connection.connection_made(transport)
        flight = FakeFlight()
        reply = connection.begin(flight)
        await connection.write(b"GET / HTTP/1.1\r\n\r\n", b"", flight)
        for piece in pieces:
            if not transport.closing:
                connection.data_received(piece)
        connection.eof_received()
        connection.connection_lost(None)
        try:
            await reply.head()
            body = await reply.read()
        except UpstreamBroken:
            return "broken", b"", bool(free) and not transport.closing
        return str(reply.status), body, bool(free) and not transport.closing


WHOLE = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab",
        b"HTTP/1.1 204 No\r\nconnection: close\r\n\r\n",
    ]
)
RESPONSES = WHOLE | st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ncut off",
    ]
)


@given(RESPONSES, CUTS)
def test_responses_do_not_depend_on_how_they_arrive(data: bytes, cuts: list[int]) -> None:
    assert asyncio.run(_receive(_pieces(data, cuts))) == asyncio.run(_receive([data]))


@given(st.binary(max_size=300) | st.builds(bytes.__add__, RESPONSES, st.binary(max_size=50)), CUTS)
def test_no_bytes_do_anything_but_answer_or_break(data: bytes, cuts: list[int]) -> None:
    how, body, _ = asyncio.run(_receive(_pieces(data, cuts)))
    assert how == "broken" or how.isdigit()
    assert len(body) <= LIMITS.body


@given(WHOLE, st.binary(min_size=1, max_size=50).filter(lambda b: b.strip(b"\r\n")))
def test_a_connection_that_said_more_than_was_asked_is_not_used_again(
    data: bytes, more: bytes
) -> None:
    _, _, free = asyncio.run(_receive([data + more]))
    assert not free
