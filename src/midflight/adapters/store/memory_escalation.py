"""Notices and break-glass in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.break_glass import BreakGlass
from midflight.domain.notice import Notice


class MemoryEscalation(MemoryPart):
    """See the module, and `services/ports/escalation_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._notices: dict[str, Notice] = {}
        self._about: dict[str, str] = {}
        self._glass: dict[str, BreakGlass] = {}

    async def add_notice(self, notice: Notice) -> bool:
        """Store a notice. False if there is one of its subject already, which stays."""
        self._check_open()
        if notice.subject in self._about:
            return False
        self._about[notice.subject] = notice.id
        self._notices[notice.id] = notice
        return True

    async def change_notices(self, changed: Sequence[Notice]) -> bool:
        """Store all of these, or none: False if the version before any of them is not stored."""
        self._check_open()
        for notice in changed:
            known = self._notices.get(notice.id)
            if known is None or known.version != notice.version - 1:
                return False
        self._notices.update((notice.id, notice) for notice in changed)
        return True

    async def get_notice(self, notice_id: str) -> Notice | None:
        """A notice by id."""
        self._check_open()
        return self._notices.get(notice_id)

    async def notice_about(self, subject: str) -> Notice | None:
        """The notice about a subject."""
        self._check_open()
        return self._notices.get(self._about.get(subject, ""))

    async def list_notices(self, *, ended: bool, limit: int = 10_000) -> Sequence[Notice]:
        """Those that are not resolved, oldest first; with `ended` all, newest first."""
        self._check_open()
        if ended:
            return list(reversed(self._notices.values()))[:limit]
        return [notice for notice in self._notices.values() if not notice.ended_at][:limit]

    async def forget_notices(self, *, before: int) -> int:
        """Delete those that ended before; how many."""
        self._check_open()
        gone = [n for n in self._notices.values() if 0 < n.ended_at < before]
        for notice in gone:
            del self._notices[notice.id], self._about[notice.subject]
        return len(gone)

    async def put_break_glass(self, entry: BreakGlass) -> None:
        """Add an opening or replace the one of its id."""
        self._check_open()
        self._glass[entry.id] = entry

    async def list_break_glass(self, *, settled: bool, limit: int = 1_000) -> Sequence[BreakGlass]:
        """Those that are not reviewed, newest first; with `settled` all."""
        self._check_open()
        found = [each for each in self._glass.values() if settled or not each.is_reviewed]
        return list(reversed(found))[:limit]


__all__ = ["MemoryEscalation"]
