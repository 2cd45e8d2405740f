"""What is kept of notices and of break-glass, so that a process that dies goes on where it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.break_glass import BreakGlass
from midflight.domain.notice import Notice


class EscalationStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def add_notice(self, notice: Notice) -> bool:
        """Store a notice. False if there is one of its subject already, which stays."""
        ...

    async def change_notices(self, changed: Sequence[Notice]) -> bool:
        """Store all of these, or none: False if the version before any of them is not stored."""
        ...

    async def get_notice(self, notice_id: str) -> Notice | None:
        """A notice by id."""
        ...

    async def notice_about(self, subject: str) -> Notice | None:
        """The notice about a subject."""
        ...

    async def list_notices(self, *, ended: bool, limit: int = 10_000) -> Sequence[Notice]:
        """Those that are not resolved, oldest first; with `ended` all, newest first."""
        ...

    async def forget_notices(self, *, before: int) -> int:
        """Delete those that ended before; how many."""
        ...

    async def put_break_glass(self, entry: BreakGlass) -> None:
        """Add an opening or replace the one of its id."""
        ...

    async def list_break_glass(self, *, settled: bool, limit: int = 1_000) -> Sequence[BreakGlass]:
        """Those that are not reviewed, newest first; with `settled` all."""
        ...


__all__ = ["EscalationStore"]
