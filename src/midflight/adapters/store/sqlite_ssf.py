"""Shared signals in SQLite: a part of `sqlite.py`.

What waits in a stream is in one table for all, numbered as it came; numbers are never used twice,
so that "up to this one" keeps its meaning when events are gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema_ssf import ssf_events, ssf_sets, ssf_streams
from midflight.domain.shared_stream import Incoming, Outgoing, Queued, Stream

_STREAM = msgspec.json.Decoder(Stream)
_CLAIMS = msgspec.json.Decoder(dict[str, Any])
_AT_ONCE = 500
"""Ids in one statement: databases bound the number of parameters."""


class SqliteSharedSignals:
    """See the module, and `services/ports/ssf_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_ssf_stream(self, stream: Stream) -> None:
        """Store or replace a stream by id; `dropped` is left as it is."""
        body = msgspec.json.encode(msgspec.structs.replace(stream, dropped=0)).decode()
        row = sqlite_insert(ssf_streams).values(
            id=stream.id, client=stream.client, created_at=stream.created_at, body=body, dropped=0
        )
        statement = row.on_conflict_do_update(
            index_elements=[ssf_streams.c.id], set_={"body": row.excluded.body}
        )
        await self._writer.run(lambda connection: connection.execute(statement))

    async def get_ssf_stream(self, stream_id: str) -> Stream | None:
        """A stream by id."""
        statement = select(ssf_streams).where(ssf_streams.c.id == stream_id)
        row = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().first()
        )
        return None if row is None else _stream(row)

    async def list_ssf_streams(self, *, client: str | None = None) -> Sequence[Stream]:
        """All streams, or those of a client, oldest first."""
        statement = select(ssf_streams).order_by(ssf_streams.c.created_at, ssf_streams.c.id)
        if client is not None:
            statement = statement.where(ssf_streams.c.client == client)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [_stream(row) for row in found]

    async def delete_ssf_stream(self, stream_id: str) -> bool:
        """Forget a stream and what waits in it. False if there was none."""

        def forget(connection: Connection) -> bool:
            connection.execute(delete(ssf_events).where(ssf_events.c.stream == stream_id))
            gone = connection.execute(delete(ssf_streams).where(ssf_streams.c.id == stream_id))
            return gone.rowcount > 0

        return await self._writer.run(forget)

    async def queue_ssf_events(
        self, events: Sequence[Outgoing], *, bound: int
    ) -> Sequence[Outgoing]:
        """Queue all in one transaction, and return those for which there was no room."""

        def queue(connection: Connection) -> Sequence[Outgoing]:
            return [event for event in events if not _has_room(connection, event, bound)]

        return await self._writer.run(queue)

    async def queued_ssf_events(
        self, stream_id: str, *, limit: int, through: int | None = None
    ) -> Sequence[Queued]:
        """What waits in a stream, in order, at most `limit`, with numbers up to `through`."""
        statement = (
            select(ssf_events)
            .where(ssf_events.c.stream == stream_id)
            .order_by(ssf_events.c.number)
            .limit(limit)
        )
        if through is not None:
            statement = statement.where(ssf_events.c.number <= through)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [
            Queued(
                number=row["number"],
                event=Outgoing(
                    stream=row["stream"],
                    jti=row["jti"],
                    kind=row["kind"],
                    claims=_CLAIMS.decode(row["claims"]),
                    at=row["at"],
                ),
            )
            for row in found
        ]

    async def count_ssf_events(self, stream_id: str) -> int:
        """How many wait in a stream."""
        return await self._reader.run(lambda connection: _count(connection, stream_id))

    async def unqueue_ssf_events(self, stream_id: str, jtis: Collection[str]) -> int:
        """Forget events that were delivered; how many there were."""
        gone = sorted(jtis)

        def forget(connection: Connection) -> int:
            return sum(
                connection.execute(
                    delete(ssf_events).where(
                        ssf_events.c.stream == stream_id,
                        ssf_events.c.jti.in_(gone[at : at + _AT_ONCE]),
                    )
                ).rowcount
                for at in range(0, len(gone), _AT_ONCE)
            )

        return await self._writer.run(forget)

    async def clear_ssf_events(self, stream_id: str) -> int:
        """Forget everything that waits in a stream; how many that were."""
        statement = delete(ssf_events).where(ssf_events.c.stream == stream_id)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def reset_ssf_dropped(self, stream_id: str) -> int:
        """Set a stream's `dropped` to 0, and return what it was."""
        where = ssf_streams.c.id == stream_id

        def reset(connection: Connection) -> int:
            found = connection.execute(select(ssf_streams.c.dropped).where(where)).scalar()
            connection.execute(update(ssf_streams).where(where).values(dropped=0))
            return found or 0

        return await self._writer.run(reset)

    async def take_ssf_set(self, incoming: Incoming) -> Incoming | None:
        """Note a SET: None if it is new, else what is stored under its receiver and `jti`."""
        add = insert(ssf_sets).values(msgspec.structs.asdict(incoming))
        look = select(ssf_sets).where(
            ssf_sets.c.receiver == incoming.receiver, ssf_sets.c.jti == incoming.jti
        )

        def take(connection: Connection) -> Incoming | None:
            known = connection.execute(look).mappings().first()
            if known is not None:
                return Incoming(**known)
            connection.execute(add)
            return None

        return await self._writer.run(take)

    async def finish_ssf_set(self, receiver: str, jti: str, outcome: str) -> None:
        """Note what was done about a SET. Its text is forgotten."""
        statement = (
            update(ssf_sets)
            .where(ssf_sets.c.receiver == receiver, ssf_sets.c.jti == jti)
            .values(outcome=outcome, text="")
        )
        await self._writer.run(lambda connection: connection.execute(statement))

    async def unfinished_ssf_sets(self) -> Sequence[Incoming]:
        """SETs that were taken and not acted on, oldest first."""
        statement = (
            select(ssf_sets)
            .where(ssf_sets.c.outcome == "")
            .order_by(ssf_sets.c.at, ssf_sets.c.receiver, ssf_sets.c.jti)
        )
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [Incoming(**row) for row in found]

    async def last_ssf_sets(self, receiver: str, *, limit: int) -> Sequence[Incoming]:
        """The SETs of a receiver that were taken last, newest first."""
        statement = (
            select(ssf_sets)
            .where(ssf_sets.c.receiver == receiver)
            .order_by(ssf_sets.c.at.desc(), ssf_sets.c.jti)
            .limit(limit)
        )
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [Incoming(**row) for row in found]

    async def prune_ssf_sets(self, receiver: str, *, before: int) -> int:
        """Forget finished SETs that were taken before; how many that were."""
        statement = delete(ssf_sets).where(
            ssf_sets.c.receiver == receiver, ssf_sets.c.outcome != "", ssf_sets.c.at < before
        )
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)


def _stream(row: Any) -> Stream:
    return msgspec.structs.replace(_STREAM.decode(row["body"]), dropped=row["dropped"])


def _count(connection: Connection, stream_id: str) -> int:
    statement = select(func.count()).where(ssf_events.c.stream == stream_id)
    return connection.execute(statement).scalar_one()


def _has_room(connection: Connection, event: Outgoing, bound: int) -> bool:
    """Queue one event; False if the stream is full, which is then counted."""
    known = select(ssf_streams.c.id).where(ssf_streams.c.id == event.stream)
    there = select(ssf_events.c.number).where(
        ssf_events.c.stream == event.stream, ssf_events.c.jti == event.jti
    )
    if connection.execute(known).first() is None or connection.execute(there).first() is not None:
        return True
    if _count(connection, event.stream) >= bound:
        connection.execute(
            update(ssf_streams)
            .where(ssf_streams.c.id == event.stream)
            .values(dropped=ssf_streams.c.dropped + 1)
        )
        return False
    connection.execute(
        insert(ssf_events).values(
            stream=event.stream,
            jti=event.jti,
            kind=event.kind,
            claims=msgspec.json.encode(event.claims).decode(),
            at=event.at,
        )
    )
    return True


__all__ = ["SqliteSharedSignals"]
