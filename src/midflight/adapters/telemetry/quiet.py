"""Telemetry that stays in memory: for tests, and for embedding without metrics."""

from __future__ import annotations

from collections import Counter

from midflight.domain.value import Value


class Told(Value):
    """One action as it was told."""

    kind: str
    upstream: str
    state: str
    code: str
    seconds: float


class QuietTelemetry:
    """Implements `services/ports/telemetry.py`; keeps everything it is told, so for short lives."""

    def __init__(self) -> None:
        self.actions: list[Told] = []
        self.decisions: list[float] = []
        self.gauges: dict[str, float] = {}
        self.counts: Counter[str] = Counter()

    def action(self, *, kind: str, upstream: str, state: str, code: str, seconds: float) -> None:
        """One action ended."""
        told = Told(kind=kind, upstream=upstream, state=state, code=code, seconds=seconds)
        self.actions.append(told)

    def decided(self, *, seconds: float) -> None:
        """One decision was made."""
        self.decisions.append(seconds)

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge."""
        self.gauges[name] = value

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter."""
        self.counts[name] += amount


__all__ = ["QuietTelemetry", "Told"]
