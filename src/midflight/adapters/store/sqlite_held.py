"""Handles of waiting agents in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.rows import Row, read_value
from midflight.adapters.store.schema import held as table
from midflight.domain.errors import Conflict
from midflight.domain.held import Held, HeldState

_FIELDS = Held.__struct_fields__


class SqliteHeld:
    """See the module, and `services/ports/held_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_held(self, held: Held, *, max_of_run: int, max_of_workload: int) -> None:
        """Store an entry; its run's oldest, then its workload's, makes room."""
        row = _row(held)

        def add(connection: Connection) -> None:
            for column, owner, most in (
                (table.c.run, held.run, max_of_run),
                (table.c.workload, held.workload, max_of_workload),
            ):
                kept = select(table.c.seq).where(column == owner).order_by(table.c.seq.desc())
                beyond = connection.execute(kept.offset(most - 1).limit(1)).scalar()
                if beyond is not None:
                    older = delete(table).where(column == owner, table.c.seq <= beyond)
                    connection.execute(older)
            try:
                connection.execute(insert(table).values(row))
            except IntegrityError:
                raise Conflict("That handle exists.") from None

        await self._writer.run(add)

    async def get_held(self, key: str) -> Held | None:
        """An entry by key."""
        statement = select(table).where(table.c.key == key)
        row = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().first()
        )
        return None if row is None else _read(row)

    async def take_held(self, key: str) -> Held | None:
        """Remove an entry and return it."""
        statement = delete(table).where(table.c.key == key).returning(*table.c)
        row = await self._writer.run(
            lambda connection: connection.execute(statement).mappings().first()
        )
        return None if row is None else _read(row)

    async def change_held(self, held: Held, *, was: HeldState) -> bool:
        """Replace an entry that is in state `was`."""
        statement = (
            update(table)
            .where(table.c.key == held.key, table.c.state == was.value)
            .values(_row(held))
        )
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def prune_held(self, *, now: int) -> int:
        """Remove what has expired."""
        statement = delete(table).where(table.c.expires_at <= now)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)


def _row(held: Held) -> dict[str, Any]:
    return msgspec.structs.asdict(held) | {"form": held.form.value, "state": held.state.value}


def _read(row: Row) -> Held:
    return read_value({name: row[name] for name in _FIELDS}, Held)


__all__ = ["SqliteHeld"]
