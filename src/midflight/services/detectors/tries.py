"""Different things that were tried within a window: how many, and whether that is worse than told.

Shared by the detectors that count refusals. What is tried is kept as a hash; the same thing tried
again is one thing. Steps say from how many on something is said, so each step is said once until
all of it has left the window.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.finding import Strength
from midflight.domain.records import Terminal

Steps: TypeAlias = tuple[tuple[int, Strength], ...]
"""(from how many on, how much that says), ascending."""

MAX_KEPT = 64
"""Different things that one counter remembers: more than any step asks for."""
RECORDS = 8

_TELLING = frozenset(
    {
        DenyCode.POLICY,
        DenyCode.NO_POLICY,
        DenyCode.POLICY_ERROR,
        DenyCode.UNPINNED,
        DenyCode.UNKNOWN_TARGET,
        DenyCode.INVALID_ARGUMENTS,
        DenyCode.NARROWED,
        DenyCode.SCOPE,
        DenyCode.CANARY,
    }
)


class Tries:
    """Different things tried within `window_s`. Mutable; at most `MAX_KEPT` of them."""

    __slots__ = ("_seen", "_told", "records", "window_s")

    def __init__(self, window_s: float) -> None:
        """Nothing was tried yet."""
        self.window_s = window_s
        self.records: deque[str] = deque(maxlen=RECORDS)
        self._seen: dict[int, float] = {}
        self._told = 0

    def add(self, what: int, *, mono: float, record: str, steps: Steps) -> Strength | None:
        """One more try. What the step says that this reaches for the first time, or None."""
        seen = self._seen
        oldest = mono - self.window_s
        # In the order of their last tries, so that what has left the window stands in front.
        while seen and seen[first := next(iter(seen))] < oldest:
            del seen[first]
        if not seen:
            self._told = 0
            self.records.clear()
        known = seen.pop(what, None)
        if len(seen) >= MAX_KEPT:
            del seen[next(iter(seen))]
        seen[what] = mono
        if known is not None:
            return None
        self.records.append(record)
        reached = 0
        for number, (least, _) in enumerate(steps, start=1):
            if len(seen) >= least:
                reached = number
        if reached <= self._told:
            return None
        self._told = reached
        return steps[reached - 1][1]

    def __len__(self) -> int:
        return len(self._seen)


def is_telling(event: Event) -> bool:
    """Whether an event is a refusal that says something about who asked.

    Not what Midflight itself could not do, nor what a person is asked about, nor what follows from
    a revocation or from a budget that is used up: those are refused whatever is asked.
    """
    return event.state is Terminal.DENIED and event.code in _TELLING


__all__ = ["MAX_KEPT", "RECORDS", "Steps", "Tries", "is_telling"]
