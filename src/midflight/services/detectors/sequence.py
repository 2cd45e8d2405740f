"""Sequence rules: steps that are harmless alone, and mean something in this order.

Over tools, agents and time: for a run, its family, a workload, or all agents of an owner. Rules are
data (`sequences.toml`, `domain/sequence.py`). For each of them and each of those whose actions
count together, one `Walk` is kept, which takes constant memory. A rule that is complete is told of
once, and again when its time has passed since, or half an hour if that is shorter.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence as Ordered
from operator import attrgetter
from typing import TypeAlias

from midflight.domain.event import Event
from midflight.domain.finding import Sighting
from midflight.domain.labels import BOTTOM, SUSPECTED, Labels
from midflight.domain.records import Terminal
from midflight.domain.sequence import Brings, Over, Rule, Walk, When, held
from midflight.domain.traits import Effect, Reach
from midflight.services.detectors.kept import AGAIN_S, RUNS, WORKLOADS, Kept

TOOLS = 4_096
"""Tools for which it is remembered which steps they can be."""

Kind: TypeAlias = tuple[str, str, Effect, Reach]
Steps: TypeAlias = tuple[tuple[int, int], ...]
"""(rule, step), in the order in which they are looked at."""
CanBe: TypeAlias = tuple[Steps, Steps, Steps]
"""Steps that are about what results bring, about actions that leave, about those refused."""

_DENIED = Terminal.DENIED
_KEYS: dict[Over, Callable[[Event], str]] = {
    Over.RUN: attrgetter("run"),
    Over.FAMILY: attrgetter("family"),
    Over.WORKLOAD: attrgetter("workload"),
    Over.OWNER: attrgetter("owner"),
}


class Sequence:
    """See the module."""

    name = "sequence"

    def __init__(self, rules: Ordered[Rule]) -> None:
        """`rules` are fixed for its life."""
        self._rules = tuple(rules)
        self._places = [place for number in range(len(rules)) for place in self._order(number)]
        self._can_be: dict[Kind, CanBe] = {}
        self._walks: dict[Over, Kept[str, dict[int, Walk]]] = {
            over: Kept(dict, bound=RUNS if over in (Over.RUN, Over.FAMILY) else WORKLOADS)
            for over in Over
        }
        self._over = [(_KEYS[rule.over], self._walks[rule.over]) for rule in rules]
        self._labels: Kept[str, list[Labels]] = Kept(lambda: [BOTTOM], bound=RUNS)

    def see(self, event: Event) -> Sighting | None:
        """Look at one event; the strongest rule that it completes."""
        brought = self._brought(event)
        if not brought and event.state is not None and event.state is not _DENIED:
            return None  # it was looked at when it left
        complete: list[tuple[Rule, tuple[str, ...]]] = []
        for number, step in self._steps(event, brought):
            rule = self._rules[number]
            if not rule.steps[step].fits(event, brought):
                continue
            walk = self._walk(rule, number, event)
            records = None if walk is None else walk.go(rule, step, event)
            if walk is None or records is None:
                continue
            if event.mono < walk.told_at + min(rule.within_s, AGAIN_S):
                continue
            walk.told_at = event.mono
            complete.append((rule, records))
        return _said(complete) if complete else None

    def run_ended(self, run: str) -> None:
        """Forget the run, and its family if it was the first of one."""
        for over in (Over.RUN, Over.FAMILY):
            self._walks[over].drop(run)
        self._labels.drop(run)

    def _order(self, number: int) -> list[tuple[int, int]]:
        """What a result brings is there before the action, and may be several steps at once.

        Of actions the later steps come first, so that one action is one step.
        """
        steps = self._rules[number].steps
        brings = [step for step, each in enumerate(steps) if each.brings]
        acts = [step for step, each in enumerate(steps) if not each.brings]
        return [(number, step) for step in (*brings, *reversed(acts))]

    def _steps(self, event: Event, brought: frozenset[Brings]) -> Steps:
        # Names that nobody serves have no end, and no step is about one of them.
        named = event.known
        kind = (
            event.upstream if named else "",
            event.name if named else "",
            event.effect,
            event.reach,
        )
        can_be = self._can_be.get(kind)
        if can_be is None:
            can_be = self._look(event)
            if len(self._can_be) < TOOLS:
                self._can_be[kind] = can_be
        results, leaving, refused = can_be
        ended = refused if event.state is _DENIED else ()
        act = leaving if event.state is None else ended
        return (*results, *act) if brought and results else act

    def _look(self, event: Event) -> CanBe:
        fitting = [
            place for place in self._places if self._rules[place[0]].steps[place[1]].about(event)
        ]

        def those(*, brings: bool, at: When) -> Steps:
            return tuple(
                (number, step)
                for number, step in fitting
                if bool(self._rules[number].steps[step].brings) is brings
                and self._rules[number].steps[step].at(at)
            )

        return (
            those(brings=True, at=When.ENDED),
            those(brings=False, at=When.LEAVING),
            those(brings=False, at=When.REFUSED),
        )

    def _walk(self, rule: Rule, number: int, event: Event) -> Walk | None:
        key_of, kept = self._over[number]
        key = key_of(event)
        if not key:
            return None
        walks = kept.of(key)
        walk = walks.get(number)
        if walk is None:
            walk = walks[number] = Walk(rule)
        return walk

    def _brought(self, event: Event) -> frozenset[Brings]:
        """By what the labels of its run have grown since the last event."""
        labels = event.labels
        if labels == BOTTOM or not event.run:
            return _NOTHING
        kept = self._labels.of(event.run)
        before = kept[0]
        if before is labels or before.covers(labels):
            return _NOTHING
        kept[0] = before.join(labels)
        new = held(labels) - held(before)
        added = labels.compartments - before.compartments - {SUSPECTED}
        return new | _COMPARTMENT if added else new


def _said(complete: list[tuple[Rule, tuple[str, ...]]]) -> Sighting:
    """The strongest of the rules that an event has completed, and the names of the others."""
    rule, records = max(complete, key=lambda each: each[0].strength)
    others = ", ".join(each.id for each, _ in complete if each is not rule)
    return Sighting(
        strength=rule.strength,
        seen=f"{rule.about} ({rule.id})" + (f"; also: {others}" if others else ""),
        after=sum(each.times for each in rule.steps),
        records=records,
    )


_NOTHING: frozenset[Brings] = frozenset()
_COMPARTMENT = frozenset({Brings.COMPARTMENT})

__all__ = ["TOOLS", "Sequence"]
