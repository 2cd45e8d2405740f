"""Canaries in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import canaries
from midflight.domain.canary import Canary, CanaryShape
from midflight.domain.errors import Conflict

_WINDOWS = msgspec.json.Decoder(tuple[tuple[int, str], ...])


class SqliteCanaries:
    """See the module, and `services/ports/canary_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_canary(self, canary: Canary) -> None:
        """Store a canary. `Conflict` if its name exists."""
        row = msgspec.structs.asdict(canary) | {
            "shape": canary.shape.value,
            "windows": msgspec.json.encode(canary.windows).decode(),
        }
        statement = insert(canaries).values(row)

        def add(connection: Connection) -> None:
            try:
                connection.execute(statement)
            except IntegrityError:
                raise Conflict(f"Canary {canary.name} exists.") from None

        await self._writer.run(add)

    async def delete_canary(self, name: str) -> bool:
        """Forget a canary. False if there was none of that name."""
        statement = delete(canaries).where(canaries.c.name == name)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def list_canaries(self) -> Sequence[Canary]:
        """All canaries, by name."""
        statement = select(canaries).order_by(canaries.c.name)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [
            Canary(
                name=row["name"],
                shape=CanaryShape(row["shape"]),
                upstream=row["upstream"],
                windows=_WINDOWS.decode(row["windows"]),
                by=row["by"],
                at=row["at"],
            )
            for row in found
        ]


__all__ = ["SqliteCanaries"]
