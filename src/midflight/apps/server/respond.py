"""Answers over raw ASGI: JSON, nothing, an error of the tree, or a stream of events.

Every answer of Midflight is for programs: not cached unless it says so, never sniffed for another
type. How an
event is written is `wire/sse.py`'s; here is only the response that carries events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from midflight.apps.server.asgi import Send
from midflight.domain.errors import MidflightError

Extra = Iterable[tuple[bytes, bytes]]

JSON: Final = b"application/json"
_NOT_KEPT: Final = (b"cache-control", b"no-store")
_NOT_SNIFFED: Final = (b"x-content-type-options", b"nosniff")
_EVENTS: Final = (
    (b"content-type", b"text/event-stream"),
    _NOT_KEPT,
    _NOT_SNIFFED,
    # nginx and its relatives would hold events back.
    (b"x-accel-buffering", b"no"),
)


def json_headers(
    body: bytes, *, content_type: bytes = JSON, kept: tuple[bytes, bytes] = _NOT_KEPT
) -> list[tuple[bytes, bytes]]:
    """The headers of an answer that is there whole."""
    length = b"%d" % len(body)
    return [(b"content-type", content_type), (b"content-length", length), kept, _NOT_SNIFFED]


async def send_json(
    send: Send,
    body: bytes,
    *,
    status: int = 200,
    headers: Extra = (),
    content_type: bytes = JSON,
    public_s: int = 0,
) -> None:
    """Answer with bytes that are already encoded: JSON, or what `content_type` says.

    Anybody may keep it for `public_s` seconds; nobody at all by default.
    """
    kept = (b"cache-control", b"public, max-age=%d" % public_s) if public_s else _NOT_KEPT
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*json_headers(body, content_type=content_type, kept=kept), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def send_empty(send: Send, status: int = 202, *, headers: Extra = ()) -> None:
    """Answer without a body."""
    # RFC 9110 §8.6: 204 has no Content-Length.
    length = () if status == 204 else ((b"content-length", b"0"),)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*length, _NOT_KEPT, *headers],
        }
    )
    await send({"type": "http.response.body", "body": b""})


async def send_error(send: Send, error: MidflightError, *, headers: Extra = ()) -> None:
    """Answer with an error of the tree: `{"code": …, "message": …, "hint": …}`."""
    told = {"code": error.code, "message": error.message, "hint": error.hint}
    body = msgspec.json.encode(told)
    await send_json(send, body, status=error.http_status, headers=headers)


async def send_sse_start(send: Send, *, headers: Extra = ()) -> None:
    """Begin a stream of server-sent events (WHATWG HTML §9.2)."""
    await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]})


async def send_sse_chunk(send: Send, piece: bytes) -> None:
    """Send encoded events. Waits while the reader is slow."""
    await send({"type": "http.response.body", "body": piece, "more_body": True})


async def send_sse_end(send: Send, piece: bytes = b"") -> None:
    """End the stream, behind a last piece. Else the server cuts it, so that a reader can tell."""
    await send({"type": "http.response.body", "body": piece, "more_body": False})


__all__ = [
    "JSON",
    "Send",
    "json_headers",
    "send_empty",
    "send_error",
    "send_json",
    "send_sse_chunk",
    "send_sse_end",
    "send_sse_start",
]
