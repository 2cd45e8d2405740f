"""Counters on the hot path; spans only for what is slow, refused or challenged."""

from __future__ import annotations

from typing import Protocol


class Telemetry(Protocol):
    """Cheap enough to call for every action: a few microseconds, no I/O."""

    def action(self, *, kind: str, upstream: str, state: str, code: str, seconds: float) -> None:
        """One action ended. `code` is empty unless it was refused."""
        ...

    def decided(self, *, seconds: float) -> None:
        """One decision was made."""
        ...

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge (`flights`, `runs`, `ledger_backlog` …)."""
        ...

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter (`refused_callers`, `malformed`, `revocations` …)."""
        ...


__all__ = ["Telemetry"]
