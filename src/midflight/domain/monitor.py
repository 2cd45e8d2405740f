"""Monitors: what an operator wants remembered of the past, so that a policy can look at it.

A monitor names events (permitted actions, or attempts too), what of them adds up, and whose they
are. This file holds declarations, which events they are about, and what a record keeps of an
advance; `monitor_cells.py` holds the values, `monitor_values.py` reads amounts and keys out of
arguments. Above: `services/monitor_files.py` (TOML), `services/monitors.py` (the verb).
"""

from __future__ import annotations

import enum

from midflight.domain.action import ActionKind
from midflight.domain.canonical import sha256_hex
from midflight.domain.traits import Effect, Reach, Role
from midflight.domain.value import JSON, Value

SATURATED = 2**63 - 1
"""What a monitor reads when its true value is not known: Cedar's largest `Long`."""

MICROS = 1_000_000
"""Monitors keep time as integer microseconds, so that a window's edge is exact."""


class MonitorKind(enum.StrEnum):
    """What a monitor's value is. Part of a set's version: append, never change."""

    COUNT = "count"
    """How many events."""
    RATE = "rate"
    """How many events in a sliding window: a count that must have one."""
    SUM = "sum"
    """The sum of a number in the arguments, in units of 10^-`places`, rounded up."""
    DISTINCT = "distinct"
    """How many different values of an argument."""
    SEQUENCE = "sequence"
    """How many steps were taken, in order, within a time."""


class Per(enum.StrEnum):
    """Whose events are added up."""

    RUN = "run"
    WORKLOAD = "workload"
    OWNER = "owner"
    UPSTREAM = "upstream"


class Counts(enum.StrEnum):
    """Which events there are."""

    PERMITTED = "permitted"
    """Actions that were permitted, whatever came of them."""
    ATTEMPTED = "attempted"
    """Actions that policy was asked about, whatever it said: for probing."""


class Selection(Value):
    """Which actions an event is made of. An empty set, and no reach, stand for all."""

    effects: frozenset[Effect] = frozenset()
    kinds: frozenset[ActionKind] = frozenset()
    upstreams: frozenset[str] = frozenset()
    tools: frozenset[str] = frozenset()
    reach: Reach | None = None

    def matches(
        self, *, kind: ActionKind, upstream: str, name: str, effect: Effect, reach: Reach
    ) -> bool:
        """Whether an action is one of these."""
        return (
            (not self.effects or effect in self.effects)
            and (not self.kinds or kind in self.kinds)
            and (not self.upstreams or upstream in self.upstreams)
            and (not self.tools or (kind is ActionKind.CALL_TOOL and name in self.tools))
            and (self.reach is None or reach is self.reach)
        )

    def canonical(self) -> JSON:
        """What it means, for a digest."""
        return [
            sorted(self.effects),
            sorted(self.kinds),
            sorted(self.upstreams),
            sorted(self.tools),
            self.reach,
        ]


class Monitor(Value):
    """One declaration.

    Attributes:
        name: a Cedar identifier; policies read `context.run.<name>`.
        kind, per, counts: see there.
        steps: which events: one selection, and for a sequence one a step, in order.
        window_us: microseconds for which an event counts; 0 for as long as whose it is exists.
        argument: path of the argument that is summed or told apart, or empty.
        role: instead of `argument`: all arguments of that role.
        places: decimal places of a sum's unit (2: cents).
        remember: how many events (values, for `distinct`) are kept apart; beyond it the newest
            are kept together, which rounds the value up and never down.
        about: for people.
        file, line: where it is declared, for messages.
    """

    name: str
    kind: MonitorKind
    per: Per
    steps: tuple[Selection, ...]
    window_us: int = 0
    counts: Counts = Counts.PERMITTED
    argument: str = ""
    role: Role | None = None
    places: int = 0
    remember: int = 10_000
    about: str = ""
    file: str = ""
    line: int = 0

    @property
    def fingerprint(self) -> str:
        """Names its history: 16 hex characters that change when what it counts changes.

        A declaration with another meaning counts from zero; `remember` and `about` are no part.
        """
        return sha256_hex(self._meaning())[:16]

    def canonical(self) -> JSON:
        """All of it that can make a difference to a decision, for the version of a set."""
        return [self._meaning(), self.remember]

    def steps_of(
        self, *, kind: ActionKind, upstream: str, name: str, effect: Effect, reach: Reach
    ) -> int:
        """Which steps an action is, as bits from the lowest; 0 when it is no event of this one."""
        return sum(
            1 << bit
            for bit, step in enumerate(self.steps)
            if step.matches(kind=kind, upstream=upstream, name=name, effect=effect, reach=reach)
        )

    def _meaning(self) -> JSON:
        return [
            "midflight/monitor/v1",
            self.name,
            self.kind,
            self.per,
            self.counts,
            [step.canonical() for step in self.steps],
            self.window_us,
            self.argument,
            self.role,
            self.places,
        ]


class Advance(Value):
    """What one event added to one monitor, as records keep it: no text of an argument.

    Attributes:
        monitor: name of the monitor, for people.
        of: its fingerprint.
        scope: whose: id of the run or workload, name of the owner or upstream.
        amount: what was added: 1, the amount of a sum, or the bits of the steps; for `distinct`
            how many values beyond those in `keys`.
        keys: keyed hashes of the values that `distinct` tells apart.
    """

    monitor: str
    of: str
    scope: str
    amount: int = 1
    keys: tuple[str, ...] = ()


class Advanced(Value):
    """All that one event advanced. `at` is in microseconds of the monitors' own time."""

    at: int
    by: tuple[Advance, ...]


__all__ = [
    "MICROS",
    "SATURATED",
    "Advance",
    "Advanced",
    "Counts",
    "Monitor",
    "MonitorKind",
    "Per",
    "Selection",
]
