"""Canaries: values that are planted to be found, and how they are recognised without being kept.

A canary is a random core of letters and digits in the shape of something that is worth stealing.
Only keyed hashes of all pieces of `WINDOW` characters of its core are kept, so that a part of it is
recognised, too, and the store does not tell what to avoid. Texts are looked through in every
reading (`unfolding.py`, `guises.py`), squashed to letters and digits. Two filters come before the
hash: no core has a letter outside of `ALPHABET`, and each piece has a digit, which leaves next to
nothing of prose; and a checksum with a secret start, which leaves one piece in 65,536 of anything
else.
No chance and no clock here: the core is drawn by `services/canaries.py`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, cast
from zlib import crc32

from midflight.domain.guises import guises, spelled
from midflight.domain.unfolding import readings, squashed
from midflight.domain.value import JSON, Value

ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"
"""32 characters without l, o, 0 and 1, which are read for one another."""
CORE = 26
"""Characters of a core: 129 bits and a little."""
WINDOW = 13
"""Characters of a piece that is recognised: 65 bits. Of any two parts one holds a whole piece."""
COMPARTMENT = "canary"
"""The compartment of runs that have met one."""

_BLOCK = 6
"""Characters of a core of which at least one is a digit: each piece holds a whole such block."""
_RUN = re.compile(f"[{ALPHABET}]{{{WINDOW},}}")
_DIGIT = re.compile(r"[2-9]")
_HINT_BITS = 0xFFFF
_HINT_LENGTH = 6


class CanaryShape(enum.StrEnum):
    """What a canary looks like. Stored: append, never change."""

    CREDENTIAL = "credential"
    EMAIL = "email"
    URL = "url"


class Canary(Value):
    """One canary, as it is kept.

    Attributes:
        name: what operators call it; it stands in records.
        shape: what it looks like.
        upstream: where it was planted, as its operator says, or empty.
        windows: (hint, keyed hash) of each piece of its core.
        by, at: who made it, and when (Unix seconds).
    """

    name: str
    shape: CanaryShape
    upstream: str
    windows: tuple[tuple[int, str], ...]
    by: str
    at: int


class Watch:
    """Looks for canaries. Immutable; made anew when one comes or goes."""

    __slots__ = ("_hints", "_key", "_names", "_start")

    def __init__(self, key: bytes, canaries: Iterable[Canary] = ()) -> None:
        """`key` is the plane's own, 32 bytes."""
        self._key = key
        start = blake2b(key, digest_size=4, person=b"canary/hint")
        self._start = int.from_bytes(start.digest())
        self._names: Mapping[str, str] = {
            digest: canary.name for canary in canaries for _, digest in canary.windows
        }
        self._hints = frozenset(hint for canary in canaries for hint, _ in canary.windows)

    def __bool__(self) -> bool:
        return bool(self._names)

    def windows(self, core: str) -> tuple[tuple[int, str], ...]:
        """What is kept of a core."""
        pieces = (core[at : at + WINDOW] for at in range(len(core) - WINDOW + 1))
        return tuple((self._hint(piece.encode()), self._hash(piece.encode())) for piece in pieces)

    def within(self, *values: JSON) -> frozenset[str]:
        """Names of the canaries that are in some values: keys and strings at any depth.

        Also in what they say together: a canary that is cut into pieces over several of them, in
        the order in which they stand or the other way round.
        """
        if not self._names:
            return frozenset()
        found: set[str] = set()
        pieces: list[str] = []
        whole: list[str] = []
        for text, is_key in _strings(values):
            whole.append(text)
            if not is_key:
                pieces.append(text)
            if len(text) < WINDOW:
                continue  # no encoding is shorter than what it says
            for reading in readings(text):
                # Bytes that are no text would only take time.
                found.update(self._scan(squashed(reading.replace("\ufffd", ""))))
            found.update(self._hidden(text))
        if len(whole) > 1:
            for parts in (pieces, whole, pieces[::-1]):
                found.update(self._scan("".join(map(squashed, parts))))
            found.update(self._hidden("".join(pieces)))
        return frozenset(found)

    def _hidden(self, text: str) -> Iterable[str]:
        for guise in guises(text):
            yield from self._scan(squashed(guise))

    def _scan(self, text: str) -> Iterable[str]:
        hints, start = self._hints, self._start
        for run in _RUN.findall(text):
            if _DIGIT.search(run) is None:
                continue
            for said in (run, run[::-1]):
                raw = said.encode()
                for at in range(len(raw) - WINDOW + 1):
                    if crc32(raw[at : at + _HINT_LENGTH], start) & _HINT_BITS in hints:
                        name = self._names.get(self._hash(raw[at : at + WINDOW]))
                        if name is not None:
                            yield name

    def _hint(self, piece: bytes) -> int:
        return crc32(piece[:_HINT_LENGTH], self._start) & _HINT_BITS

    def _hash(self, piece: bytes) -> str:
        return blake2b(piece, digest_size=16, key=self._key, person=b"canary/piece").hexdigest()


def is_core(text: str) -> bool:
    """Whether drawn characters will do for a core: enough of them, and a digit in each block."""
    blocks = [text[at : at + _BLOCK] for at in range(0, CORE - CORE % _BLOCK, _BLOCK)]
    return len(text) == CORE and all(map(_DIGIT.search, blocks)) and not set(text) - set(ALPHABET)


def planted(core: str, shape: CanaryShape, *, domain: str) -> str:
    """The value to plant: a core in its shape."""
    match shape:
        case CanaryShape.CREDENTIAL:
            return f"key_live_{core}"
        case CanaryShape.EMAIL:
            return f"{core}@{domain}"
        case CanaryShape.URL:
            return f"https://{domain}/share/{core}"


def _strings(value: Any) -> Iterator[tuple[str, bool]]:
    """Every string, and whether it is a key."""
    if isinstance(value, str):
        yield value, False
    elif isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            yield key, True
            yield from _strings(inner)
    elif isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        numbers = [each for each in items if type(each) is int]
        if len(numbers) >= WINDOW:
            yield spelled(iter(numbers)), False
        for inner in items:
            yield from _strings(inner)


__all__ = [
    "ALPHABET",
    "COMPARTMENT",
    "CORE",
    "WINDOW",
    "Canary",
    "CanaryShape",
    "Watch",
    "is_core",
    "planted",
]
