"""What reads, checks and switches policy sets: the operator's side of the policy engine.

`policy.py` beside this is the side of the hot path: it asks the set that is active.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

from midflight.domain.monitor import Monitor
from midflight.domain.question import Target
from midflight.domain.response_rules import ResponseRules
from midflight.domain.value import Value
from midflight.services.ports.policy import PolicyEngine


class PolicySource(Value):
    """One file of policies: its name, relative to the directory of the set, and its text."""

    name: str
    text: str


class Severity(enum.StrEnum):
    """An error keeps a set from being activated; a warning is shown."""

    ERROR = "error"
    WARNING = "warning"


class PolicyProblem(Value):
    """One thing that is wrong with a set.

    Attributes:
        file, line: where the policy begins, counted from 1; 0 when no line is to blame.
        policy: id of the policy, or empty when it has none.
        text: what is wrong and what would help.
        tool: `(upstream, name)` if it is wrong only against this registered tool.
    """

    file: str
    line: int
    policy: str
    text: str
    severity: Severity = Severity.ERROR
    tool: tuple[str, str] | None = None

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        policy = f" [{self.policy}]" if self.policy else ""
        return f"{place}:{policy} {self.text}"


class PolicySet(Protocol):
    """A parsed set: immutable, not yet active."""

    @property
    def version(self) -> str:
        """SHA-256 in hex of the canonical form: equal for equal meaning, whatever the layout."""
        ...

    @property
    def sources(self) -> Sequence[PolicySource]:
        """The text it was parsed from."""
        ...

    @property
    def monitors(self) -> Sequence[Monitor]:
        """The monitors that it declares, by name."""
        ...

    @property
    def responses(self) -> ResponseRules | None:
        """What follows from findings; None where it declares nothing about that."""
        ...

    def __len__(self) -> int:
        """How many policies there are."""
        ...


class PolicyCompiler(Protocol):
    """Reads and checks sets. CPU-bound: call it in a thread, not on the event loop."""

    def parse(self, sources: Sequence[PolicySource]) -> PolicySet:
        """Parse a set. `Misconfigured` with every problem found if it is not usable."""
        ...

    def inspect(self, policies: PolicySet, targets: Sequence[Target]) -> Sequence[PolicyProblem]:
        """Validate against the types of all registered tools, and look for dead policies."""
        ...

    def engine(self, policies: PolicySet, targets: Sequence[Target]) -> PolicyEngine:
        """An engine of its own for this set: for checks and for replaying old decisions."""
        ...


class PolicySwitch(PolicyEngine, Protocol):
    """The engine of the hot path, as those who may change its set see it."""

    @property
    def targets(self) -> Sequence[Target]:
        """What was registered last."""
        ...

    @property
    def generation(self) -> int:
        """Grows with every registration and activation."""
        ...

    def activate(self, policies: PolicySet | None) -> None:
        """Decide by this set from the next question on; None for no set: everything is denied."""
        ...

    def hold(self, tools: Mapping[tuple[str, str], str]) -> None:
        """Deny calls of these tools, `(upstream, name)` to why, until the next call of this."""
        ...


__all__ = [
    "PolicyCompiler",
    "PolicyProblem",
    "PolicySet",
    "PolicySource",
    "PolicySwitch",
    "Severity",
]
