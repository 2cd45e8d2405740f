"""How often SVIDs are minted: a bound for each registration entry.

Every SVID is a durable record, so whoever may have one could fill the ledger and keep its writer
busy. The bound is the entry's and not the process's: a process that forks has no more. A broker has
one of its own for each entry: what it asks for leaves the workload as much as it had. It is no
limit of what a workload does (`limits.py`). Above: `svids.py`.
"""

from __future__ import annotations

from midflight.domain.errors import Unavailable
from midflight.services.ports.clock import Clock

BURST = 60
PER_SECOND = 5.0
MAX_ENTRIES = 10_000


class TooOften(Unavailable):
    """More SVIDs were asked for than an entry is given; nothing was minted or recorded."""

    code = "too_often"
    http_status = 429


class MintRates:
    """A token bucket for each entry, on the monotonic clock."""

    def __init__(self, *, clock: Clock, burst: int = BURST, per_second: float = PER_SECOND) -> None:
        """`burst` SVIDs at once, and `per_second` from then on."""
        self._clock = clock
        self._burst = float(burst)
        self._per_second = per_second
        self._left: dict[tuple[str, str | None], tuple[float, float]] = {}

    def take(self, entry: str, by: str | None = None) -> None:
        """Count one, of those that `by` asks for. `TooOften` if it has had what it is given."""
        now, key = self._clock.monotonic(), (entry, by)
        left, since = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        spent = left >= 1.0
        while len(self._left) >= MAX_ENTRIES:
            # The one that was asked for longest ago, which is the nearest to being full.
            del self._left[next(iter(self._left))]
        self._left[key] = (left - 1.0 if spent else left, now)
        if not spent:
            raise TooOften(
                f"One entry is given {self._per_second:g} SVIDs a second, and more are asked for.",
                hint="Keep the SVID for as long as it lives; hold one stream for X509-SVIDs.",
            )


__all__ = ["BURST", "PER_SECOND", "MintRates", "TooOften"]
