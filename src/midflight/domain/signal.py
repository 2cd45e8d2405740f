"""Signals: what somebody outside says of a run or a workload, and what he may say.

A source is a part of somebody else's that watches agents by its own means: a classifier beside a
model, an endpoint agent, a team's own job. It may speak of some workloads and of no others, and
never louder than its settings let it. Above: `services/signals.py`; as bytes: `wire/signals.py`.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from midflight.domain.finding import Strength
from midflight.domain.identity import Workload
from midflight.domain.value import Value

PREFIX = "signal:"
"""Of what findings and responses call it: `signal:NAME`."""


class SignalSource(Value):
    """Who may say what.

    Attributes:
        name: as settings and findings have it.
        workloads, owners: patterns (`*`, `?`) for the SPIFFE ID and the owner of those it may
            speak of; where both are given, both must match. None of both is nobody.
        max_strength: how much its word counts at most.
        per_minute: signals that are taken of it.
    """

    name: str
    workloads: tuple[str, ...] = ()
    owners: tuple[str, ...] = ()
    max_strength: Strength = Strength.FAIR
    per_minute: int = 60

    def may_speak_of(self, workload: Workload) -> bool:
        """Whether a workload is one of those."""
        if not self.workloads and not self.owners:
            return False
        return _matches(workload.id, self.workloads) and _matches(workload.owner, self.owners)


class Signal(Value):
    """What a source says.

    Attributes:
        run, workload: what it is about; at least one of them.
        strength: how much it says, as the source sees it.
        seen, usual: as in a finding; at most 200 printable characters.
    """

    strength: Strength
    seen: str
    run: str = ""
    workload: str = ""
    usual: str = ""


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)


__all__ = ["PREFIX", "Signal", "SignalSource"]
