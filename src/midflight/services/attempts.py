"""How often somebody may guess: a few times at once, then ever more slowly, and never not at all.

An attempt counts before it is looked at, so that guesses side by side are no more than guesses in
a row. Who must wait is an account, or one browser of it that is signed in already: strangers who
keep the first waiting do not hold up the second. All strangers together have a bound, too.
"""

from __future__ import annotations

from midflight.domain.errors import Unavailable
from midflight.services.ports.clock import Clock

FREE = 5
FIRST_S = 30.0
LONGEST_S = 900.0
FORGOTTEN_S = 86_400.0
ALL_AT_ONCE = 60
ALL_PER_SECOND = 1.0
MAX_KEYS = 10_000


class TooManyAttempts(Unavailable):
    """Somebody guesses. It was not looked at whether this one was right."""

    code = "too_many_attempts"
    http_status = 429


class Attempts:
    """Failures under names, in this process."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._failures: dict[str, tuple[int, float, float]] = {}  # how many, wait until, last one
        self._left, self._since = float(ALL_AT_ONCE), clock.monotonic()

    def begin(self, name: str, *, stranger: bool) -> None:
        """Count an attempt as failed, until `passed`.

        Raises:
            TooManyAttempts: it is too soon; this one was not counted.
        """
        now = self._clock.monotonic()
        count, until, last = self._failures.get(name, (0, 0.0, now))
        if last + FORGOTTEN_S < now:
            count, until = 0, 0.0
        if now < until:
            raise _waiting(until - now)
        if stranger:
            self._take(now)
        count += 1
        # 5 guesses, then 30 s, 1 min, 2 min … a quarter of an hour: 100 a day, of a million codes.
        pause = min(LONGEST_S, FIRST_S * 2.0 ** min(count - FREE, 10)) if count >= FREE else 0.0
        self._failures.pop(name, None)
        while len(self._failures) >= MAX_KEYS:
            del self._failures[next(iter(self._failures))]  # the one of longest ago
        self._failures[name] = (count, now + pause, now)

    def passed(self, name: str) -> None:
        """The attempt was right: all of that name are forgotten."""
        self._failures.pop(name, None)

    def _take(self, now: float) -> None:
        left = min(float(ALL_AT_ONCE), self._left + (now - self._since) * ALL_PER_SECOND)
        self._since = now
        if left < 1.0:
            self._left = left
            raise _waiting(1.0)
        self._left = left - 1.0


def _waiting(seconds: float) -> TooManyAttempts:
    return TooManyAttempts(
        "There were too many attempts.",
        hint=f"Wait {max(1, round(seconds))} seconds, or use a passkey.",
    )


__all__ = ["ALL_AT_ONCE", "FREE", "LONGEST_S", "Attempts", "TooManyAttempts"]
