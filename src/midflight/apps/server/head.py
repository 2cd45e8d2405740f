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

from midflight.apps.server.limits import Limits
from midflight.apps.server.refusals import (
    AMBIGUOUS,
    BAD_EXPECTATION,
    BAD_HOST,
    HEADERS_TOO_LARGE,
    MALFORMED,
    TARGET_TOO_LONG,
    UNKNOWN_METHOD,
    UNKNOWN_VERSION,
    Refusal,
)
from midflight.domain.value import Discreet

CHUNKED: Final = -1
"""`Head.body` of a request with `Transfer-Encoding: chunked`."""

END: Final = b"\r\n\r\n"

_LINE = re.compile(rb"([A-Z]{1,16}) ([!\"$-~]+) HTTP/1\.([01])\r\n")
_OTHER_VERSION = re.compile(rb"[A-Z]{1,16} [!-~]+ HTTP/(?!1\.[01]\r)[0-9](?:\.[0-9])?\r\n")
_FIELDS = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|expect|upgrade):[ \t]*([^\r\n]*)"
)
_ABSOLUTE = re.compile(rb"https?://([^/?#]+)/", re.IGNORECASE)
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.IGNORECASE)
_SLASH: Final = 0x2F
_MAX_DIGITS: Final = 15
_METHODS = frozenset({b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"PATCH", b"POST", b"PUT"})


class Head(Discreet):
    """An admitted head.

    Attributes:
        raw: the bytes for the parser, up to and with the empty line.
        body: how many bytes of body follow, or `CHUNKED`.
        old: the request is HTTP/1.0.
    """

    shown = ("body", "old")

    raw: bytes
    body: int = 0
    old: bool = False


def judge(raw: bytes, limits: Limits) -> Head | Refusal:  # noqa: PLR0911 # a way out a refusal
    """Admit or refuse one head, `raw` being its bytes up to and with the empty line.

    It relies on the parser behind it for what a header's name and value may contain, and for
    every CR and LF being part of a CRLF. Written for speed: one look at each line.
    """
    line = _LINE.match(raw)
    if line is None:
        return _misfit(raw, limits)
    line_end = line.end()
    method, target, minor = line.groups()
    if line_end - 2 > limits.request_line:
        return TARGET_TOO_LONG
    size = len(raw) - line_end
    if size > limits.header_bytes or (
        # The shortest line is `a:` and its end, so a short head needs no counting.
        size > 4 * limits.header_count and raw.count(b"\n") - 2 > limits.header_count
    ):
        return HEADERS_TOO_LARGE
    if method not in _METHODS:
        return UNKNOWN_METHOD
    old = minor == b"0"
    fields = _read_fields(raw, old=old)
    if isinstance(fields, Refusal):
        return fields
    hosts, body, upgrade = fields
    if len(hosts) != 1 and (hosts or not old):
        return BAD_HOST
    if target[0] != _SLASH and not _names(target.lower(), hosts):
        return BAD_HOST if _ABSOLUTE.match(target) else MALFORMED
    if upgrade:
        # An upgrade may be ignored (RFC 9110 §7.8) and always is. The parser must not see it, for
        # it would end the message behind the head and take the body for a request.
        raw = _UPGRADE.sub(b"", raw)
    return Head(raw=raw, body=body, old=old)


def _read_fields(raw: bytes, *, old: bool) -> tuple[list[bytes], int, bool] | Refusal:
    """Every Host, the length of the body (RFC 9112 §6.3), and whether an upgrade is asked for."""
    hosts: list[bytes] = []
    body = 0
    framed = upgrade = False
    for name, value in _FIELDS.findall(raw.lower()):
        if name == b"host":
            hosts.append(value)
        elif name == b"content-length":
            digits = value.rstrip(b" \t")
            if framed or not digits.isdigit() or len(digits) > _MAX_DIGITS:
                return AMBIGUOUS
            body, framed = int(digits), True
        elif name == b"transfer-encoding":
            # HTTP/1.0 has no transfer codings (RFC 9112 §6.1), and no other coding is understood.
            if framed or old or value.rstrip(b" \t") != b"chunked":
                return AMBIGUOUS
            body, framed = CHUNKED, True
        elif name == b"upgrade":
            upgrade = True
        elif value.rstrip(b" \t") != b"100-continue":
            return BAD_EXPECTATION
    return hosts, body, upgrade


def unfinished(start: bytes | bytearray, limits: Limits) -> Refusal | None:
    """Refuse a head that is not complete yet and already too large; None to wait for more."""
    line_end = start.find(b"\r\n")
    if line_end > limits.request_line or (line_end < 0 and len(start) > limits.request_line):
        return TARGET_TOO_LONG
    if len(start) > line_end + 4 + limits.header_bytes:
        return HEADERS_TOO_LARGE
    return None


def _misfit(raw: bytes, limits: Limits) -> Refusal:
    """What is wrong with a head whose first line is no request line of HTTP/1."""
    if raw.find(b"\r\n") > limits.request_line:
        return TARGET_TOO_LONG
    return UNKNOWN_VERSION if _OTHER_VERSION.match(raw) else MALFORMED


def _names(target: bytes, hosts: list[bytes]) -> bool:
    """Whether a target in absolute form has the authority that Host has (RFC 9112 §3.2.2)."""
    absolute = _ABSOLUTE.match(target)
    return bool(absolute and hosts and absolute[1] == hosts[0].rstrip(b" \t"))


__all__ = ["CHUNKED", "END", "Head", "judge", "unfinished"]
