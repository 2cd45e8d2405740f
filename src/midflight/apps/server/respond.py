"""Answers over raw ASGI: JSON, nothing, an error of the tree, or a stream of events.

Every answer of Midflight is for programs: never cached, never sniffed for another type.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final

import msgspec

from midflight.apps.server.asgi import Send
from midflight.domain.errors import MidflightError

if TYPE_CHECKING:
    from typing_extensions import Self

Extra = Iterable[tuple[bytes, bytes]]

_NOT_KEPT: Final = (b"cache-control", b"no-store")
_NOT_SNIFFED: Final = (b"x-content-type-options", b"nosniff")
_JSON: Final = (b"content-type", b"application/json")
_TEXT: Final = (b"content-type", b"text/plain; charset=utf-8")
_EVENTS: Final = (
    (b"content-type", b"text/event-stream"),
    _NOT_KEPT,
    _NOT_SNIFFED,
    # nginx and its relatives would hold events back.
    (b"x-accel-buffering", b"no"),
)


async def send_bytes(
    send: Send, body: bytes, *, content_type: bytes, status: int = 200, headers: Extra = ()
) -> None:
    """Answer with bytes of any type."""
    length = (b"content-length", b"%d" % len(body))
    kind = (b"content-type", content_type)
    await _send_whole(send, status, [kind, length, _NOT_KEPT, _NOT_SNIFFED, *headers], body)


async def send_json(send: Send, body: bytes, *, status: int = 200, headers: Extra = ()) -> None:
    """Answer with JSON that is already encoded."""
    length = (b"content-length", b"%d" % len(body))
    await _send_whole(send, status, [_JSON, length, _NOT_KEPT, _NOT_SNIFFED, *headers], body)


async def send_text(send: Send, text: str, *, status: int = 200, headers: Extra = ()) -> None:
    """Answer with plain text."""
    body = text.encode()
    length = (b"content-length", b"%d" % len(body))
    await _send_whole(send, status, [_TEXT, length, _NOT_KEPT, _NOT_SNIFFED, *headers], body)


async def send_empty(send: Send, *, status: int = 202, headers: Extra = ()) -> None:
    """Answer without a body."""
    # RFC 9110 §8.6: 204 has no Content-Length.
    length = () if status == 204 else ((b"content-length", b"0"),)
    await _send_whole(send, status, [*length, _NOT_KEPT, *headers], b"")


async def send_error(send: Send, error: MidflightError, *, headers: Extra = ()) -> None:
    """Answer with an error of the tree: `{"error": code, "message": …, "hint": …}`."""
    told = {"error": error.code, "message": error.message, "hint": error.hint}
    body = msgspec.json.encode(told)
    await send_json(send, body, status=error.http_status, headers=headers)


class EventStream:
    """An answer as a stream of server-sent events (WHATWG HTML §9.2).

    An async context: entering sends the head, leaving without an exception ends the stream. After
    an exception the stream stays open for the server to cut, so that a reader can tell.
    """

    def __init__(self, send: Send, *, status: int = 200, headers: Extra = ()) -> None:
        self._send = send
        self._status = status
        self._headers = headers

    async def __aenter__(self) -> Self:
        await self._send(
            {
                "type": "http.response.start",
                "status": self._status,
                "headers": [*_EVENTS, *self._headers],
            }
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def event(self, data: bytes, *, name: bytes = b"", id: bytes = b"") -> int:  # noqa: A002 # the field's name
        """Send one event; returns its bytes. Waits while the reader is slow.

        Raises:
            ValueError: `name` or `id` has a line break.
        """
        return await self._write(encode_event(data, name=name, id=id))

    async def comment(self, text: bytes = b"") -> int:
        """Send a comment, which keeps the connection alive and tells nothing."""
        if b"\n" in text or b"\r" in text:
            raise ValueError("a comment is one line")
        return await self._write(b": %b\n\n" % text)

    async def _write(self, piece: bytes) -> int:
        await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        return len(piece)


def encode_event(data: bytes, *, name: bytes = b"", id: bytes = b"") -> bytes:  # noqa: A002 # the field's name
    """One event in its wire form. Data may have line breaks: each line becomes a field.

    Raises:
        ValueError: `name` or `id` has a line break, which would let it forge fields.
    """
    head = b""
    for field, value in ((b"event", name), (b"id", id)):
        if value:
            if b"\n" in value or b"\r" in value or b"\0" in value:
                raise ValueError(f"the {field.decode()} field of an event is one line")
            head += b"%b: %b\n" % (field, value)
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\ndata: ")
    return b"%bdata: %b\n\n" % (head, data)


async def _send_whole(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


__all__ = [
    "EventStream",
    "encode_event",
    "send_bytes",
    "send_empty",
    "send_error",
    "send_json",
    "send_text",
]
