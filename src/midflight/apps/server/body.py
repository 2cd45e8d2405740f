"""Reads the body of a request in bounds, and checks what its headers say about it."""

from __future__ import annotations

import re

from midflight.apps.server.asgi import Headers, Receive, header_values
from midflight.domain.errors import Malformed, TooLarge, Unsupported

_JSON = re.compile(
    rb"application/json[ \t]*(?:;[ \t]*charset[ \t]*=[ \t]*\"?utf-?8\"?[ \t]*)?", re.IGNORECASE
)


async def read_body(receive: Receive, headers: Headers, limit: int) -> bytes:
    """The whole body of a request, at most `limit` bytes.

    Raises:
        TooLarge: the body is longer, or says that it will be; nothing more is read (413).
        Unsupported: the body has a content coding (415): what is judged is what was sent.
        Malformed: the client left before the body was complete (400, to nobody).
    """
    for name, value in headers:
        if name == b"content-length" and int(value) > limit:
            raise _too_large(limit)
        if name == b"content-encoding":
            raise Unsupported(
                "Compressed requests are not read.", hint="Send the body without Content-Encoding."
            )
    pieces: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise Malformed("The client left before its request was complete.")
        piece = event.get("body", b"")
        size += len(piece)
        if size > limit:
            raise _too_large(limit)
        if not event.get("more_body", False):
            return b"".join([*pieces, piece]) if pieces else piece
        pieces.append(piece)


def check_json(headers: Headers) -> None:
    """Refuse a body that is not declared as JSON in UTF-8.

    A browser must ask before it sends this type across origins, so it also guards against forms.

    Raises:
        Unsupported: no, another or more than one Content-Type (415).
    """
    types = header_values(headers, b"content-type")
    if len(types) != 1 or _JSON.fullmatch(types[0]) is None:
        raise Unsupported(
            "The request's body must be JSON in UTF-8.",
            hint="Send `Content-Type: application/json` once.",
        )


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"The request's body is larger than {limit} bytes.",
        hint="Send less at once, or raise the limit in the settings.",
    )


__all__ = ["check_json", "read_body"]
