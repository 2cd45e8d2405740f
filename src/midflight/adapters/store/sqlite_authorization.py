"""Clients and grants in SQLite: a part of `sqlite.py`.

Values that nothing is searched by are kept as one JSON text; what decides has columns of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Table, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import (
    oauth_clients,
    oauth_codes,
    oauth_grants,
    oauth_refreshes,
    oauth_tokens,
)
from midflight.domain.authorization import Client, Code, Grant, Refresh
from midflight.domain.errors import Conflict
from midflight.domain.value import Value

T = TypeVar("T", bound=Value)


class SqliteAuthorization:
    """See the module, and `services/ports/authorization_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_client(self, client: Client) -> None:
        """Register or replace a client by id."""
        body = _encoded(client)
        statement = sqlite_insert(oauth_clients).values(id=client.id, body=body)
        statement = statement.on_conflict_do_update(
            index_elements=[oauth_clients.c.id], set_={"body": body}
        )
        await self._writer.run(lambda connection: _ignore(connection.execute(statement)))

    async def get_client(self, client_id: str) -> Client | None:
        """A client by id."""
        statement = select(oauth_clients.c.body).where(oauth_clients.c.id == client_id)
        found = await self._reader.run(lambda connection: connection.execute(statement).scalar())
        return None if found is None else _decoded(found, Client)

    async def list_clients(self) -> Sequence[Client]:
        """All clients, by id."""
        statement = select(oauth_clients.c.body).order_by(oauth_clients.c.id)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).scalars().all()
        )
        return [_decoded(body, Client) for body in found]

    async def delete_client(self, client_id: str) -> bool:
        """Forget a client. False if there was none."""
        statement = delete(oauth_clients).where(oauth_clients.c.id == client_id)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def put_code(self, code: Code) -> None:
        """Keep a fresh code. `Conflict` if its digest exists."""
        await self._add(
            oauth_codes,
            digest=code.digest,
            body=_encoded(code),
            used=False,
            expires_at=code.expires_at,
        )

    async def take_code(self, digest: str) -> tuple[Code, bool] | None:
        """The code and whether this is its first use; None if there is none of that digest."""
        return await self._take(oauth_codes, digest, Code)

    async def put_grant(self, grant: Grant) -> None:
        """Keep a grant. `Conflict` if its id exists."""
        await self._add(
            oauth_grants,
            id=grant.id,
            body=_encoded(grant),
            ended=False,
            expires_at=grant.expires_at,
        )

    async def get_grant(self, grant_id: str) -> Grant | None:
        """A grant that has not ended."""
        statement = select(oauth_grants.c.body).where(
            oauth_grants.c.id == grant_id, oauth_grants.c.ended.is_(False)
        )
        # By the writer: what ended a moment ago must be seen as ended.
        found = await self._writer.run(lambda connection: connection.execute(statement).scalar())
        return None if found is None else _decoded(found, Grant)

    async def end_grant(self, grant_id: str) -> bool:
        """End a grant for good. False if there is none or it has ended."""
        statement = (
            update(oauth_grants)
            .where(oauth_grants.c.id == grant_id, oauth_grants.c.ended.is_(False))
            .values(ended=True)
        )
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount) > 0

    async def put_refresh(self, refresh: Refresh) -> None:
        """Keep a fresh refresh token. `Conflict` if its digest exists."""
        await self._add(
            oauth_refreshes,
            digest=refresh.digest,
            body=_encoded(refresh),
            used=False,
            expires_at=refresh.expires_at,
        )

    async def get_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether it is unused, which it stays; None if there is none."""
        statement = select(oauth_refreshes.c.body, oauth_refreshes.c.used).where(
            oauth_refreshes.c.digest == digest
        )
        # By the writer: what was used a moment ago must be seen as used.
        found = await self._writer.run(lambda connection: connection.execute(statement).first())
        return None if found is None else (_decoded(found.body, Refresh), not found.used)

    async def take_refresh(self, digest: str) -> tuple[Refresh, bool] | None:
        """The refresh token and whether this is its first use; None if there is none."""
        return await self._take(oauth_refreshes, digest, Refresh)

    async def note_token(self, grant_id: str, token: str, *, expires_at: int) -> None:
        """Remember that an access token (its `jti`) came of a grant."""
        await self._add(oauth_tokens, token=token, grant_id=grant_id, expires_at=expires_at)

    async def tokens_of(self, grant_id: str) -> Sequence[str]:
        """The `jti` of every access token that came of a grant and is remembered."""
        statement = (
            select(oauth_tokens.c.token)
            .where(oauth_tokens.c.grant_id == grant_id)
            .order_by(oauth_tokens.c.token)
        )
        return await self._writer.run(
            lambda connection: list(connection.execute(statement).scalars())
        )

    async def prune_authorizations(self, *, before: int) -> int:
        """Forget codes, grants, refresh tokens and tokens that ended before (Unix s); how many."""
        statements = [
            delete(table).where(table.c.expires_at < before)
            for table in (oauth_codes, oauth_grants, oauth_refreshes, oauth_tokens)
        ]
        return await self._writer.run(
            lambda connection: sum(connection.execute(each).rowcount for each in statements)
        )

    # Inside

    async def _add(self, table: Table, **row: Any) -> None:
        statement = insert(table).values(row)

        def add(connection: Connection) -> None:
            try:
                connection.execute(statement)
            except IntegrityError:
                raise Conflict(f"There is one like it in {table.name}.") from None

        await self._writer.run(add)

    async def _take(self, table: Table, digest: str, kind: type[T]) -> tuple[T, bool] | None:
        mark = update(table).where(table.c.digest == digest, table.c.used.is_(False))
        read = select(table.c.body).where(table.c.digest == digest)

        def take(connection: Connection) -> tuple[str | None, bool]:
            first = connection.execute(mark.values(used=True)).rowcount > 0
            return connection.execute(read).scalar(), first

        body, first = await self._writer.run(take)
        return None if body is None else (_decoded(body, kind), first)


def _encoded(value: Value) -> str:
    return msgspec.json.encode(value).decode()


def _decoded(text: str, kind: type[T]) -> T:
    return msgspec.json.decode(text, type=kind)


def _ignore(_: object) -> None:
    return


__all__ = ["SqliteAuthorization"]
