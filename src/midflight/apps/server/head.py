"""What a request's head must look like, decided on its bytes before any parser sees them.

A head is everything up to the empty line. It is judged whole: sizes first, then the request line,
then what frames the body, because requests are smuggled where two readers disagree about framing
(RFC 9112 §11.2). What is ambiguous is refused, not repaired. Pure: bytes in, a value out. Above it
stands `protocol.py`, which hands an admitted head to llhttp; that refuses the rest (bare CR or LF,
folded lines, bad header names), and `tests/attacks/test_request_smuggling.py` pins both.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from midflight.apps.server.limits import Limits
from midflight.domain.value import Value

CHUNKED: Final = -1
"""`Head.body` of a request with `Transfer-Encoding: chunked`."""

END: Final = b"\r\n\r\n"

_LINE = re.compile(rb"([A-Z]{1,16}) ([!\"$-~]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(rb"[A-Z]{1,16} [!-~]+ HTTP/[0-9](?:\.[0-9])?\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,15})[ \t]*\r\n")
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n")
_EXPECTATION = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*\r\n")
_HOST = re.compile(rb"\r\nhost:[ \t]*([^\r\n]*?)[ \t]*\r\n")
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)/", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_METHODS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})


class Head(Value):
    """An admitted head.

    Attributes:
        raw: the bytes for the parser, up to and with the empty line.
        body: how many bytes of body follow, or `CHUNKED`.
        old: the request is HTTP/1.0.
    """

    raw: bytes
    body: int = 0
    old: bool = False


class Refusal(Value):
    """Why a connection is answered and closed: a status, a code for machines, and words."""

    status: int
    code: str
    message: str
    help: str = ""

    def body(self) -> bytes:
        """The answer's body, JSON."""
        told = {"error": self.code, "message": self.message, "hint": self.help}
        return msgspec.json.encode(told)


MALFORMED = Refusal(
    status=400,
    code="malformed_request",
    message="The request is not well-formed HTTP/1.1.",
    help="Send one request as RFC 9112 writes it.",
)
AMBIGUOUS = Refusal(
    status=400,
    code="ambiguous_framing",
    message="It is not certain where the body of the request ends.",
    help="Send either one Content-Length or `Transfer-Encoding: chunked`.",
)
BAD_HOST = Refusal(
    status=400,
    code="bad_host",
    message="The request must name its host exactly once.",
    help="Send one Host header that agrees with the request target.",
)
TARGET_TOO_LONG = Refusal(
    status=414,
    code="target_too_long",
    message="The request line is too long.",
    help="Put data into the body.",
)
HEADERS_TOO_LARGE = Refusal(
    status=431,
    code="headers_too_large",
    message="The request has too many headers or too many bytes of them.",
    help="Send fewer or shorter headers.",
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
    help="Use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS.",
)
UNKNOWN_VERSION = Refusal(
    status=505,
    code="unknown_version",
    message="This version of HTTP is not spoken here.",
    help="Use HTTP/1.1.",
)


def judge(raw: bytes, limits: Limits) -> Head | Refusal:  # noqa: PLR0911 # one way out for each refusal
    """Admit or refuse one head, `raw` being its bytes up to and with the empty line.

    Costs about 2 µs for a head of 500 bytes. It relies on the parser behind it for what a header
    name and value may contain.
    """
    lines = raw.count(b"\r\n")
    line_end = raw.find(b"\r\n")
    if line_end > limits.request_line:
        return TARGET_TOO_LONG
    # The request line, its CRLF and the empty line are not headers.
    if len(raw) - line_end - 4 > limits.header_bytes or lines - 2 > limits.header_count:
        return HEADERS_TOO_LARGE
    # Every CR and every LF is part of a CRLF, or two readers may see different lines.
    if raw.count(b"\n") != lines or raw.count(b"\r") != lines:
        return MALFORMED
    line = _LINE.match(raw)
    if line is None:
        return UNKNOWN_VERSION if _OTHER_VERSION.match(raw) else MALFORMED
    method, target, minor = line.groups()
    if method not in _METHODS:
        return UNKNOWN_METHOD
    lower = raw.lower()
    old = minor == b"0"
    hosts = lower.count(b"\r\nhost:")
    if hosts > 1 or (hosts == 0 and not old):
        return BAD_HOST
    if target[0] != 0x2F and not _names_its_host(target.lower(), lower):
        return BAD_HOST if _ABSOLUTE.match(target) else MALFORMED
    if b"\r\nexpect:" in lower and (
        lower.count(b"\r\nexpect:") > 1 or _EXPECTATION.search(lower) is None
    ):
        return BAD_EXPECTATION
    if b"\r\nupgrade:" in lower:
        # An upgrade may be ignored (RFC 9110 §7.8) and always is. The parser must not see it, for
        # it would end the message behind the head and take the body for the next request.
        raw = _UPGRADE.sub(b"", raw)
    body = _framing(lower, old=old)
    return AMBIGUOUS if body is None else Head(raw=raw, body=body, old=old)


def unfinished(start: bytes | bytearray, limits: Limits) -> Refusal | None:
    """Refuse a head that is not complete yet and already too large; None to wait for more."""
    line_end = start.find(b"\r\n")
    if line_end > limits.request_line or (line_end < 0 and len(start) > limits.request_line):
        return TARGET_TOO_LONG
    if len(start) > line_end + 4 + limits.header_bytes:
        return HEADERS_TOO_LARGE
    return None


def _framing(lower: bytes, *, old: bool) -> int | None:
    """Length of the body, `CHUNKED`, or None if that is not certain (RFC 9112 §6.3)."""
    lengths = lower.count(b"\r\ncontent-length:")
    codings = lower.count(b"\r\ntransfer-encoding:")
    if codings:
        # HTTP/1.0 has no transfer codings (RFC 9112 §6.1), and no other coding is understood.
        certain = codings == 1 and not lengths and not old and _CODING.search(lower)
        return CHUNKED if certain else None
    if lengths:
        length = _LENGTH.search(lower)
        return int(length[1]) if lengths == 1 and length else None
    return 0


def _names_its_host(target: bytes, lower: bytes) -> bool:
    """Whether a target in absolute form has the authority that Host has (RFC 9112 §3.2.2)."""
    absolute = _ABSOLUTE.match(target)
    host = _HOST.search(lower)
    return bool(absolute and host and absolute[1] == host[1])


__all__ = [
    "AMBIGUOUS",
    "BAD_EXPECTATION",
    "BAD_HOST",
    "CHUNKED",
    "END",
    "HEADERS_TOO_LARGE",
    "MALFORMED",
    "TARGET_TOO_LONG",
    "UNKNOWN_METHOD",
    "UNKNOWN_VERSION",
    "Head",
    "Refusal",
    "judge",
    "unfinished",
]
