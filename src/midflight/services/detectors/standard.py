"""The detectors with a baseline, in the order in which they look; `plain.py` has the others.

A new one is a file beside this one and a line here. What each sees, after how many actions and what
it cannot see is in docs/detectors.md. Above: `apps/compose_watching.py`, `bench/`.
"""

from __future__ import annotations

from midflight.services.detection import Detector
from midflight.services.detectors.burst import Burst
from midflight.services.detectors.novelty import Novelty
from midflight.services.detectors.pipeline import Pipeline


def standard() -> tuple[Detector, ...]:
    """Fresh ones, that know nothing yet."""
    return (
        Burst(),
        Novelty(),
        Pipeline(),
    )


__all__ = ["standard"]
