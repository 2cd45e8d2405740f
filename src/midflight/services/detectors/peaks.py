"""Numbers that detectors learn: the most that was seen, and what is seen now. Constant size.

A peak is what ended runs have shown at most. It fades, so that what does not come again counts less
and less. A day may raise it only so far, and a month not much further: whoever wants to teach it
more has to stay unnoticed for months. A window is a sliding sum over monotonic time, which no step
of the wall clock moves.
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

DAY_S = 86_400
RISE = 1.5
"""How many times as much as the day before a peak may become within one day."""
MONTH_DAYS = 30
"""Days on which something was learned that make a month."""
MONTH_RISE = 3.0
"""How many times as much as at the beginning of the month before a peak may become."""
FADE = 0.5 ** (1 / 60)
"""What is left of a peak after a day on which something was learned: half of it after 60."""
SLOTS = 12
"""Slots of a window: it reaches back between 11 and 12 of them."""

Amount = Annotated[float, msgspec.Meta(ge=0)]


class Peak(msgspec.Struct):
    """The most of something that is usual. Mutable.

    Attributes:
        high: the most, as it counts now.
        base: what it was when the day began.
        month: what it was when the month began.
        before: what it was when the month before began. Held against this month's alone, the last
            days of one and the first of the next could raise it twice.
        days: of the month.
    """

    high: Amount = 0.0
    base: Amount = 0.0
    month: Amount = 0.0
    before: Amount = 0.0
    days: Annotated[int, msgspec.Meta(ge=0)] = 0

    def learn(self, value: float, *, step: float, freely: bool) -> None:
        """Take in what a run has shown, `freely` or as far as a day and a month allow.

        A day allows `step`, and a month ten of them, however small the peak is.
        """
        if freely:
            self.high = self.base = self.month = self.before = max(self.high, value)
            return
        today = max(self.base * RISE, self.base + step)
        self.high = max(self.high, min(value, today, max(self.before * MONTH_RISE, 10 * step)))

    def next_day(self) -> None:
        """A day begins on which something is learned."""
        self.high *= FADE
        self.base = self.high
        self.days += 1
        if self.days >= MONTH_DAYS:
            self.before, self.month, self.days = self.month, self.high, 0


class Window:
    """A sum over the last seconds, in slots."""

    __slots__ = ("_now", "_ring", "_width", "total")

    def __init__(self, seconds: float) -> None:
        """Over at most `seconds`."""
        self._width = seconds / SLOTS
        self._ring = [0] * SLOTS
        self._now = 0
        self.total = 0

    def add(self, mono: float, amount: int) -> int:
        """Add an amount at monotonic second `mono`; the sum with it."""
        now = int(mono / self._width)
        if now > self._now:
            self._turn(now)
        self._ring[self._now % SLOTS] += amount
        self.total += amount
        return self.total

    def _turn(self, now: int) -> None:
        ring = self._ring
        for slot in range(self._now + 1, min(now, self._now + SLOTS) + 1):
            self.total -= ring[slot % SLOTS]
            ring[slot % SLOTS] = 0
        self._now = now


def at_random(least: int, mean: float) -> float:
    """How likely it is that `least` or more come where `mean` do on the average (Poisson)."""
    term, below = math.exp(-mean), 0.0
    for count in range(least):
        below += term
        term *= mean / (count + 1)
    return max(0.0, 1.0 - below)


__all__ = [
    "DAY_S",
    "FADE",
    "MONTH_DAYS",
    "MONTH_RISE",
    "RISE",
    "SLOTS",
    "Amount",
    "Peak",
    "Window",
    "at_random",
]
