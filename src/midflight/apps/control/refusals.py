"""Refused callers of the control API: counted each, recorded once a minute each.

A process that knocks in a loop must show in the ledger and must not fill it.
"""

from __future__ import annotations

from midflight.domain.errors import LedgerUnavailable, MidflightError
from midflight.domain.records import Observed
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

QUIET_S = 60.0
_REMEMBERED = 1_024


class Refusals:
    """Remembers who was refused when, so that it can be brief."""

    def __init__(self, *, recorder: Recorder, telemetry: Telemetry, clock: Clock) -> None:
        self._recorder = recorder
        self._telemetry = telemetry
        self._clock = clock
        self._last: dict[tuple[str, str], float] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    def note(self, subject: str, error: MidflightError) -> None:
        """`subject` (an address, `uid:1000`) was refused. Never raises, never waits."""
        self._telemetry.count("refused_operators")
        key = (subject, error.code)
        now = self._clock.monotonic()
        if now - self._last.get(key, -QUIET_S) < QUIET_S:
            self._unsaid[key] = self._unsaid.get(key, 0) + 1
            return
        if len(self._last) >= _REMEMBERED:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._unsaid.pop(oldest, None)
        self._last.pop(key, None)
        self._last[key] = now
        try:
            self._recorder.append(
                Observed(
                    at=self._clock.now(),
                    what="operator.refused",
                    subject=subject,
                    details={
                        "code": error.code,
                        "why": error.message,
                        "unsaid_before": self._unsaid.pop(key, 0),
                    },
                )
            )
        except LedgerUnavailable:
            # The refusal stands whether or not it can be written down.
            self._telemetry.count("refusals_unrecorded")


__all__ = ["QUIET_S", "Refusals"]
