"""Entries, join tokens and launches in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Insert, Table, delete, insert, select
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import entries, join_tokens, launches
from midflight.domain.attestation import Entry, Selector
from midflight.domain.errors import Conflict
from midflight.domain.joining import JoinToken, Launch

_SELECTORS = msgspec.json.Decoder(list[tuple[str, str]])
_DOMAINS = msgspec.json.Decoder(tuple[str, ...])


class SqliteRegistration:
    """See the module, and `services/ports/registration_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_entry(self, entry: Entry) -> None:
        """Store an entry. `Conflict` if its id exists."""
        pairs = [(selector.type, selector.value) for selector in sorted(entry.selectors)]
        row = msgspec.structs.asdict(entry) | {
            "selectors": msgspec.json.encode(pairs).decode(),
            "federates_with": msgspec.json.encode(entry.federates_with).decode(),
        }
        await self._add_row(insert(entries).values(row), f"Entry {entry.id} exists.")

    async def delete_entry(self, entry_id: str) -> bool:
        """Forget an entry. False if there was none of that id."""
        statement = delete(entries).where(entries.c.id == entry_id)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def list_entries(self) -> Sequence[Entry]:
        """All entries, by id."""
        return [_entry(row) for row in await self._rows_of(entries, "id")]

    async def put_join_token(self, token: JoinToken) -> None:
        """Store a join token. `Conflict` if its digest exists."""
        row = msgspec.structs.asdict(token)
        await self._add_row(insert(join_tokens).values(row), "This join token exists.")

    async def take_join_token(self, digest: str, *, now: int) -> JoinToken | None:
        """Remove the join token of this digest and return it: at most one caller gets it."""
        statement = (
            delete(join_tokens).where(join_tokens.c.digest == digest).returning(*join_tokens.c)
        )
        row = await self._writer.run(
            lambda connection: connection.execute(statement).mappings().first()
        )
        found = None if row is None else JoinToken(**row)
        return None if found is None or found.expires_at <= now else found

    async def list_join_tokens(self) -> Sequence[JoinToken]:
        """All join tokens that were not used, by id."""
        return [JoinToken(**row) for row in await self._rows_of(join_tokens, "id")]

    async def delete_join_token(self, token_id: str) -> bool:
        """Forget a join token. False if there was none of that id."""
        statement = delete(join_tokens).where(join_tokens.c.id == token_id)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def put_launch(self, launch: Launch) -> None:
        """Note who was launched for a run. `Conflict` if the run has a launch."""
        exists = f"Run {launch.run} has a process already."
        await self._add_row(insert(launches).values(msgspec.structs.asdict(launch)), exists)

    async def delete_launch(self, run: str) -> bool:
        """Forget the launch of a run. False if there was none."""
        statement = delete(launches).where(launches.c.run == run)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def list_launches(self) -> Sequence[Launch]:
        """All launches, by run."""
        return [Launch(**row) for row in await self._rows_of(launches, "run")]

    async def _add_row(self, statement: Insert, exists: str) -> None:
        def add(connection: Connection) -> None:
            try:
                connection.execute(statement)
            except IntegrityError:
                raise Conflict(exists) from None

        await self._writer.run(add)

    async def _rows_of(self, table: Table, key: str) -> Sequence[Mapping[str, Any]]:
        statement = select(table).order_by(table.c[key])
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [dict(row) for row in found]


def _entry(row: Mapping[str, Any]) -> Entry:
    pairs = _SELECTORS.decode(row["selectors"])
    fields: dict[str, Any] = dict(row)
    fields["selectors"] = frozenset(Selector(type=kind, value=value) for kind, value in pairs)
    fields["federates_with"] = _DOMAINS.decode(row["federates_with"])
    return Entry(**fields)


__all__ = ["SqliteRegistration"]
