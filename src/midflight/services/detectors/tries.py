"""Different things that were tried within a window: how many, and whether that is worse than told.

Shared by the detectors that count refusals. What is tried is kept as a hash; the same thing tried
again is one thing. Steps say from how many on something is said. Each is said once until all of it
has left the window; and again where it goes on: after a while, and as many more different things.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.finding import Strength
from midflight.domain.records import Terminal
from midflight.services.detectors.kept import AGAIN_S

Steps: TypeAlias = tuple[tuple[int, Strength], ...]
"""(from how many on, how much that says), ascending."""

MAX_KEPT = 64
"""Different things that one counter remembers: more than any step asks for."""
RECORDS = 8

_DENIED = Terminal.DENIED
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

    __slots__ = ("_fresh", "_seen", "_told", "_told_at", "records", "window_s")

    def __init__(self, window_s: float) -> None:
        """Nothing was tried yet."""
        self.window_s = window_s
        self.records: deque[str] = deque(maxlen=RECORDS)
        self._seen: dict[int, float] = {}
        self._told = 0
        self._told_at = 0.0
        self._fresh = 0

    def add(self, what: int, *, mono: float, record: str, steps: Steps) -> Strength | None:
        """One more try. What the step says that this reaches for the first time, or None.

        A step that is more than a note is reached again when as many others as it asks for have
        come since something was said, and `AGAIN_S` are over: who never lets the window become
        empty must not be passed over from then on.
        """
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
        self._fresh += 1
        reached = 0
        for number, (least, _) in enumerate(steps, start=1):
            if len(seen) >= least:
                reached = number
        if not reached:
            return None
        least, strength = steps[reached - 1]
        goes_on = (
            strength >= Strength.FAIR and self._fresh >= least and mono >= self._told_at + AGAIN_S
        )
        if reached <= self._told and not goes_on:
            return None
        self._told, self._told_at, self._fresh = reached, mono, 0
        return strength

    def __len__(self) -> int:
        return len(self._seen)


def is_telling(event: Event) -> bool:
    """Whether an event is a refusal that says something about who asked.

    Not what Midflight itself could not do, nor what a person is asked about, nor what follows from
    a revocation or from a budget that is used up: those are refused whatever is asked.
    """
    return event.state is _DENIED and event.code in _TELLING


__all__ = ["MAX_KEPT", "RECORDS", "Steps", "Tries", "is_telling"]
