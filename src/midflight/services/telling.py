"""Findings of what is no detector: canaries, broken bindings, drift, signals, words in results.

Makes a finding of what they have seen and hands it to detection, in the same turn. Above: those
parts, by `Tell`. Below: `detection.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from midflight.domain.finding import Sighting
from midflight.domain.identity import Workload
from midflight.services.detection import Detection
from midflight.services.ports.clock import Clock


class Tell(Protocol):
    """Says that something was seen; the id of the finding's record, empty if none could be kept."""

    def __call__(
        self,
        detector: str,
        sighting: Sighting,
        *,
        workload: str,
        owner: str = "",
        run: str = "",
        upstream: str = "",
        name: str = "",
    ) -> str:
        """Say it. Without `owner` it is looked up."""
        ...


class Findings:
    """See the module. `tell` is a `Tell`."""

    def __init__(
        self, detection: Detection, *, clock: Clock, current: Callable[[str], Workload | None]
    ) -> None:
        """`current` gives a workload as it is registered now."""
        self._detection = detection
        self._clock = clock
        self._current = current

    def tell(
        self,
        detector: str,
        sighting: Sighting,
        *,
        workload: str,
        owner: str = "",
        run: str = "",
        upstream: str = "",
        name: str = "",
    ) -> str:
        """Record a finding and let what follows from it follow."""
        if not owner and workload:
            registered = self._current(workload)
            owner = "" if registered is None else registered.owner
        return self._detection.saw(
            detector,
            sighting,
            at=self._clock.now(),
            workload=workload,
            owner=owner,
            run=run,
            upstream=upstream,
            name=name,
        )


__all__ = ["Findings", "Tell"]
