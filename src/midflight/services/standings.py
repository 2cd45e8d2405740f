"""Standings in memory: which responses hold for which runs, looked up on the hot path.

A response to a run is entered for its family and the workload that it is about, one to a workload
for all of its runs. A run has what is entered for itself, for the runs that it descends from and
for those who act through it. Nothing entered costs one look at an empty dict. No I/O.

A response is over when the wall clock and the time that has passed both say so: whoever sets the
clock ahead, or a server of the time that does, lets nobody go early. After a restart the wall clock
alone counts, as for revocations (`revocation_set.py`).
Above: `live_run.py` (facts), `responses.py` (which enters and takes out).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from midflight.domain.response import CLEAR, Response, Standing, stand
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.openers import BY_JOB, BY_OAUTH
from midflight.services.ports.clock import Clock

if TYPE_CHECKING:
    from midflight.domain.run import Run
    from midflight.services.live_run import LiveRun

Key: TypeAlias = tuple[str, str]
"""(a run or one of the two words below, a workload)."""

_ROUNDING_S = 1e-3
"""Unix seconds as a float are exact to some 0.2 µs, and are subtracted here."""
EVERY_RUN = "*"
OWN_RUNS = "own"


def is_own(run: Run) -> bool:
    """Whether a workload got this run by itself: nobody stands between it and the next one.

    That is an implicit run, one that it opened at the authorization server, and one of a CI job.
    """
    opener, _, proof = run.opened_by.rpartition(" (")
    return (
        run.implicit
        or proof == f"{BY_JOB})"
        or (opener == run.workload and proof.startswith(BY_OAUTH))
    )


def key_of(scope: Scope, workload: str) -> Key:
    """Where a response of this scope is entered first of all."""
    return (EVERY_RUN if scope.kind is ScopeKind.WORKLOAD else scope.id), workload


def keys_of(response: Response) -> tuple[Key, ...]:
    """Everywhere a response is entered."""
    first = key_of(response.scope, response.workload)
    return (first, (OWN_RUNS, response.workload)) if response.own else (first,)


def keys_over(live: LiveRun, through: Iterable[str] = ()) -> Iterator[Key]:
    """What holds for a run; `through` are workloads that act for its own in this action."""
    first = live.run.lineage[-1]
    own = is_own(live.first().run)
    for each in (live, *live.ancestors()):
        workload = each.run.workload
        yield EVERY_RUN, workload
        yield first, workload
        if each.run.id != first:
            yield each.run.id, workload
        if own:
            yield OWN_RUNS, workload
    for workload in through:
        yield EVERY_RUN, workload


class Stood(NamedTuple):
    """What holds for a run and the standing that it makes, as long as it can only be the same."""

    version: int
    until: float
    found: tuple[Response, ...]
    standing: Standing


class Standings:
    """See the module. One event loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[Key, dict[str, Response]] = {}
        self._ends: dict[str, float] = {}
        """Monotonic seconds, by response."""
        self._version = 0
        """Of all that is entered."""

    def __bool__(self) -> bool:
        """Whether anything is entered."""
        return bool(self._entries)

    def enter(self, response: Response) -> None:
        """Let a response hold; what it replaces does no longer."""
        self._version += 1
        clock = self._clock
        left = max(0.0, response.until - clock.now())
        self._ends.pop(response.replaces, None)
        self._ends.setdefault(response.id, clock.monotonic() + left - _ROUNDING_S)
        for key in keys_of(response):
            held = self._entries.setdefault(key, {})
            held.pop(response.replaces, None)
            held[response.id] = response

    def remove(self, response: Response) -> None:
        """Let a response hold no longer."""
        self._version += 1
        self._ends.pop(response.id, None)
        for key in keys_of(response):
            held = self._entries.get(key)
            if held is not None:
                held.pop(response.id, None)
                if not held:
                    del self._entries[key]

    def holds(self, response: Response, now: float) -> bool:
        """Whether what is entered holds at `now` (Unix seconds), or as long as it was meant to."""
        if response.is_in_force(now):
            return True
        ends = self._ends.get(response.id)
        return not response.lifts and ends is not None and ends > self._clock.monotonic()

    def at(self, key: Key, now: float) -> list[Response]:
        """What is entered at one place and holds at `now` (Unix seconds)."""
        return [each for each in self._entries.get(key, {}).values() if self.holds(each, now)]

    def over(self, live: LiveRun, now: float, through: Iterable[str] = ()) -> Sequence[Response]:
        """Everything that holds for a run at `now`."""
        if not self._entries:
            return ()
        through = tuple(through)
        return self._look(live, now, through) if through else self._stood(live, now).found

    def _look(self, live: LiveRun, now: float, through: Iterable[str]) -> Sequence[Response]:
        found: dict[str, Response] = {}
        for key in keys_over(live, through):
            for response in self._entries.get(key, {}).values():
                # Who is only observed is stopped by nothing, and stops nobody else either.
                foreign = response.observed and response.workload != live.run.workload
                if not foreign and self.holds(response, now):
                    found[response.id] = response
        return list(found.values())

    def of(self, live: LiveRun, now: float, through: Iterable[str] = ()) -> Standing:
        """The standing of a run at `now`."""
        if not self._entries:
            return CLEAR
        through = tuple(through)
        if through:
            return stand(self._look(live, now, through))
        return self._stood(live, now).standing

    def _stood(self, live: LiveRun, now: float) -> Stood:
        """What is asked for thrice in an action: the last answer is kept."""
        stood = live.stood
        if stood is None or stood.version != self._version or now >= stood.until:
            found = tuple(self._look(live, now, ()))
            until = min((each.until for each in found), default=math.inf)
            stood = live.stood = Stood(self._version, until, found, stand(found))
        return stood

    def all(self) -> list[Response]:
        """Everything that is entered, ended or not, oldest first."""
        found = {each.id: each for held in self._entries.values() for each in held.values()}
        return sorted(found.values(), key=lambda each: (each.at, each.id))


__all__ = ["EVERY_RUN", "OWN_RUNS", "Key", "Standings", "is_own", "key_of", "keys_of", "keys_over"]
