"""Notices and break-glass in SQLite: a part of `sqlite.py`.

Values are one JSON text each; what is searched by has columns of its own.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import break_glass, notices
from midflight.domain.break_glass import BreakGlass
from midflight.domain.notice import Notice

_NOTICE = msgspec.json.Decoder(Notice)
_GLASS = msgspec.json.Decoder(BreakGlass)


class SqliteEscalation:
    """See the module, and `services/ports/escalation_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def add_notice(self, notice: Notice) -> bool:
        """Store a notice. False if there is one of its subject already, which stays."""
        statement = sqlite_insert(notices).values(
            id=notice.id, subject=notice.subject, **_row(notice)
        )
        statement = statement.on_conflict_do_nothing(index_elements=[notices.c.subject])
        return await self._writer.run(lambda c: c.execute(statement).rowcount) > 0

    async def change_notices(self, changed: Sequence[Notice]) -> bool:
        """Store all of these, or none: False if the version before any of them is not stored."""
        ids = [notice.id for notice in changed]
        versions = select(notices.c.id, notices.c.version).where(notices.c.id.in_(ids))

        def change(connection: Connection) -> bool:
            # Looked at first, in the transaction that writes: nothing has to be taken back.
            stored = {row.id: row.version for row in connection.execute(versions)}
            if any(stored.get(each.id) != each.version - 1 for each in changed):
                return False
            for notice in changed:
                statement = update(notices).where(notices.c.id == notice.id)
                connection.execute(statement.values(**_row(notice)))
            return True

        return await self._writer.run(change)

    async def get_notice(self, notice_id: str) -> Notice | None:
        """A notice by id."""
        statement = select(notices.c.body).where(notices.c.id == notice_id)
        found = await self._reader.run(lambda c: c.execute(statement).scalar_one_or_none())
        return None if found is None else _NOTICE.decode(found)

    async def notice_about(self, subject: str) -> Notice | None:
        """The notice about a subject."""
        statement = select(notices.c.body).where(notices.c.subject == subject)
        found = await self._reader.run(lambda c: c.execute(statement).scalar_one_or_none())
        return None if found is None else _NOTICE.decode(found)

    async def list_notices(self, *, ended: bool, limit: int = 10_000) -> Sequence[Notice]:
        """Those that are not resolved, oldest first; with `ended` all, newest first."""
        statement = select(notices.c.body).limit(max(0, limit))
        if ended:
            statement = statement.order_by(notices.c.seq.desc())
        else:
            statement = statement.where(notices.c.ended_at == 0).order_by(notices.c.seq)
        found = await self._reader.run(lambda c: c.execute(statement).scalars().all())
        return [_NOTICE.decode(body) for body in found]

    async def forget_notices(self, *, before: int) -> int:
        """Delete those that ended before; how many."""
        statement = delete(notices).where(notices.c.ended_at > 0, notices.c.ended_at < before)
        return await self._writer.run(lambda c: c.execute(statement).rowcount)

    async def put_break_glass(self, entry: BreakGlass) -> None:
        """Add an opening or replace the one of its id."""
        row = {"reviewed": entry.is_reviewed, "body": msgspec.json.encode(entry).decode()}

        def put(connection: Connection) -> None:
            known = update(break_glass).where(break_glass.c.id == entry.id).values(**row)
            if connection.execute(known).rowcount == 0:
                connection.execute(insert(break_glass).values(id=entry.id, **row))

        await self._writer.run(put)

    async def list_break_glass(self, *, settled: bool, limit: int = 1_000) -> Sequence[BreakGlass]:
        """Those that are not reviewed, newest first; with `settled` all."""
        statement = select(break_glass.c.body).order_by(break_glass.c.seq.desc())
        if not settled:
            statement = statement.where(break_glass.c.reviewed.is_(False))
        statement = statement.limit(max(0, limit))
        found = await self._reader.run(lambda c: c.execute(statement).scalars().all())
        return [_GLASS.decode(body) for body in found]


def _row(notice: Notice) -> dict[str, object]:
    return {
        "version": notice.version,
        "ended_at": notice.ended_at,
        "body": msgspec.json.encode(notice).decode(),
    }


__all__ = ["SqliteEscalation"]
