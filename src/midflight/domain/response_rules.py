"""Which finding has which response, as the operators of a plane declare it.

Rules, how findings add up, and how far a response may go that nobody asked a person for. Pure, and
part of the meaning of a policy set: `canonical` goes into its version. Below: `response.py`.
Above: `services/response_files.py` (TOML), `services/responses.py` (the verb).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping

from midflight.domain.finding import Finding, Strength
from midflight.domain.response import Level, Rate, Response, highest
from midflight.domain.value import JSON, Value

HOUR = 3_600
A_LEVEL = 2
"""How much findings of other detectors must weigh for each level that they raise."""


class Holds(enum.StrEnum):
    """Where a response holds. Anything wider is for people to say."""

    RUN = "run"
    WORKLOAD = "workload"


class Rule(Value):
    """One `[[response]]`.

    Attributes:
        detector: whose findings; empty for all.
        strength: the least that a finding must say.
        respond: what follows.
        holds: where.
        for_s: for how many seconds.
        risk: points of `context.run.risk`, 0 to 100; nothing below level `risk` has any.
        rate: of a throttle.
        line: where it is declared, for messages.
    """

    detector: str
    strength: Strength
    respond: Level
    holds: Holds = Holds.RUN
    for_s: int = HOUR
    risk: int = 0
    rate: Rate | None = None
    line: int = 0

    def canonical(self) -> JSON:
        """What it means, for a digest."""
        return [
            self.detector,
            int(self.strength),
            self.respond.value,
            self.holds.value,
            self.for_s,
            self.risk,
            None if self.rate is None else [self.rate.count, self.rate.seconds],
        ]


class Adding(Value):
    """`[adding]`: how findings of different detectors about the same add up.

    Attributes:
        within_s: how long a finding is remembered for that; 0 for not at all.
        at_most: the highest level that adding up alone leads to.
        weights: what a finding weighs, by its strength.
    """

    within_s: int = 600
    at_most: Level = Level.QUARANTINE
    weights: tuple[int, int, int] = (1, 2, 2)

    def weight(self, strength: Strength) -> int:
        """What a finding of this strength weighs."""
        return self.weights[strength - 1]

    def canonical(self) -> JSON:
        """What it means, for a digest."""
        return [self.within_s, self.at_most.value, list(self.weights)]


class Limits(Value):
    """`[limits]`: how far automatic responses to whole workloads go, against stopping all of them.

    At most `workloads` different ones within `within_s` seconds, and at most `percent` of all that
    are registered (but always one). Runs have no limit.
    """

    workloads: int = 5
    percent: int = 10
    within_s: int = HOUR

    def allowed(self, registered: int) -> int:
        """How many different workloads, where so many are registered."""
        return min(self.workloads, max(1, registered * self.percent // 100))

    def canonical(self) -> JSON:
        """What it means, for a digest."""
        return [self.workloads, self.percent, self.within_s]


class ResponseRules(Value):
    """What `responses.toml` says."""

    rules: tuple[Rule, ...]
    adding: Adding = Adding()
    limits: Limits = Limits()

    def rule(self, finding: Finding) -> Rule:
        """The rule for a finding; without one it is noted.

        One that names its detector comes before one for all, and of these the one that asks for
        the most strength.
        """
        fitting = [
            rule
            for rule in self.rules
            if rule.detector in ("", finding.detector) and rule.strength <= finding.strength
        ]
        return max(fitting, key=lambda rule: (bool(rule.detector), rule.strength), default=NOTED)

    def canonical(self) -> JSON:
        """What it means, for a digest."""
        rules = sorted(self.rules, key=lambda rule: (rule.detector, rule.strength))
        return [
            [rule.canonical() for rule in rules],
            self.adding.canonical(),
            self.limits.canonical(),
        ]


RATE = Rate(count=10, seconds=60)
"""Of a throttle that names none."""

NOTED = Rule(detector="", strength=Strength.WEAK, respond=Level.NOTE)
"""What follows from a finding that no rule is for."""

RISKS: Mapping[Strength, int] = {Strength.WEAK: 10, Strength.FAIR: 30, Strength.STRONG: 60}
"""Points of risk where a rule names none."""

STANDARD = ResponseRules(
    rules=(
        Rule(detector="", strength=Strength.WEAK, respond=Level.NOTE, for_s=HOUR),
        Rule(detector="", strength=Strength.FAIR, respond=Level.CHALLENGE, for_s=1_800, risk=30),
        Rule(
            detector="", strength=Strength.STRONG, respond=Level.QUARANTINE, for_s=4 * HOUR, risk=60
        ),
        Rule(
            detector="canary",
            strength=Strength.STRONG,
            respond=Level.REVOKE,
            for_s=24 * HOUR,
            risk=100,
        ),
    )
)
"""What holds where a policy directory says nothing: the text of `policies/standard`."""


def add_up(
    adding: Adding, base: Level, weight: int, others: Iterable[Response], *, now: float
) -> Level:
    """The level of a new finding, with what other detectors have found of the same.

    Args:
        adding: how.
        base: the level that policy gives it for itself.
        weight: what it weighs itself.
        others: the entries in force of other detectors, one each.
        now: Unix seconds.
    """
    recent = [entry for entry in others if entry.at > now - adding.within_s and entry.weight]
    if not recent:
        return base
    # The strongest of all is the one that the others add to.
    found = sorted(
        [(base, weight), *((entry.base, entry.weight) for entry in recent)],
        key=lambda each: (each[0].rank, each[1]),
    )
    top = found[-1][0]
    raised = top.up(sum(each for _, each in found[:-1]) // A_LEVEL)
    # A level that policy itself names stands; adding alone leads no higher than it may.
    bounded = min((raised, adding.at_most), key=lambda level: level.rank)
    return highest((base, bounded)) if raised.rank > top.rank else base


__all__ = [
    "A_LEVEL",
    "HOUR",
    "NOTED",
    "RATE",
    "RISKS",
    "STANDARD",
    "Adding",
    "Holds",
    "Limits",
    "ResponseRules",
    "Rule",
    "add_up",
]
