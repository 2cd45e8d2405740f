"""Responses in SQLite: a part of `sqlite.py`.

An entry is one text: it is read as a whole, and only its end is looked at by the database.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import responses
from midflight.domain.response import Response

_DECODER = msgspec.json.Decoder(Response)


class SqliteResponses:
    """See the module, and `services/ports/response_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def append_response(self, response: Response) -> None:
        """Keep an entry. One of an id that is there already stays as it is."""
        row = {
            "id": response.id,
            "until": response.until,
            "body": msgspec.json.encode(response).decode(),
        }
        statement = insert(responses).values(row).on_conflict_do_nothing(index_elements=["id"])
        await self._writer.run(lambda connection: connection.execute(statement))

    async def list_responses(self) -> Sequence[Response]:
        """All entries, in the order they were appended."""
        statement = select(responses.c.body).order_by(responses.c.seq)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).scalars().all()
        )
        return [_DECODER.decode(body) for body in found]

    async def forget_responses(self, *, ended_before: float) -> int:
        """Forget those that ended before a Unix second; how many. The ledger has them."""
        statement = delete(responses).where(responses.c.until < ended_before)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)


__all__ = ["SqliteResponses"]
