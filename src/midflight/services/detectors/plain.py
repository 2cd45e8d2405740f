"""The detectors that need no baseline."""

from __future__ import annotations

from collections.abc import Sequence as Ordered

from midflight.domain.sequence import Rule
from midflight.services.detection import Detector
from midflight.services.detectors.drift import Drift
from midflight.services.detectors.elsewhere import Elsewhere
from midflight.services.detectors.escalation import Escalation
from midflight.services.detectors.fuzzing import Fuzzing
from midflight.services.detectors.probing import Probing
from midflight.services.detectors.sequence import Sequence


class Plain:
    """The detectors that need no baseline; two of them are told of more than events."""

    def __init__(self, rules: Ordered[Rule] = (), *, elsewhere: Elsewhere | None = None) -> None:
        """`rules` of sequences; `elsewhere` where networks are named."""
        self.elsewhere = elsewhere or Elsewhere()
        self.drift = Drift()
        self.all: tuple[Detector, ...] = (
            Probing(),
            Fuzzing(),
            Sequence(rules),
            Escalation(),
            self.elsewhere,
            self.drift,
        )


__all__ = ["Plain"]
