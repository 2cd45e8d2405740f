"""Responses: what holds for a run or a workload because of what was found about it.

A response is one entry of an append-only log, as a revocation is: it names the finding that it
answers and ends by itself; lifting it is another entry. What holds now is a `Standing`, the sum of
the entries in force, and a fact that policy is asked with. This file owns the levels and what adds
up to a standing; `response_rules.py` says which finding has which response.
Above: `services/standings.py`, `services/responses.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

import msgspec

from midflight.domain.identity import Author
from midflight.domain.revocation import Scope
from midflight.domain.value import Value


class Level(enum.StrEnum):
    """What holds, from least to most. Stored in records, read by policies: append, never change."""

    NONE = "none"
    NOTE = "note"
    """It is on record, and nothing else."""
    RISK = "risk"
    """`context.run.risk` is higher, for policies that look at it."""
    THROTTLE = "throttle"
    """So many actions a minute."""
    CHALLENGE = "challenge"
    """Every effect and every read of the open world needs an approval."""
    QUARANTINE = "quarantine"
    """Reads of the closed world and nothing else; no approval changes that."""
    REVOKE = "revoke"
    """It is over: a revocation of the scope goes with it."""

    @property
    def rank(self) -> int:
        """Its place in the order, from 0."""
        return _RANKS[self]

    def up(self, steps: int) -> Level:
        """The level so many steps above, or the last."""
        return _ORDER[min(self.rank + steps, len(_ORDER) - 1)]


_ORDER = tuple(Level)
_RANKS = {level: rank for rank, level in enumerate(_ORDER)}

MAX_RISK = 100
MAX_FINDINGS = 16
"""Ids of findings that one response names, the newest."""


def highest(levels: Iterable[Level]) -> Level:
    """The highest of some levels; `NONE` for none."""
    return max(levels, key=lambda level: level.rank, default=Level.NONE)


class Rate(Value):
    """So many actions in so many seconds, evenly: `10/m` is one every six seconds."""

    count: int
    seconds: int

    @property
    def burst(self) -> int:
        """How many may come at once after a pause."""
        return max(1, self.count // 4)

    def __str__(self) -> str:
        unit = {1: "s", 60: "m", 3_600: "h"}.get(self.seconds)
        return f"{self.count}/{unit}" if unit else f"{self.count} in {self.seconds} s"


class Response(Value):
    """One entry of the log.

    Attributes:
        id: `rsp_` and 26 characters.
        at: Unix seconds.
        scope: where it holds: a workload, with all its runs; or a run, with its family (all runs
            that descend from the same first one and are for, or through, `workload`). The id of
            a run is that of the first run of the family.
        workload, owner: whom it is about.
        run: in which run it was found; empty where none was named.
        level: what holds.
        until: Unix seconds when it ends by itself.
        reason: why, in words.
        author, proof: who says so: `detector:<name>` by `finding:<id>`, or an operator.
        detector: which one, or empty for an operator.
        findings: ids of the findings that it answers.
        base: the level that policy gives the finding for itself, before others added to it.
        weight: what the finding adds to those of other detectors.
        risk: what it adds to the risk.
        rate: of a throttle.
        own: it also holds for every run that the workload opens for itself: nobody else stands
            between such a run and the next one.
        observed: the workload is only observed, so nothing was stopped.
        replaces: the entry of the same detector that this one goes on from.
        lifts: the entry that this one ends; then nothing else of it counts.
        beyond: why it is less than policy asks for, where it is.
    """

    id: str
    at: float
    scope: Scope
    workload: str
    level: Level
    until: float
    reason: str
    author: str
    proof: str
    owner: str = ""
    run: str = ""
    detector: str = ""
    findings: tuple[str, ...] = ()
    base: Level = Level.NONE
    weight: int = 0
    risk: int = 0
    rate: Rate | None = None
    own: bool = False
    observed: bool = False
    replaces: str = ""
    lifts: str = ""
    beyond: str = ""

    def is_in_force(self, now: float) -> bool:
        """Whether it holds at `now` (Unix seconds), unless it was lifted or replaced."""
        return not self.lifts and now < self.until

    def lifted(self, new_id: str, *, at: float, reason: str, author: Author) -> Response:
        """The entry that ends this one."""
        return msgspec.structs.replace(
            self,
            id=new_id,
            at=at,
            reason=reason,
            author=author.name,
            proof=author.proof,
            replaces="",
            lifts=self.id,
        )


class Standing(Value):
    """What holds for a run, all entries together.

    Attributes:
        level: the highest of them.
        risk: their sum, at most 100.
        findings: names of the detectors, sorted.
        responses: ids of the entries, in order.
        rate: the slowest throttle among them.
    """

    level: Level = Level.NONE
    risk: int = 0
    findings: tuple[str, ...] = ()
    responses: tuple[str, ...] = ()
    rate: Rate | None = None

    def is_worse_than(self, level: str, risk: int, findings: tuple[str, ...]) -> bool:
        """Whether this is worse than what a decision was made with."""
        return (
            self.level.rank > Level(level).rank
            or self.risk > risk
            or not set(self.findings) <= set(findings)
        )


CLEAR = Standing()
"""Nothing was found."""


def stand(entries: Iterable[Response]) -> Standing:
    """The standing of a run for which these entries are in force."""
    found = {entry.id: entry for entry in entries}
    if not found:
        return CLEAR
    some = sorted(found.values(), key=lambda entry: (entry.at, entry.id))
    rates = [entry.rate for entry in some if entry.rate is not None and not entry.observed]
    return Standing(
        level=highest(entry.level for entry in some),
        risk=min(MAX_RISK, sum(entry.risk for entry in some)),
        findings=tuple(sorted({entry.detector for entry in some if entry.detector})),
        responses=tuple(entry.id for entry in some),
        rate=min(rates, key=lambda rate: rate.count / rate.seconds, default=None),
    )


__all__ = [
    "CLEAR",
    "MAX_FINDINGS",
    "MAX_RISK",
    "Level",
    "Rate",
    "Response",
    "Standing",
    "highest",
    "stand",
]
