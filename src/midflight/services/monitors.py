"""Monitors at work: every event advances them once, and a decision reads them in O(1).

An action is reserved before it is decided, so that it sees itself and everything in flight; it is
confirmed in the turn of the event loop in which its intent is appended, refused in the turn of its
refusal, and lands with its outcome. All of that is synchronous, so nothing comes between reading a
value and counting what was decided on it, and what the ledger holds is what memory counts:
`monitor_history.py` restores one from the other.

What was permitted counts, whether or not the upstream then answered. A delegated run has no count
of its own: a `run` here is the first of a family. When a declaration changes its meaning, its
history begins anew. Time is the monotonic clock's, so that stepping the wall clock neither empties
a window nor stops it. Above: the guard. Below: `domain/monitor_cells.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import StoreUnavailable
from midflight.domain.identity import Workload
from midflight.domain.monitor import (
    MICROS,
    SATURATED,
    Advance,
    Advanced,
    Counts,
    Monitor,
    MonitorKind,
    Per,
)
from midflight.domain.monitor_cells import Cell, Hold, make_cell
from midflight.domain.monitor_values import Where, amount_of, bound_to, keys_of, where
from midflight.domain.question import Target
from midflight.domain.run import Run
from midflight.domain.traits import Traits
from midflight.domain.value import Value
from midflight.services.ports.clock import Clock

MAX_PLANS = 4_096

Step: TypeAlias = "tuple[Kept, int, Where | None]"
"""A monitor that an action advances, which steps of it, and where it looks in the arguments."""

_PLACE = {per: place for place, per in enumerate(Per)}


class Lost(Value):
    """From when on a history is known again: monitors' time, and Unix seconds."""

    at: int
    wall: int


class MonitorReading(Value):
    """What one monitor says of one scope. `value` is `SATURATED` where it is not known."""

    scope: str
    value: int


class MonitorStatus(Value):
    """A declared monitor and its values, largest first.

    `lost` says that a part of its history could not be read, so that it reads as full.
    """

    name: str
    kind: MonitorKind
    per: Per
    counts: Counts
    window_s: int
    about: str
    lost: bool
    scopes: tuple[MonitorReading, ...]


class Kept:
    """A declared monitor and its cells. Belongs to `Monitors` and its history."""

    __slots__ = ("attempts", "cells", "fingerprint", "kind", "lost", "monitor", "name", "place")

    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.name = monitor.name
        self.fingerprint = monitor.fingerprint
        self.place = _PLACE[monitor.per]
        self.kind = monitor.kind
        self.attempts = monitor.counts is Counts.ATTEMPTED
        self.cells: dict[str, Cell] = {}
        self.lost: Lost | None = None

    def cell(self, scope: str) -> Cell:
        """The cell of a scope, made at its first event."""
        cell = self.cells.get(scope)
        if cell is None:
            cell = self.cells[scope] = make_cell(self.monitor)
        return cell

    def is_lost(self, now: int, opened_at: int) -> bool:
        """Whether a value is unknown, because what it counts may have been before `lost`."""
        lost = self.lost
        if lost is None:
            return False
        window = self.monitor.window_us
        if window and now - lost.at >= window:
            self.lost = None
            return False
        return self.monitor.per is not Per.RUN or opened_at <= lost.wall


# Where a reservation is. Plain numbers: members of an enum cost more than what is done with them.
_RESERVED, _CONFIRMED, _OVER = range(3)


class Reservation:
    """One action in all monitors that it advances, and what every monitor then says.

    `values` is what policy sees. Ends exactly once, by `refuse` or by `land` after `confirm`;
    ending it again changes nothing.
    """

    __slots__ = ("_at", "_clock", "_holds", "_state", "values")

    def __init__(
        self,
        clock: Monitors,
        values: dict[str, int],
        holds: list[tuple[Kept, Cell, Hold, Advance]],
    ) -> None:
        self._clock = clock
        self._holds = holds
        self._state = _RESERVED
        self._at = 0
        self.values = values

    @property
    def advances(self) -> bool:
        """Whether it counts anywhere if it is permitted: then its intent must be durable."""
        return bool(self._holds)

    @property
    def attempts(self) -> bool:
        """Whether it counts somewhere although it is refused."""
        return any(kept.attempts for kept, *_ in self._holds)

    def advanced(self) -> Advanced | None:
        """What its intent has to say. `confirm` follows in the same turn."""
        return self._advanced(self._holds)

    def attempted(self) -> Advanced | None:
        """What the record of its refusal has to say. `refuse` follows in the same turn."""
        return self._advanced([h for h in self._holds if h[0].attempts])

    def confirm(self) -> None:
        """Its intent is appended."""
        if self._state is _RESERVED:
            self._state = _CONFIRMED
            self._holds = [(k, c, c.confirm(hold, self._at), a) for k, c, hold, a in self._holds]

    def refuse(self) -> None:
        """It is not permitted: nothing is left of it but attempts, where those are counted."""
        if self._state is not _RESERVED:
            return
        self._state = _OVER
        for kept, cell, hold, _ in self._holds:
            if kept.attempts:
                cell.land(cell.confirm(hold, self._at))
            else:
                cell.refuse(hold)

    def land(self) -> None:
        """It is over. Refuses what was not confirmed."""
        if self._state is _RESERVED:
            self.refuse()
        elif self._state is _CONFIRMED:
            self._state = _OVER
            for _, cell, hold, _ in self._holds:
                cell.land(hold)

    def _advanced(self, holds: Sequence[tuple[Kept, Cell, Hold, Advance]]) -> Advanced | None:
        if not holds:
            return None
        self._at = self._clock.now()
        return Advanced(at=self._at, by=tuple(advance for *_, advance in holds))


class Monitors:
    """All monitors of one plane. One event loop."""

    def __init__(self, clock: Clock) -> None:
        """Nothing can be reserved before the history is `restored`."""
        self._clock = clock
        self._base = int(clock.now() * MICROS) - int(clock.monotonic() * MICROS)
        self._kept: tuple[Kept, ...] = ()
        self._plans: dict[tuple[str, str, str], tuple[Traits, tuple[Step, ...]]] = {}
        self._key = b""
        self.is_restored = False

    # For the guard: synchronous

    def reserve(self, action: Action, target: Target, workload: Workload, run: Run) -> Reservation:
        """Count an action that is about to be decided, and read what every monitor says.

        Raises:
            StoreUnavailable: the history is not read yet.
        """
        kept_all = self._kept
        holds: list[tuple[Kept, Cell, Hold, Advance]] = []
        if not kept_all:
            return Reservation(self, {}, holds)
        if not self.is_restored:
            raise StoreUnavailable("What monitors counted before the start is not read yet.")
        now = self.now()
        scopes = (run.id, workload.id, workload.owner, action.upstream)
        for step in self._plan(action, target):
            kept = step[0]
            scope = scopes[kept.place]
            advance = self._measure(step, action, scope=scope, salt=run.salt)
            if advance is not None:
                cell = kept.cell(scope)
                hold = cell.reserve(now, advance.amount, advance.keys)
                holds.append((kept, cell, hold, advance))
        return Reservation(self, self._read(now, scopes, run.opened_at), holds)

    def peek(self, workload: Workload, upstream: str, *, run: Run | None = None) -> dict[str, int]:
        """What every monitor says without a further event; without `run`, of one to be opened."""
        scopes = ("" if run is None else run.id, workload.id, workload.owner, upstream)
        opened_at = int(self._clock.now()) + 1 if run is None else run.opened_at
        return self._read(self.now(), scopes, opened_at)

    def now(self) -> int:
        """Microseconds of the monitors' own time."""
        return self._base + int(self._clock.monotonic() * MICROS)

    # For operators and for composition

    def declare(self, monitors: Sequence[Monitor]) -> None:
        """Keep these from now on. Those that mean the same as before keep their history."""
        before = {kept.fingerprint: kept for kept in self._kept}
        after: list[Kept] = []
        for monitor in monitors:
            kept = before.get(monitor.fingerprint)
            if kept is None:
                kept = Kept(monitor)
            kept.monitor = monitor
            after.append(kept)
        self._kept = tuple(after)
        self._plans = {}

    def run_ended(self, run: str) -> None:
        """Forget what was counted for a run: nothing asks for it any more."""
        for kept in self._kept:
            if kept.monitor.per is Per.RUN:
                kept.cells.pop(run, None)

    def sweep(self) -> None:
        """Forget cells in which nothing counts any more. Those of runs end with their runs."""
        now = self.now()
        for kept in self._kept:
            if kept.monitor.per is not Per.RUN:
                idle = [scope for scope, cell in kept.cells.items() if cell.is_idle(now)]
                for scope in idle:
                    del kept.cells[scope]

    def status(self, *, limit: int = 100) -> Sequence[MonitorStatus]:
        """Every declared monitor by name, with at most `limit` of its scopes."""
        now = self.now()
        return [self._status(kept, now, limit) for kept in self._kept]

    # For the history

    def kept(self) -> Iterator[Kept]:
        """Every declared monitor with its cells."""
        yield from self._kept

    def resume(self, *, key: bytes, at: int) -> None:
        """Everything that was is restored. `at` is the last time known: time goes on from there."""
        self._key = key
        self._base = max(self._base, at - int(self._clock.monotonic() * MICROS))
        self.is_restored = True

    def lose(self, at: int) -> None:
        """Not everything that was is known: every monitor reads as full while that may matter."""
        for kept in self._kept:
            kept.lost = Lost(at=at, wall=int(self._clock.now()))

    # Inside

    def _read(self, now: int, scopes: tuple[str, ...], opened_at: int) -> dict[str, int]:
        values: dict[str, int] = {}
        for kept in self._kept:
            cell = kept.cells.get(scopes[kept.place])
            value = 0 if cell is None else cell.read(now)
            if value > SATURATED or (kept.lost is not None and kept.is_lost(now, opened_at)):
                value = SATURATED
            values[kept.name] = value
        return values

    def _plan(self, action: Action, target: Target) -> tuple[Step, ...]:
        kind, traits = action.kind, target.traits
        # Only tools are selected by name; names of resources have no end.
        name = action.name if kind is ActionKind.CALL_TOOL else ""
        key = (kind, action.upstream, name)
        known = self._plans.get(key)
        if known is not None and (known[0] is traits or known[0] == traits):
            return known[1]
        steps: list[Step] = []
        for kept in self._kept:
            bits = kept.monitor.steps_of(
                kind=kind,
                upstream=action.upstream,
                name=name,
                effect=traits.effect,
                reach=traits.reach,
            )
            if bits:
                steps.append((kept, bits, where(kept.monitor, traits)))
        if len(self._plans) >= MAX_PLANS:
            self._plans.clear()
        self._plans[key] = (traits, tuple(steps))
        return tuple(steps)

    def _measure(self, step: Step, action: Action, *, scope: str, salt: str) -> Advance | None:
        """What an action adds, or None if that is nothing."""
        kept, amount, look = step
        keys: tuple[str, ...] = ()
        if look is None:
            pass  # its events are counted as they are
        elif kept.kind is MonitorKind.SUM:
            amount = amount_of(kept.monitor, look, action.arguments)
        else:
            bound = bound_to(kept.fingerprint, scope, salt if kept.monitor.per is Per.RUN else "")
            keys, amount = keys_of(look, action.arguments, key=self._key, bound=bound)
        if not amount and not keys:
            return None
        return Advance(
            monitor=kept.name, of=kept.fingerprint, scope=scope, amount=amount, keys=keys
        )

    def _status(self, kept: Kept, now: int, limit: int) -> MonitorStatus:
        monitor = kept.monitor
        is_lost = kept.is_lost(now, 0)
        found = [
            MonitorReading(scope=scope, value=min(cell.read(now), SATURATED))
            for scope, cell in kept.cells.items()
        ]
        found = [reading for reading in found if reading.value]
        found.sort(key=lambda reading: (-reading.value, reading.scope))
        return MonitorStatus(
            name=monitor.name,
            kind=monitor.kind,
            per=monitor.per,
            counts=monitor.counts,
            window_s=monitor.window_us // MICROS,
            about=monitor.about,
            lost=is_lost,
            scopes=tuple(found[:limit]),
        )


__all__ = [
    "Kept",
    "Lost",
    "MonitorReading",
    "MonitorStatus",
    "Monitors",
    "Reservation",
]
