"""Time and chance that tests own. Below: the `Clock` port."""

from __future__ import annotations

import base64
import hashlib


class FakeClock:
    """A `Clock` that stands still until it is told to move.

    Wall time and monotonic time move together by `advance`; `set_back` steps wall time back alone,
    as an operator or NTP does. Tokens are distinct, of the right form, and the same in every run.
    """

    def __init__(self, now: float = 1_800_000_000.0, *, life: str = "") -> None:
        """`now` is wall time in Unix seconds; another `life` has other tokens."""
        self._now = now
        self._monotonic = 1_000.0
        self._life = life
        self._tokens = 0

    def now(self) -> float:
        """Unix seconds."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that never step back."""
        return self._monotonic

    def token(self, nbytes: int = 16) -> str:
        """The next token: lower-case base32 of `nbytes` bytes, no padding."""
        self._tokens += 1
        stream = hashlib.shake_128(f"midflight fake token {self._life}{self._tokens}".encode())
        return base64.b32encode(stream.digest(nbytes)).decode("ascii").rstrip("=").lower()

    def advance(self, seconds: float) -> None:
        """Let time pass. `ValueError` for negative seconds: monotonic time has no way back."""
        if seconds < 0:
            raise ValueError("time does not run backwards; set_back steps the wall clock")
        self._now += seconds
        self._monotonic += seconds

    def set_back(self, seconds: float) -> None:
        """Step wall time back and leave monotonic time alone."""
        self._now -= seconds


__all__ = ["FakeClock"]
