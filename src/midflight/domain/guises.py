"""Guises: what a piece of text says when it is read as nobody does who does not hide something.

Readings beyond `unfolding.py`, for whoever looks for a value of which there is no other like it:
base64 and hex that begin in the middle of something, base64 in groups, compressed, base85, and
letters as numbers. They cost several times as much, and of ordinary text they make nothing but
noise. Bounded: each is about as long as the text; what is compressed gives `MAX_UNPACKED` at most.
Above: `canary.py`.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Callable, Iterator

MAX_UNPACKED = 65_536
"""Bytes that one compressed piece gives."""
MAX_BASE85 = 16_384
"""Characters of a text that are read as base85, which is slow, from its beginning and its end."""

_PIECE = re.compile(r"[A-Za-z0-9+/_-]{12,}")
_HEX = re.compile(r"[0-9a-fA-F]{13,}")
_PREFIXED = re.compile(r"(?:0x[0-9a-fA-F]{2}[\s,;]*){6,}")
_NUMBERS = re.compile(r"(?:\b\d{2,3}\b[\s,;]*){6,}")
_WORD = re.compile(r"[!-~]{16,}")
_ESCAPE = re.compile(r"=([0-9a-fA-F]{2})|\\([0-7]{3})|\\u\{([0-9a-fA-F]{2,6})\}")
_URL = str.maketrans("-_", "+/")
_PACKED = (b"\x1f\x8b", b"x\x01", b"x\x5e", b"x\x9c", b"x\xda")


def guises(text: str) -> Iterator[str]:
    """What the text says so. Some may be noise, and some the same."""
    bare = "".join(text.split())
    for piece in dict.fromkeys((*_PIECE.findall(text), *_PIECE.findall(bare))):
        for start in range(4):
            yield from _base64(piece[start:])
    for found in dict.fromkeys(_HEX.findall(bare)):
        for start in range(2):
            digits = found[start:]
            yield _text(bytes.fromhex(digits[: len(digits) - len(digits) % 2]))
    for found in _PREFIXED.findall(text):
        yield _text(bytes.fromhex("".join(re.findall(r"0x(..)", found))))
    for found in _NUMBERS.findall(text):
        yield spelled(int(number) for number in re.findall(r"\d+", found))
    if "=" in text or "\\" in text:
        yield _ESCAPE.sub(_unescaped, text)
    ends = (
        text if len(text) <= MAX_BASE85 else f"{text[: MAX_BASE85 // 2]} {text[-MAX_BASE85 // 2 :]}"
    )
    for word in dict.fromkeys(_WORD.findall(ends)):
        yield from _decoded(word, base64.b85decode)
        yield from _decoded(word, base64.a85decode)


def spelled(numbers: Iterator[int]) -> str:
    """The text of which these are the characters; what is no character is left out."""
    return "".join(chr(number) for number in numbers if 32 <= number < 127)


def _base64(piece: str) -> Iterator[str]:
    standard = piece.translate(_URL)
    standard = standard[: len(standard) - (len(standard) % 4 == 1)]
    try:
        raw = base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
    except (binascii.Error, ValueError):
        return
    yield _text(raw)
    if raw.startswith(_PACKED):
        try:
            yield _text(zlib.decompressobj(47).decompress(raw, MAX_UNPACKED))
        except zlib.error:
            return


def _decoded(word: str, decode: Callable[[str], bytes]) -> Iterator[str]:
    try:
        yield _text(decode(word))
    except (ValueError, binascii.Error):
        return


def _unescaped(found: re.Match[str]) -> str:
    number = int(found[2], 8) if found[2] else int(found[1] or found[3], 16)
    return spelled(iter((number,)))


def _text(raw: bytes) -> str:
    # What is looked for is ASCII; the rest would only take time.
    return raw.decode("ascii", "ignore")


__all__ = ["MAX_BASE85", "MAX_UNPACKED", "guises", "spelled"]
