"""What the server itself answers when it refuses: an HTTP status, a code, and what would help.

These are for bytes and connections; what an app refuses it answers itself (`respond.py`). After any
of them the connection closes.
"""

from __future__ import annotations

import http
from collections.abc import Iterable

import msgspec

from midflight.domain.value import Value


class Refusal(Value):
    """Why a connection is answered and closed: a status, a code for machines, and words."""

    status: int
    code: str
    message: str
    hint: str = ""

    def answer(self, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The whole answer on the wire; `headers` are those that every answer has."""
        told = {"code": self.code, "message": self.message, "hint": self.hint}
        body = msgspec.json.encode(told)
        phrase = http.HTTPStatus(self.status).phrase.encode()
        return b"".join(
            [
                b"HTTP/1.1 %d %b\r\n" % (self.status, phrase),
                *(b"%b: %b\r\n" % header for header in headers),
                b"content-type: application/json\r\n",
                b"content-length: %d\r\n" % len(body),
                b"connection: close\r\n\r\n",
                body,
            ]
        )


MALFORMED = Refusal(
    status=400,
    code="malformed_request",
    message="The request is not well-formed HTTP/1.1.",
    hint="Send one request as RFC 9112 writes it.",
)
AMBIGUOUS = Refusal(
    status=400,
    code="ambiguous_framing",
    message="It is not certain where the body of the request ends.",
    hint="Send either one Content-Length or `Transfer-Encoding: chunked`.",
)
BAD_HOST = Refusal(
    status=400,
    code="bad_host",
    message="The request must name its host exactly once.",
    hint="Send one Host header that agrees with the request target.",
)
TARGET_TOO_LONG = Refusal(
    status=414,
    code="target_too_long",
    message="The request line is too long.",
    hint="Put data into the body.",
)
HEADERS_TOO_LARGE = Refusal(
    status=431,
    code="headers_too_large",
    message="The request has too many headers or too many bytes of them.",
    hint="Send fewer or shorter headers.",
)
BAD_EXPECTATION = Refusal(
    status=417,
    code="bad_expectation",
    message="The only expectation that can be met is 100-continue.",
)
UNKNOWN_METHOD = Refusal(
    status=501,
    code="unknown_method",
    message="The method is not served here.",
    hint="Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
)
UNKNOWN_VERSION = Refusal(
    status=505,
    code="unknown_version",
    message="This version of HTTP is not spoken here.",
    hint="Use HTTP/1.1.",
)
TOO_SLOW = Refusal(
    status=408,
    code="too_slow",
    message="The request did not arrive in time.",
    hint="Send the request without pauses.",
)
TOO_MANY = Refusal(
    status=503,
    code="too_many_connections",
    message="There are too many open connections.",
    hint="Reuse connections, or try again later.",
)

__all__ = [
    "AMBIGUOUS",
    "BAD_EXPECTATION",
    "BAD_HOST",
    "HEADERS_TOO_LARGE",
    "MALFORMED",
    "TARGET_TOO_LONG",
    "TOO_MANY",
    "TOO_SLOW",
    "UNKNOWN_METHOD",
    "UNKNOWN_VERSION",
    "Refusal",
]
