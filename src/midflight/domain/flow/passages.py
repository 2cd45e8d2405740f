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
# Over bytes, cut at what is no part of a word: a quarter of the time of an expression (measured).
_CUT = bytes(code if code < 128 and _WORDS.match(chr(code)) else 32 for code in range(256))


def passages(text: str) -> list[int]:
    """The fingerprints of a text, in order; none if it has fewer words than `PASSAGE`."""
    plain = skeleton(text)
    if plain.isascii():
        hashes = list(map(crc32, plain.encode().translate(_CUT).split()))
    else:
        hashes = [crc32(word.encode("utf-8", "surrogatepass")) for word in _WORDS.findall(plain)]
    last = len(hashes) - PASSAGE
    # Integers have the same hash in every process, and so have tuples of them.
    if last < WINDOW - 1:
        # Shorter than a window: every place is kept, since it may lie inside of a longer text.
        return [hash(tuple(hashes[at : at + PASSAGE])) for at in range(last + 1)]
    found: list[int] = []
    kept, lowest = -1, 0
    for at, entering in enumerate(hashes[WINDOW - 1 : last + 1]):
        if kept < at:
            window = hashes[at : at + WINDOW]
            lowest = min(window)
            kept = at + window.index(lowest)
        elif entering < lowest:
            kept, lowest = at + WINDOW - 1, entering
        else:
            continue
        found.append(hash(tuple(hashes[kept : kept + PASSAGE])))
    return found


__all__ = ["PASSAGE", "SHARED", "WINDOW", "passages"]
