from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.apps.server.asgi import Event
from midflight.apps.server.body import check_json, read_body
from midflight.apps.server.respond import (
    send_empty,
    send_error,
    send_json,
    send_sse_chunk,
    send_sse_end,
    send_sse_start,
)
from midflight.domain.errors import Conflict, Malformed, TooLarge, Unsupported

pytestmark = pytest.mark.anyio


class Pieces:
    """`receive` of a request in pieces; counts how many were asked for."""

    def __init__(self, *pieces: bytes, complete: bool = True) -> None:
        self._events: list[Event] = [
            {
                "type": "http.request",
                "body": piece,
                "more_body": at < len(pieces) - 1 or not complete,
            }
            for at, piece in enumerate(pieces)
        ]
        self.asked = 0

    async def __call__(self) -> Event:
        self.asked += 1
        return self._events.pop(0) if self._events else {"type": "http.disconnect"}


async def test_a_body_is_read_whole() -> None:
    assert await read_body(Pieces(b"one"), [], 3) == b"one"
    assert await read_body(Pieces(b"o", b"", b"ne"), [], 3) == b"one"


async def test_a_declared_length_over_the_limit_is_refused_unread() -> None:
    receive = Pieces(b"four")
    with pytest.raises(TooLarge) as caught:
        await read_body(receive, [(b"content-length", b"4")], 3)
    assert caught.value.http_status == 413
    assert receive.asked == 0


async def test_reading_stops_at_the_piece_that_is_too_much() -> None:
    receive = Pieces(b"ab", b"cd", b"ef")
    with pytest.raises(TooLarge):
        await read_body(receive, [], 3)
    assert receive.asked == 2


async def test_a_compressed_body_is_not_read() -> None:
    with pytest.raises(Unsupported) as caught:
        await read_body(Pieces(b"x"), [(b"content-encoding", b"gzip")], 3)
    assert caught.value.http_status == 415


async def test_a_client_that_leaves_leaves_no_half_body() -> None:
    with pytest.raises(Malformed):
        await read_body(Pieces(b"x", complete=False), [], 3)


@pytest.mark.parametrize(
    "value",
    [
        b"application/json",
        b"Application/JSON",
        b"application/json; charset=utf-8",
        b'application/json;charset="UTF-8"',
        b"application/json ; charset=utf8 ",
    ],
)
def test_json_in_utf_8_is_taken(value: bytes) -> None:
    check_json([(b"content-type", value)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [b""],
        [b"text/plain"],
        [b"application/jsonp"],
        [b"application/json; charset=utf-16"],
        [b"application/json; charset=utf-8; charset=utf-16"],
        [b"application/json; boundary=x"],
        [b"application/json, text/plain"],
        [b"text/plain; application/json"],
        [b"application/json", b"application/json"],
        [b"application/x-www-form-urlencoded"],
    ],
)
def test_anything_else_is_not_taken(headers: list[bytes]) -> None:
    with pytest.raises(Unsupported):
        check_json([(b"content-type", value) for value in headers])


@given(value=st.binary(max_size=60))
def test_no_content_type_crashes_the_check(value: bytes) -> None:
    try:
        check_json([(b"content-type", value)])
    except Unsupported:
        return
    assert value.lower().startswith(b"application/json")


class Sent:
    def __init__(self) -> None:
        self.events: list[Any] = []

    async def __call__(self, event: Event) -> None:
        self.events.append(event)

    def header(self, name: bytes) -> bytes | None:
        return dict(self.events[0]["headers"]).get(name)


async def test_json_is_sent_with_its_length_and_never_cached_or_sniffed() -> None:
    sent = Sent()
    await send_json(sent, b"{}", status=201, headers=[(b"x", b"y")])
    assert sent.events[0]["status"] == 201
    assert sent.header(b"content-length") == b"2"
    assert sent.header(b"content-type") == b"application/json"
    assert sent.header(b"cache-control") == b"no-store"
    assert sent.header(b"x-content-type-options") == b"nosniff"
    assert sent.header(b"x") == b"y"
    assert sent.events[1] == {"type": "http.response.body", "body": b"{}"}


async def test_204_has_no_length() -> None:
    sent = Sent()
    await send_empty(sent, 204)
    assert sent.header(b"content-length") is None
    sent = Sent()
    await send_empty(sent)
    assert (sent.events[0]["status"], sent.header(b"content-length")) == (202, b"0")


async def test_an_error_is_sent_as_it_says() -> None:
    sent = Sent()
    await send_error(sent, Conflict("It is so.", hint="Change it."))
    assert sent.events[0]["status"] == 409
    assert (
        sent.events[1]["body"] == b'{"code":"conflict","message":"It is so.","hint":"Change it."}'
    )


async def test_a_stream_begins_goes_on_and_ends() -> None:
    sent = Sent()
    await send_sse_start(sent, headers=[(b"x", b"y")])
    await send_sse_chunk(sent, b"data: 1\n\n")
    await send_sse_end(sent)
    assert sent.header(b"content-type") == b"text/event-stream"
    assert sent.header(b"content-length") is None
    assert [event.get("more_body") for event in sent.events[1:]] == [True, False]
