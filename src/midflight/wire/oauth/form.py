"""Reads `application/x-www-form-urlencoded` as OAuth means it: a parameter once, or not at all.

RFC 6749 §3.1 and §3.2: a parameter without a value counts as left out, and none may be there twice;
two readers that pick different ones of two would grant what was never asked.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from midflight.domain.errors import Malformed

MAX_BODY = 65_536
MAX_FIELDS = 40
MAX_NAME = 64

_TEXT = re.compile(r"[A-Za-z0-9._~!$'()*,;:@/?+%\[\]{}|\\^`\"<> -]*\Z")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


def decode_form(raw: bytes | str) -> dict[str, str]:
    """Parameters of a form body or of a query.

    Raises:
        Malformed: not UTF-8, a bad escape, a control character, too many parameters, or one
            twice. The message names no value.
    """
    if len(raw) > MAX_BODY:
        raise Malformed("The form is larger than 64 KiB.")
    try:
        text = raw if isinstance(raw, str) else raw.decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("The form is not percent-encoded.") from None
    found: dict[str, str] = {}
    seen: set[str] = set()
    pairs = text.split("&") if text else []
    if len(pairs) > MAX_FIELDS:
        raise Malformed(f"The form has more than {MAX_FIELDS} parameters.")
    for pair in pairs:
        name, _, value = pair.partition("=")
        name, value = _decoded(name), _decoded(value)
        if not name or len(name) > MAX_NAME:
            raise Malformed("A parameter has no name, or too long a one.")
        if name in seen:
            raise Malformed("A parameter is there twice.", hint="Send each parameter once.")
        seen.add(name)
        if value:
            found[name] = value
    return found


def _decoded(text: str) -> str:
    if _TEXT.match(text) is None or _BAD_ESCAPE.search(text):
        raise Malformed("The form is not percent-encoded.")
    try:
        value = unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("A parameter is not UTF-8.") from None
    if any((ord(one) < 0x20 and one not in "\r\n\t") or ord(one) == 0x7F for one in value):
        raise Malformed("A parameter holds control characters.")
    return value


__all__ = ["MAX_BODY", "decode_form"]
