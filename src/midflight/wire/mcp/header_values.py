"""How a value of the body is spelled in an HTTP header, and read back.

MCP 2026-07-28, Streamable HTTP §Value Encoding: plain ASCII as it is, anything else as
`=?base64?…?=`. Reading is strict, since two readers of a lax base64 see two values: lower-case
markers, the standard alphabet, full padding, no stray bits, UTF-8.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

_PREFIX: Final = "=?base64?"
_SUFFIX: Final = "?="
_PLAIN: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?\Z")
_INTEGER: Final = re.compile(r"(?P<whole>-?[0-9]{1,19})(?:\.0{1,19})?\Z")
MAX_SAFE_INTEGER: Final = 2**53 - 1


def encode(text: str) -> str:
    """The header's value for a text."""
    if _PLAIN.match(text) and not _is_wrapped(text):
        return text
    return f"{_PREFIX}{base64.b64encode(text.encode()).decode()}{_SUFFIX}"


def decode(raw: bytes) -> str | None:
    """The text of a header's value, or None if it is none that a client may send.

    White space around the value is not part of it (RFC 9110 §5.5).
    """
    text = plain(raw) if raw.strip(b" \t") else ""
    if text is None or not _is_wrapped(text):
        return text
    payload = text[len(_PREFIX) : -len(_SUFFIX)]
    try:
        decoded = base64.b64decode(payload, validate=True)
        if base64.b64encode(decoded).decode() != payload:
            return None
        return decoded.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None


def plain(raw: bytes) -> str | None:
    """The text of a header that knows no base64 form (`Mcp-Method`, `MCP-Protocol-Version`)."""
    try:
        text = raw.strip(b" \t").decode("ascii")
    except UnicodeDecodeError:
        return None
    return text if _PLAIN.match(text) else None


def spelled(value: object) -> str | None:
    """The text of a body's value before encoding, or None if such a value is never mirrored."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int() | float():
            return str(value)
        case _:
            return None


def says(text: str, value: object, *, integer: bool) -> bool:
    """Whether a header's text says the body's value.

    Integers compare as numbers (`42.0` is `42`, the specification's SHOULD), exactly, and only
    where every reader holds the same number (±(2^53 - 1)).
    """
    if integer and isinstance(value, int | float) and not isinstance(value, bool):
        number = _INTEGER.match(text)
        if number is None or value != int(value) or abs(value) > MAX_SAFE_INTEGER:
            return False
        return int(number["whole"]) == value
    return text == spelled(value)


def _is_wrapped(text: str) -> bool:
    # The markers may not share the question mark: `=?base64?=` is a plain value.
    return (
        len(text) >= len(_PREFIX) + len(_SUFFIX)
        and text.startswith(_PREFIX)
        and text.endswith(_SUFFIX)
    )


__all__ = ["MAX_SAFE_INTEGER", "decode", "encode", "plain", "says", "spelled"]
