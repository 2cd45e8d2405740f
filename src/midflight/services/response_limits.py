"""How many whole workloads are held without a person: against being used as a denial of service.

Whoever can make findings about workloads of others (by what they read, by a signal from elsewhere)
could else stop all of them. What counts is how many different ones were held within a time, ended
and lifted ones included: a lift gives nothing back to whoever provokes. Runs have no limit, since a
run is held for what it did itself. Above: `responses.py`.
"""

from __future__ import annotations

from midflight.domain.response import Level, Response
from midflight.domain.response_rules import Limits
from midflight.domain.revocation import ScopeKind


class WideLimits:
    """Which workloads were held automatically, and when. In memory, read back from the log."""

    def __init__(self) -> None:
        self._held: dict[str, float] = {}

    def count(self, response: Response) -> None:
        """Count a response, if it is one that is limited."""
        if is_limited(response):
            before = self._held.get(response.workload, response.at)
            self._held[response.workload] = max(before, response.at)

    def refusal(self, workload: str, limits: Limits, *, registered: int, now: float) -> str:
        """Why one more workload is not held, in words; empty if it may be.

        One that was held within the time already may be held again, and higher.
        """
        recent = {name for name, at in self._held.items() if at > now - limits.within_s}
        allowed = limits.allowed(registered)
        if workload in recent or len(recent) < allowed:
            return ""
        return (
            f"{len(recent)} workloads were held within {limits.within_s} s, and without a person "
            f"it is {allowed} at most."
        )

    def forget(self, *, before: float) -> None:
        """Forget what was longer ago than any limit looks."""
        self._held = {name: at for name, at in self._held.items() if at >= before}


def is_limited(response: Response) -> bool:
    """Whether it holds a whole workload, and nobody asked a person for it.

    A note stops nothing, whatever policy looks at; all the others may.
    """
    return (
        response.scope.kind is ScopeKind.WORKLOAD
        and bool(response.detector)
        and response.level.rank > Level.NOTE.rank
        and not response.lifts
    )


__all__ = ["WideLimits", "is_limited"]
