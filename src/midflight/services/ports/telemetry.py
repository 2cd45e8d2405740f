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


class Spans(Protocol):
    """Traces: told of every action, makes a span of those that are worth one."""

    def action(
        self,
        *,
        kind: str,
        upstream: str,
        name: str,
        state: str,
        ended_at: float,
        seconds: float,
        code: str = "",
        challenged: bool = False,
        record: str = "",
        run: str = "",
        workload: str = "",
        method: str = "",
        traceparent: str = "",
    ) -> None:
        """One action ended at `ended_at` (Unix seconds) after `seconds`."""
        ...


__all__ = ["Spans", "Telemetry"]
