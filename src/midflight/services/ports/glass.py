"""What approvals ask of break-glass, on the path of an action."""

from __future__ import annotations

from typing import Protocol


class Glass(Protocol):
    """Waits for nothing and raises nothing."""

    def lets_pass(self, workload: str) -> str:
        """Id of the opening by which challenges of this workload pass now, or an empty text."""
        ...

    def used(self, workload: str) -> None:
        """An action passed by it."""
        ...


__all__ = ["Glass"]
