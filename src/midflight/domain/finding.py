"""Findings: what a detector, a canary or a signal from elsewhere says of a workload or a run.

A finding explains itself: what was usual, what was seen, after how many actions. What follows from
it is policy's to say (`services/responses.py`); a finding alone stops nothing.
"""

from __future__ import annotations

import enum

from midflight.domain.value import Value


class Strength(enum.IntEnum):
    """How much a finding says. Stored in records: append, never change."""

    WEAK = 1
    """Unusual, and often harmless: a first use, a busy hour."""
    FAIR = 2
    """Seldom harmless: probing, a burst far beyond what was usual."""
    STRONG = 3
    """Never harmless: a canary was touched, a credential came from elsewhere."""


class Sighting(Value):
    """What a detector says of an event; `services/detection.py` makes the finding of it."""

    strength: Strength
    seen: str
    usual: str = ""
    after: int = 0
    records: tuple[str, ...] = ()


class Finding(Value):
    """One finding.

    Attributes:
        id: `fnd_` and 26 characters.
        at: Unix seconds.
        detector: which one, as responses and documentation name it: `probing`, `burst`, `canary` …
        strength: how much it says.
        workload: whom it is about; empty for one about an upstream or a credential alone.
        owner: who answers for it.
        run: in which run; empty where it is about the workload as a whole.
        upstream, name: what it is about, where it is about one.
        usual: what was usual until now, in words (`at most 12 calls a minute in 14 days`).
        seen: what is new, in words (`47 calls within 60 seconds`). Never an argument.
        after: how many actions it took to notice.
        records: ids of records that show it, newest last, at most 8.
    """

    id: str
    at: float
    detector: str
    strength: Strength
    seen: str
    workload: str
    owner: str = ""
    run: str = ""
    upstream: str = ""
    name: str = ""
    usual: str = ""
    after: int = 0
    records: tuple[str, ...] = ()


__all__ = ["Finding", "Sighting", "Strength"]
