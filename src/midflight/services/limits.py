"""Limits: sliding windows of what was permitted, exact and in memory.

Looking and counting is one step without a wait, so parallel calls cannot slip under a limit. Calls
in flight count as long as they are, however old; what was permitted counts, whatever became of it.
After a restart `start` reads the permits of the last day back from the ledger. Where it cannot
reach back far enough, the time before counts as full: starting anew never gives a new window.
What a crash takes of the ledger is lost here, too: permits of closed-world reads of its last
moments, which are the only ones that do not wait for the disk.
Below: `ports/`. Above: `obligations.py`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Collection
from typing import Protocol

from midflight.domain.action import ActionKind
from midflight.domain.obligation import Rate, owed
from midflight.domain.records import Intent
from midflight.services.ledger_query import Recorded
from midflight.services.ports.clock import Clock

DAY_S = 86_400.0
"""The longest window."""
MAX_READ = 100_000
"""Records that are read back at a start."""

_NAMED = (ActionKind.CALL_TOOL, ActionKind.GET_PROMPT)

Key = tuple[str, str, str]
"""Workload, upstream, and tool: for what has endless names (URIs, tasks) the kind of action."""


class History(Protocol):
    """The ledger, as far as it is needed to start."""

    async def size(self) -> int:
        """How many records are on disk."""
        ...

    def query(
        self, *, run: str | None = None, kinds: Collection[str] = (), after: int = 0
    ) -> AsyncIterator[Recorded]:
        """Records in commit order, behind a position."""
        ...


class Use:
    """One permitted call. `at` is monotonic seconds."""

    __slots__ = ("at", "flying")

    def __init__(self, at: float, *, flying: bool) -> None:
        self.at = at
        self.flying = flying


class Limits:
    """All windows of one plane. One event loop."""

    def __init__(self, clock: Clock) -> None:
        """Without `start` there was nothing before."""
        self._clock = clock
        self._windows: dict[Key, deque[Use]] = {}
        # Those in flight, beside their windows: a day of calls is not gone through for each.
        self._flying: dict[Key, list[Use]] = {}
        self._known_since = -math.inf

    async def start(self, history: History) -> None:
        """Read back how much of which limit was used.

        Raises:
            LedgerUnavailable: without it nobody knows.
        """
        now, here = self._clock.now(), self._clock.monotonic()
        after = max(0, await history.size() - MAX_READ)
        first: float | None = None
        async for found in history.query(kinds=("intent",), after=after):
            record = found.record
            if not isinstance(record, Intent):
                first = now  # what is damaged may have been anything
                continue
            first = record.at if first is None else first
            facts = record.facts
            if record.at > now - DAY_S and facts.workload and owed(record.obligations).rates:
                key = key_of(facts.workload.id, facts.upstream, facts.name, facts.kind)
                use = Use(here - max(0.0, now - record.at), flying=False)
                self._windows.setdefault(key, deque()).append(use)
        for key, uses in self._windows.items():
            # The clock may have been set back meanwhile, and a window is read from its end.
            self._windows[key] = deque(sorted(uses, key=lambda use: use.at))
        if after or first == now:
            self._known_since = here - max(0.0, now - (now if first is None else first))

    def take(self, key: Key, rates: Collection[Rate]) -> Use | tuple[float, Rate]:
        """Use one of each, or the seconds after which it passes, and the rate that is in the way.

        The seconds are infinite where only the end of a call in flight helps.
        """
        wait = self.wait(key, rates)
        if wait is not None:
            return wait
        use = Use(self._clock.monotonic(), flying=True)
        self._windows.setdefault(key, deque()).append(use)
        self._flying.setdefault(key, []).append(use)
        return use

    def wait(self, key: Key, rates: Collection[Rate]) -> tuple[float, Rate] | None:
        """What `take` would refuse with, or None. Uses nothing."""
        now = self._clock.monotonic()
        uses = self._windows.get(key) or deque[Use]()
        while uses and not uses[0].flying and uses[0].at <= now - DAY_S:
            uses.popleft()
        flying = [use for use in self._flying.get(key, ()) if use.flying]
        if key in self._flying:
            self._flying[key] = flying
        waits = [(self._wait(uses, flying, rate, now), rate) for rate in rates]
        return max((wait for wait in waits if wait[0] > 0), default=None)

    def _wait(self, uses: deque[Use], flying: list[Use], rate: Rate, now: float) -> float:
        unknown = self._known_since + rate.seconds - now
        if unknown > 0:
            return unknown
        begin = now - rate.seconds
        inside: list[Use] = []
        for use in reversed(uses):
            if use.at <= begin:
                break
            inside.append(use)
        # Calls in flight are few, and can be older than the window.
        old = sum(use.at <= begin for use in flying)
        over = len(inside) + old - rate.count + 1
        if over <= 0:
            return 0.0
        ends = sorted(use.at for use in inside if not use.flying)
        return ends[over - 1] - begin if len(ends) >= over else math.inf


def key_of(workload: str, upstream: str, name: str, kind: str) -> Key:
    """The window that an action belongs to."""
    return (workload, upstream, name if kind in _NAMED else f"*{kind}")


__all__ = ["MAX_READ", "History", "Key", "Limits", "Use", "key_of"]
