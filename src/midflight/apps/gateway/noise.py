"""Noise: what reached the gateway and never became an action, recorded without a flood.

Strangers and garbage are recorded as counts: the first of a kind at once, the rest summed up, so
that whoever sends a million bad requests writes a handful of records.
"""

from __future__ import annotations

from midflight.domain.errors import LedgerUnavailable
from midflight.domain.records import Observed
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

MAX_KINDS = 256


class Noise:
    """Counts refused callers and malformed messages; `flush` records what has gathered."""

    def __init__(self, *, recorder: Recorder, clock: Clock, telemetry: Telemetry) -> None:
        """Call `flush` every few seconds and at the end."""
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._counts: dict[tuple[str, str, str], int] = {}

    def refused(self, why: str, *, peer: str) -> None:
        """A caller without a proof, or from a wrong place."""
        self._telemetry.count("refused_callers")
        self._note("caller.refused", why, peer)

    def malformed(self, why: str, *, peer: str, workload: str) -> None:
        """A message that did not decode."""
        self._telemetry.count("malformed")
        self._note("message.malformed", why, workload or peer)

    def flush(self) -> None:
        """Record what has gathered since the last time."""
        gathered, self._counts = self._counts, {}
        for (what, why, who), count in gathered.items():
            if count:
                self._record(what, why, who, count)

    def _note(self, what: str, why: str, who: str) -> None:
        key = (what, why[:200], who)
        if key in self._counts:
            self._counts[key] += 1
        elif len(self._counts) < MAX_KINDS:
            self._counts[key] = 0
            self._record(*key, 1)
        else:
            other = (what, "other", "")
            self._counts[other] = self._counts.get(other, 0) + 1

    def _record(self, what: str, why: str, who: str, count: int) -> None:
        try:
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what=what,
                    subject=who,
                    details={"why": why, "count": count},
                )
            )
        except LedgerUnavailable:
            return  # counted by the ledger as dropped


__all__ = ["MAX_KINDS", "Noise"]
