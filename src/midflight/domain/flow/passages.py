"""Fingerprints of passages: whether two texts share words in a row.

Winnowing (Schleimer, Wilkerson, Aiken 2003): of every `WINDOW` places in a row the one with the
smallest hash is kept, so two texts that share `SHARED` words in a row share a fingerprint for
certain, wherever the passage begins. The hashes are the same in every process. Above: `index.py`.
"""

from __future__ import annotations

import re
from zlib import crc32

from midflight.domain.flow.text import skeleton

PASSAGE = 5
"""Words in a row that make a fingerprint."""
WINDOW = 4
"""Places in a row of which one is kept."""
SHARED = PASSAGE + WINDOW - 1
"""Words in a row from which on a passage is found for certain; shorter ones, often."""

_WORDS = re.compile(r"\w+")
_ASCII = re.compile(rb"\w+")


def passages(text: str) -> list[int]:
    """The fingerprints of a text, in order; none if it has fewer words than `PASSAGE`."""
    plain = skeleton(text)
    if plain.isascii():
        hashes = list(map(crc32, _ASCII.findall(plain.encode())))
    else:
        hashes = [crc32(word.encode("utf-8", "surrogatepass")) for word in _WORDS.findall(plain)]
    last = len(hashes) - PASSAGE
    # Integers have the same hash in every process, and so have tuples of them.
    if last < WINDOW - 1:
        # Shorter than a window: every place is kept, since it may lie inside of a longer text.
        return [hash(tuple(hashes[at : at + PASSAGE])) for at in range(last + 1)]
    # The smallest of two, then of four: a third of the time of `min` (measured).
    two = [a if a < b else b for a, b in zip(hashes, hashes[1:], strict=False)]  # noqa: FURB136, RUF007
    four = [a if a < b else b for a, b in zip(two, two[2:last], strict=False)]  # noqa: FURB136
    found: list[int] = []
    kept, lowest = -1, 0
    for at, least in enumerate(four):
        if kept < at or least < lowest:
            kept, lowest = hashes.index(least, at), least
            found.append(hash(tuple(hashes[kept : kept + PASSAGE])))
    return found


__all__ = ["PASSAGE", "SHARED", "WINDOW", "passages"]
