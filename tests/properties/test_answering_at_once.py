"""What is written at once is what uvicorn would have written, and nothing where it cannot be."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from midflight.apps.server.at_once import LARGEST, AtOnce
from midflight.apps.server.respond import (
    send_json,
    send_sse_chunk,
    send_sse_end,
    send_sse_start,
)


class Wire:
    """A transport that keeps what is written, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.pieces.append(bytes(data))

    def close(self) -> None:
        self.closing = True


class Exchange:
    """One request that is being answered."""

    def __init__(self, *, method: str = "POST", keep_alive: bool = True) -> None:
        self.wire = Wire()
        self.ended = 0
        transport: Any = self.wire
        scope: Any = {"type": "http", "method": method, "path": "/"}
        self.cycle: Any = RequestResponseCycle(
            scope=scope,
            transport=transport,
            flow=FlowControl(transport),
            logger=logging.getLogger("uvicorn.error"),
            access_logger=logging.getLogger("uvicorn.access"),
            access_log=False,
            default_headers=[(b"date", b"Fri, 27 Nov 2026 01:21:55 GMT")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._end,
        )

    def _end(self) -> None:
        self.ended += 1

    def state(self) -> dict[str, Any]:
        """What the server looks at afterwards, and what the client has got."""
        cycle = self.cycle
        return {
            "bytes": b"".join(self.wire.pieces),
            "closing": self.wire.closing,
            "ended": self.ended,
            "started": cycle.response_started,
            "complete": cycle.response_complete,
            "told": cycle.message_event.is_set(),
            "waits": cycle.waiting_for_100_continue,
        }


BODIES = st.binary(min_size=1, max_size=300)


@given(body=BODIES, status=st.sampled_from([200, 400, 404, 500]))
def test_an_answer_has_the_same_bytes(body: bytes, status: int) -> None:
    ours, theirs = Exchange(), Exchange()
    assert AtOnce(ours.cycle).answer(body, status=status)
    asyncio.run(send_json(theirs.cycle.send, body, status=status))
    assert ours.state() == theirs.state()
    assert len(ours.wire.pieces) == 1


@given(pieces=st.lists(BODIES, max_size=3), last=BODIES)
def test_the_end_of_a_stream_has_the_same_bytes(pieces: list[bytes], last: bytes) -> None:
    ours, theirs = Exchange(), Exchange()

    async def stream(exchange: Exchange) -> None:
        await send_sse_start(exchange.cycle.send)
        for piece in pieces:
            await send_sse_chunk(exchange.cycle.send, piece)

    async def both() -> None:
        await stream(ours)
        await stream(theirs)
        assert AtOnce(ours.cycle).end(last)
        await send_sse_end(theirs.cycle.send, last)

    asyncio.run(both())
    assert ours.state() == theirs.state()


def disconnected(exchange: Exchange) -> None:
    exchange.cycle.disconnected = True


def slow(exchange: Exchange) -> None:
    exchange.cycle.flow.pause_writing()


def answered(exchange: Exchange) -> None:
    assert AtOnce(exchange.cycle).answer(b"{}")


def begun(exchange: Exchange) -> None:
    exchange.cycle.response_started = True


def closing(exchange: Exchange) -> None:
    exchange.cycle.keep_alive = False


@pytest.mark.parametrize("become", [disconnected, slow, answered, begun, closing])
def test_nothing_is_written_where_it_would_be_wrong(become: Callable[[Exchange], None]) -> None:
    exchange = Exchange()
    become(exchange)
    before = exchange.state()
    assert not AtOnce(exchange.cycle).answer(b"{}")
    assert not AtOnce(exchange.cycle).end(b"data: {}\n\n")
    assert exchange.state() == before


@pytest.mark.parametrize("body", [b"", b"x" * (LARGEST + 1)])
def test_nothing_of_an_odd_size_is_written(body: bytes) -> None:
    exchange = Exchange()
    assert not AtOnce(exchange.cycle).answer(body)
    assert exchange.wire.pieces == []


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_only_a_post_is_answered(method: str) -> None:
    exchange = Exchange(method=method)
    assert not AtOnce(exchange.cycle).answer(b"{}")
    assert exchange.wire.pieces == []
