"""Unfolding: all that a piece of text could be read as, for whoever looks for a value in it.

Percent and HTML escapes, JSON's escapes, base64, base32 and hex, inside one another, whole or
as a part of a longer text, and backwards. Only for suspicion: no reading ever makes a value
trusted. Bounded in depth and in total length: what one encoding hides is always read, since it is
not much longer than the text; what is inside of that, up to `MAX_READ` or `TIMES` the text.
Below: `flow/text.py`. Above: `redaction.py`, `canary.py`.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

from midflight.domain.flow.text import skeleton

MAX_DEPTH = 3
"""Encodings inside one another."""
MAX_READ = 4_194_304
"""Characters of all readings that are more than one encoding away from a text, together."""
TIMES = 4
"""The same for a long text, in lengths of it: padding must not hide what is behind it."""

_PIECE = re.compile(r"[A-Za-z0-9+/_=-]{12,}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}[\s:,-]?){6,}")
_BASE32 = re.compile(r"[A-Za-z2-7]{16,}=*\Z")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2}))")
_REST = re.compile(r"[^a-z0-9]+")


def readings(text: str) -> Iterator[str]:
    """The text, and what it says when encodings in it are undone. Each once, the text first."""
    seen = {text}
    level = [text]
    left = max(MAX_READ, TIMES * len(text))
    yield text
    for depth in range(MAX_DEPTH):
        following: list[str] = []
        for each in level:
            for plain in _decoded(each):
                left -= len(plain) if depth else 0
                if plain and plain not in seen and left > 0:
                    seen.add(plain)
                    following.append(plain)
                    yield plain
        level = following


def squashed(text: str) -> str:
    """Only its letters and digits, as a lenient reader takes them: what separators cannot hide."""
    return _REST.sub("", skeleton(text))


def _decoded(text: str) -> Iterator[str]:
    # Pieces first: they are short, and what is spent on the whole text is not there for them.
    bare = "".join(text.split())
    pieces = dict.fromkeys(_PIECE.findall(text))
    if bare != text and _PIECE.fullmatch(bare) is not None:
        pieces[bare] = None
    for piece in pieces:
        yield from _base64(piece)
        # Alphabets overlap: what decodes in one can be meant in the other.
        if _BASE32.match(piece) is not None:
            yield from _try(piece, _base32)
    for found in dict.fromkeys(each[0] for each in _HEX.finditer(text)):
        yield from _try(found, lambda raw: bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", raw)))
    if "%" in text:
        # A lone surrogate, which an escape can spell, has no bytes.
        raw = text.replace("+", " ").encode("utf-8", "replace")
        yield unquote_to_bytes(raw).decode("utf-8", "replace")
    if "&" in text:
        yield html.unescape(text)
    if "\\" in text:
        yield _ESCAPE.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


def _base64(piece: str) -> Iterator[str]:
    # A path or a header may stand before it without a gap: its parts are tried, too.
    for part in dict.fromkeys((piece, *re.split(r"[=/_-]", piece))):
        if len(part) >= 12:
            yield from _try(part, _plain64)


def _plain64(part: str) -> bytes:
    standard = part.rstrip("=").translate(str.maketrans("-_", "+/"))
    standard = standard[: len(standard) - (len(standard) % 4 == 1)]
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)


def _base32(piece: str) -> bytes:
    standard = piece.rstrip("=").upper()
    return base64.b32decode(standard + "=" * (-len(standard) % 8))


def _try(part: str, decode: Callable[[str], bytes]) -> Iterator[str]:
    try:
        raw = decode(part)
    except (binascii.Error, ValueError):
        return
    # Whatever else is in it: what is looked for must not hide behind bytes that are no text.
    yield raw.decode("utf-8", "replace")


__all__ = ["MAX_READ", "readings", "squashed"]
