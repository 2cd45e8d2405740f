"""Time and chance, as a port, so that tests own both."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations, and fresh identifiers."""

    def now(self) -> float:
        """Unix seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back."""
        ...

    def token(self, nbytes: int = 16) -> str:
        """Fresh unguessable text: lower-case base32 of `nbytes` random bytes, no padding."""
        ...


__all__ = ["Clock"]
