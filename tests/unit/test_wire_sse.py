"""`wire.sse`: the WHATWG rules, whatever the chunks are, in bounded memory."""

from __future__ import annotations

import pytest

from midflight.domain.errors import Malformed
from midflight.wire import sse
from midflight.wire.sse import Event


def _all(raw: bytes, *, size: int = 0, limit: int = 1 << 16) -> list[Event]:
    decoder = sse.Decoder(limit)
    if not size:
        return decoder.feed(raw)
    events: list[Event] = []
    for start in range(0, len(raw), size):
        events += decoder.feed(raw[start : start + size])
    return events


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7])
@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_are_the_same_in_any_chunks_and_with_any_line_end(size: int, end: bytes) -> None:
    raw = end.join(
        [
            b"\xef\xbb\xbf: a comment",
            b"event: update",
            b"id: 7",
            b"retry: 1500",
            b"data: first",
            b"data:second",
            b"data",
            b"data:  two spaces",
            b"unknown: x",
            b"",
            b"data: plain",
            b"",
            b"data: never dispatched",
        ]
    )
    assert _all(raw, size=size) == [
        Event(data=b"first\nsecond\n\n two spaces", event="update", id="7", retry=1500),
        Event(data=b"plain", event="message", id="7"),
    ]


def test_an_event_without_data_is_not_dispatched_but_its_id_counts() -> None:
    decoder = sse.Decoder(100)
    assert decoder.feed(b"event: x\nid: 4\nretry: 10\ndata:\n\n") == []
    assert (decoder.last_event_id, decoder.retry) == ("4", 10)
    assert decoder.feed(b"data: y\n\n") == [Event(data=b"y", id="4")]


def test_ids_with_nul_and_retries_that_are_no_digits_are_ignored() -> None:
    assert _all(b"id: a\0b\nretry: 1.5\nretry: -1\nretry: " + b"9" * 40 + b"\ndata: x\n\n") == [
        Event(data=b"x")
    ]


def test_a_byte_order_mark_is_dropped_only_at_the_start() -> None:
    assert _all(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n") == [Event(data=b"a")]


def test_a_line_feed_after_a_carriage_return_of_the_last_chunk_is_one_line_end() -> None:
    decoder = sse.Decoder(100)
    assert decoder.feed(b"data: a\r") == []
    assert decoder.feed(b"\n") == []
    assert decoder.feed(b"\r") == [Event(data=b"a")]
    assert decoder.feed(b"\n") == []


@pytest.mark.parametrize(
    "raw",
    [
        b"data: " + b"x" * 100,
        b"data: x\n" * 40,
        b"data\n" * 200,
        b": " + b"c" * 200,
        b"event: " + b"e" * 200,
    ],
)
@pytest.mark.parametrize("size", [1, 1000])
def test_an_event_beyond_the_limit_is_refused(raw: bytes, size: int) -> None:
    with pytest.raises(Malformed, match="longer than 64"):
        _all(raw, size=size, limit=64)


def test_many_small_events_do_not_add_up_to_the_limit() -> None:
    assert len(_all(b"data: 0123456789\n\n" * 10_000)) == 10_000


def test_an_encoded_event_decodes_to_itself() -> None:
    raw = sse.COMMENT + sse.encode(b'{"a":\n1}', id="9", event="e", retry=5)
    assert _all(raw) == [Event(data=b'{"a":\n1}', event="e", id="9", retry=5)]
    assert _all(sse.encode(b"x")) == [Event(data=b"x")]


@pytest.mark.parametrize("field", [{"id": "a\nb"}, {"event": "a\rb"}, {"id": "\0"}])
def test_fields_cannot_break_out_of_their_line(field: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        sse.encode(b"x", **field)  # type: ignore[arg-type]
