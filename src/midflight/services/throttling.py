"""Throttles: how fast a run may act for which a response says so. An even rate, in memory.

The generic cell rate algorithm: one number a throttle, the time at which the next action is due;
one that comes earlier than the burst allows is refused, and costs nothing. Monotonic time, so that
stepping the clock lets nothing through. Not the limits of permits (`limits.py`), which count
exactly and last. Above: `responses.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from midflight.domain.response import Rate, Response


class Throttles:
    """See the module. One event loop."""

    def __init__(self) -> None:
        self._due: dict[tuple[str, str], float] = {}

    def take(self, entries: Iterable[Response], *, mono: float) -> tuple[Rate, float] | None:
        """Take one action out of every throttle among these entries, or say which is not ready.

        Args:
            entries: what holds for the run.
            mono: monotonic seconds.

        Returns:
            None if it may pass; else the rate and the seconds until it may. Then none is taken.
        """
        ready: list[tuple[tuple[str, str], float]] = []
        for entry in entries:
            rate = entry.rate
            if rate is None or entry.observed:
                continue
            step = rate.seconds / rate.count
            due = max(self._due.get(_key(entry), mono), mono)
            wait = due - (rate.burst - 1) * step - mono
            if wait > 0:
                return rate, wait
            ready.append((_key(entry), due + step))
        self._due.update(ready)
        return None

    def keep_only(self, entries: Collection[Response]) -> None:
        """Forget the throttles that hold no longer."""
        kept = {_key(entry) for entry in entries if entry.rate is not None}
        for gone in self._due.keys() - kept:
            del self._due[gone]


def _key(entry: Response) -> tuple[str, str]:
    # Not its id: a detector that goes on finding things gives no new burst.
    return entry.scope.id, entry.workload


__all__ = ["Throttles"]
