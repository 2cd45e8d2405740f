"""Sequences of actions that mean something together: rules as values, and how far one has come.

A rule is a list of steps; what lies between them does not matter. It is complete when all steps
came in this order within its time. For each prefix only the latest possible beginning is kept, so
a walk takes constant memory, however long, and finds a match if and only if there is one. No I/O
and no clock. Above: `services/detectors/sequence.py`; as text: `wire/sequences_file.py`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from fnmatch import translate
from functools import lru_cache

from midflight.domain.event import Event
from midflight.domain.finding import Strength
from midflight.domain.labels import SUSPECTED, Labels
from midflight.domain.traits import Effect, Reach
from midflight.domain.value import Value

NEVER = float("-inf")


class Over(enum.StrEnum):
    """What a sequence is walked over: whose actions count together."""

    RUN = "run"
    FAMILY = "family"
    """A run and all that descend from it, over their agents."""
    WORKLOAD = "workload"
    OWNER = "owner"
    """All agents of one owner."""


class When(enum.Enum):
    """At which of its two events an action is seen."""

    LEAVING = enum.auto()
    REFUSED = enum.auto()
    ENDED = enum.auto()


class Brings(enum.StrEnum):
    """What a result adds to the labels of its run."""

    UNTRUSTED = "untrusted"
    SECRET = "secret"  # noqa: S105 -- a class of data
    COMPARTMENT = "compartment"


class Step(Value):
    """One step. Every condition that is given must hold; an empty one asks for nothing.

    Attributes:
        effects, reach: traits of what is called.
        names: patterns (`*`, `?`) for `upstream/name` of what is served, one of which matches.
        refused: True for what was refused, False for what was let through, None for either.
        brings: the labels of its run have grown by one of these since the last event.
        seen: labels that the run must have when it is called: `untrusted`, `secret`.
        unapproved: no person has said yes to it.
        times: so many actions on different tools, each of which is such a step.
    """

    effects: frozenset[Effect] = frozenset()
    reach: Reach | None = None
    names: tuple[str, ...] = ()
    refused: bool | None = None
    brings: frozenset[Brings] = frozenset()
    seen: frozenset[Brings] = frozenset()
    unapproved: bool = False
    times: int = 1

    def about(self, event: Event) -> bool:
        """Whether what is called fits: the same for every event of one tool."""
        return (
            (not self.effects or event.effect in self.effects)
            and (self.reach is None or event.reach is self.reach)
            and (not self.names or self._named(event))
        )

    def _named(self, event: Event) -> bool:
        # Names that nobody serves are guesses, and have no end.
        return event.known and bool(matcher(self.names)(f"{event.upstream}/{event.name}"))

    def at(self, when: When) -> bool:
        """Whether it can be there: the same for every event of that time."""
        if self.brings:
            return True  # a result shows in whatever is next
        match when:
            case When.LEAVING:
                return self.refused is not True
            case When.REFUSED:
                return self.refused is not False
            case When.ENDED:
                return False  # it was looked at when it left

    def fits(self, event: Event, brought: frozenset[Brings]) -> bool:
        """Whether the rest does. `brought`: what its result has added to the labels of the run."""
        if self.brings:
            return not brought.isdisjoint(self.brings)
        if self.unapproved and event.approved:
            return False
        return not self.seen or self.seen <= held(event.labels)


class Rule(Value):
    """One rule.

    Attributes:
        id: what findings call it.
        about: what it means, in words.
        strength: how much it says.
        over: whose actions count together.
        within_s: in how many seconds all of it happens.
        steps: in order; at least two.
    """

    id: str
    about: str
    strength: Strength
    over: Over
    within_s: float
    steps: tuple[Step, ...]


class Walk:
    """How far a rule has come, for one run, family, workload or owner. Mutable."""

    __slots__ = ("_begun", "_first", "_records", "told_at")

    def __init__(self, rule: Rule) -> None:
        """Nothing has happened yet."""
        self._begun = [NEVER] * len(rule.steps)
        self._records: list[tuple[str, ...]] = [()] * len(rule.steps)
        self._first: dict[tuple[str, str], tuple[float, str]] = {}
        self.told_at = NEVER

    def go(self, rule: Rule, number: int, event: Event) -> tuple[str, ...] | None:
        """An event is step `number` (from 0). The records of the whole, if it is complete now.

        One action is one step: call for the later steps first.
        """
        now = event.mono
        if number == 0:
            began, records = self._begin(rule, event)
        else:
            began, records = self._begun[number - 1], self._records[number - 1]
            records = (*records[-6:], event.record)
        if began < now - rule.within_s:
            return None
        self._begun[number] = began
        self._records[number] = records
        return records if number == len(rule.steps) - 1 else None

    def _begin(self, rule: Rule, event: Event) -> tuple[float, tuple[str, ...]]:
        times = rule.steps[0].times
        if times == 1:
            return event.mono, (event.record,)
        name = (event.upstream, event.name)
        first = self._first
        # The latest use of each tool, so that the oldest of them is the latest possible beginning.
        if first.pop(name, None) is None and len(first) == times:
            del first[next(iter(first))]
        first[name] = (event.mono, event.record)
        if len(first) < times:
            return NEVER, ()
        return next(iter(first.values()))[0], tuple(record for _, record in first.values())


@lru_cache(maxsize=256)
def matcher(patterns: tuple[str, ...]) -> Callable[[str], object]:
    """What is true of a text that one of the patterns matches."""
    return re.compile("|".join(translate(each) for each in patterns)).match


def held(labels: Labels) -> frozenset[Brings]:
    """Labels as steps speak of them."""
    some = labels.compartments
    return _HELD[
        labels.untrusted, labels.confidentiality >= 2, bool(some) and some != frozenset({SUSPECTED})
    ]


_HELD = {
    (untrusted, secret, some): frozenset(
        [Brings.UNTRUSTED] * untrusted + [Brings.SECRET] * secret + [Brings.COMPARTMENT] * some
    )
    for untrusted in (False, True)
    for secret in (False, True)
    for some in (False, True)
}

__all__ = ["NEVER", "Brings", "Over", "Rule", "Step", "Walk", "When", "held", "matcher"]
