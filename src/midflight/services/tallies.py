"""What has been done since this process began: for impact records, not for decisions.

Runs that have ended are kept by themselves for a while, and then added up by what they had in
common, so that a workload's many short runs are counted and memory stays bounded.
Above: `interruption.py`.
"""

from __future__ import annotations

import collections

from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import Flight

MAX_LIVE = 20_000
"""Runs that have not ended; beyond it the oldest counts as ended."""
MAX_ENDED = 10_000
"""Runs that have ended, by themselves; beyond it the oldest is added up with its like."""
MAX_FOLDED = 10_000
"""Sums of ended runs; beyond it the oldest is forgotten, and that is counted."""

MAX_NAMES = 256
"""Tools and resources of one run that are counted by themselves: a run can read any number of
resources, each by a name of its own choice. Those beyond are added up by their upstream."""

_OF_A_RUN = frozenset({ScopeKind.RUN, ScopeKind.TOKEN})

# upstream, name, token, credentials
_Key = tuple[str, str, str, tuple[str, ...]]


class Done:
    """What was done in a scope: actions that completed, bytes by upstream."""

    __slots__ = ("bytes_out", "completed")

    def __init__(self) -> None:
        self.completed = 0
        self.bytes_out: dict[str, int] = {}

    def add(self, upstream: str, completed: int, sent: int) -> None:
        """Add what was done at one upstream. An upstream that nothing was sent to is listed."""
        self.completed += completed
        if upstream:
            self.bytes_out[upstream] = self.bytes_out.get(upstream, 0) + sent


class _Touch:
    """What one run has done, or several that are added up."""

    __slots__ = ("scopes", "tally")

    def __init__(self, scopes: frozenset[tuple[ScopeKind, str]]) -> None:
        self.scopes = scopes
        self.tally: dict[_Key, list[int]] = {}

    def add(self, key: _Key, completed: int, sent: int) -> None:
        sums = self.tally.setdefault(key, [0, 0])
        sums[0] += completed
        sums[1] += sent


class Tallies:
    """All of one process."""

    def __init__(self) -> None:
        self._live: dict[str, _Touch] = {}
        self._ended: collections.OrderedDict[str, _Touch] = collections.OrderedDict()
        self._folded: collections.OrderedDict[frozenset[tuple[ScopeKind, str]], _Touch] = (
            collections.OrderedDict()
        )
        self.forgotten = 0
        """Actions that completed and are counted nowhere any more."""

    def land(self, flight: Flight) -> None:
        """Add what has landed, however it ended."""
        run = flight.run
        touch = self._live.get(run) or self._ended.get(run)
        if touch is None:
            if len(self._live) >= MAX_LIVE:
                self.end(next(iter(self._live)))
            touch = self._live[run] = _Touch(flight.scopes)
        key = (flight.upstream, flight.name, flight.token, flight.credentials)
        scopes = flight.scopes
        if len(touch.tally) >= MAX_NAMES and key not in touch.tally:
            key = (flight.upstream, "", flight.token, flight.credentials)
            scopes = frozenset(each for each in scopes if each[0] is not ScopeKind.TOOL)
        if not scopes <= touch.scopes:
            touch.scopes |= scopes
        touch.add(key, flight.completed, flight.sent)

    def end(self, run: str) -> None:
        """A run has ended: what it did still counts, in fewer and fewer words."""
        touch = self._live.pop(run, None)
        if touch is None:
            return
        self._ended[run] = touch
        if len(self._ended) > MAX_ENDED:
            _, oldest = self._ended.popitem(last=False)
            self._fold(oldest)

    def within(self, scope: Scope) -> Done:
        """What was done in a scope."""
        done = Done()
        key = (scope.kind, scope.id)
        for touches in (self._live, self._ended, self._folded):
            for touch in touches.values():
                if key in touch.scopes:
                    for (upstream, name, token, credentials), sums in touch.tally.items():
                        if _is_of(scope, upstream, name, token=token, credentials=credentials):
                            done.add(upstream, *sums)
        return done

    def acted(self, scope: Scope) -> set[str]:
        """Runs that have done something in a scope and are open, or ended not long ago."""
        key = (scope.kind, scope.id)
        return {
            run
            for touches in (self._live, self._ended)
            for run, touch in touches.items()
            if key in touch.scopes
        }

    # Inside

    def _fold(self, touch: _Touch) -> None:
        common = frozenset(each for each in touch.scopes if each[0] not in _OF_A_RUN)
        folded = self._folded.get(common)
        if folded is None:
            if len(self._folded) >= MAX_FOLDED:
                _, lost = self._folded.popitem(last=False)
                self.forgotten += sum(completed for completed, _ in lost.tally.values())
            folded = self._folded[common] = _Touch(common)
        for (upstream, name, _, credentials), (completed, sent) in touch.tally.items():
            key = (upstream, name, "", credentials)
            if len(folded.tally) >= MAX_NAMES and key not in folded.tally:
                key = (upstream, "", "", credentials)
            folded.add(key, completed, sent)


def _is_of(
    scope: Scope, upstream: str, name: str, *, token: str, credentials: tuple[str, ...]
) -> bool:
    """Whether what a run of the scope did is itself of the scope."""
    match scope.kind:
        case ScopeKind.UPSTREAM:
            return upstream == scope.id
        case ScopeKind.TOOL:
            return f"{upstream}/{name}" == scope.id
        case ScopeKind.TOKEN:
            return token == scope.id
        case ScopeKind.CREDENTIAL:
            return scope.id in credentials
        case _:
            return True


__all__ = ["MAX_ENDED", "MAX_FOLDED", "MAX_LIVE", "MAX_NAMES", "Done", "Tallies"]
