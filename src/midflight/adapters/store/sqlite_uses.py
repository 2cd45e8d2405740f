"""What counts once, in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.sqlite import insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import used_once

PRUNE_EVERY = 512
"""Uses between two looks for expired entries."""

# Built once: building a statement costs more than running it.
_USE = insert(used_once).values(
    purpose=bindparam("purpose"), key=bindparam("key"), until=bindparam("until")
)
_USE_ONCE = _USE.on_conflict_do_update(
    index_elements=[used_once.c.purpose, used_once.c.key],
    set_={"until": _USE.excluded.until},
    where=used_once.c.until < bindparam("now"),
).returning(used_once.c.until)
_PRUNE = delete(used_once).where(used_once.c.until < bindparam("now"))
_USED = select(used_once.c.until).where(
    used_once.c.purpose == bindparam("purpose"),
    used_once.c.key == bindparam("key"),
    used_once.c.until >= bindparam("now"),
)


class SqliteUses:
    """See the module, and `services/ports/use_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane
    _uses: int = 0

    async def use_once(self, purpose: str, key: str, *, until: int, now: int) -> bool:
        """Note that `key` was used; False if it already was, or if `until` has passed."""
        if until < now:
            return False
        self._uses += 1
        prune = self._uses % PRUNE_EVERY == 0
        used = {"purpose": purpose, "key": key, "until": until, "now": now}

        def use(connection: Connection) -> bool:
            if prune:
                connection.execute(_PRUNE, {"now": now})
            return connection.execute(_USE_ONCE, used).first() is not None

        return await self._writer.run(use)

    async def was_used(self, purpose: str, key: str, *, now: int) -> bool:
        """Whether `use_once` would say that `key` was used; nothing is noted."""
        asked = {"purpose": purpose, "key": key, "now": now}
        return await self._reader.run(
            lambda connection: connection.execute(_USED, asked).first() is not None
        )


__all__ = ["PRUNE_EVERY", "SqliteUses"]
