"""The end of a PostgreSQL role that was lent: no login, no session, no object, no role.

An administrator without superuser has no rights of the roles that it makes, and needs them to hand
over what they own. It takes them inside the transaction that drops the role and is rid of them when
that ends, so that nobody ever sees it as their member. Above: `postgres.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import asyncpg

from midflight.domain.errors import Misconfigured

EXISTS = "SELECT true FROM pg_catalog.pg_roles WHERE rolname = $1"
_DISABLE = """
SELECT pg_catalog.format(
  'ALTER ROLE %I NOLOGIN PASSWORD NULL VALID UNTIL ''-infinity''', $1::text)
"""
_TERMINATE = """
SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid))
FROM pg_catalog.pg_stat_activity WHERE usename = $1
"""
_PAUSE = "SELECT pg_catalog.pg_sleep(0.01)"
_DROP = "SELECT pg_catalog.format('DROP ROLE IF EXISTS %I', $1::text)"
_HEIRS = """
SELECT g.rolname FROM pg_catalog.pg_auth_members m
  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
  JOIN pg_catalog.pg_roles r ON r.oid = m.member
WHERE r.rolname = $1 ORDER BY g.rolname
"""
# In this order and in one transaction: once everything it owned has another owner, DROP OWNED
# takes away what was granted to it and no object.
_REASSIGN = "SELECT pg_catalog.format('REASSIGN OWNED BY %I TO %I', $1::text, $2::text)"
_UNGRANT = "SELECT pg_catalog.format('DROP OWNED BY %I', $1::text)"
# Before 16 a second grant is the first one, and revoking it would take that away: so only what is
# not there is granted. Since 16 whoever makes a role has the admin option, and not its rights.
_LACKS = "SELECT NOT pg_catalog.pg_has_role(current_user, $1::text, 'USAGE')"
_JOIN = """
SELECT pg_catalog.format('GRANT %I TO CURRENT_USER', $1::text) ||
  CASE WHEN pg_catalog.current_setting('server_version_num')::int >= 160000
    THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END
"""
_LEAVE = "SELECT pg_catalog.format('REVOKE %I FROM CURRENT_USER', $1::text)"


class Session(Protocol):
    """What is used of one of asyncpg's connections."""

    async def execute(self, query: str) -> str:
        """Run a statement."""
        ...

    async def fetch(self, query: str, *args: object) -> Sequence[Mapping[str, Any]]:
        """All rows."""
        ...

    async def fetchrow(self, query: str, *args: object) -> Mapping[str, Any] | None:
        """The first row."""
        ...

    async def fetchval(self, query: str, *args: object) -> Any:
        """The first value of the first row."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[object]:
        """A transaction; inside another one a savepoint."""
        ...


async def run(session: Session, template: str, *values: object) -> None:
    """Have the server write a statement with these values quoted, and run it."""
    await session.execute(await session.fetchval(template, *values))


async def remove(session: Session, name: str) -> None:
    """End a role, if it is there.

    Raises:
        Misconfigured: it can log in no more, and what it has cannot be taken from it.
        asyncpg.PostgresError: the server refuses something.
    """
    if not await session.fetchval(EXISTS, name):
        return
    # Committed before sessions are looked for, so that none begins behind that look.
    await run(session, _DISABLE, name)
    while await session.fetchval(_TERMINATE, name):
        await session.fetchval(_PAUSE)
    try:
        await run(session, _DROP, name)
    except asyncpg.DependentObjectsStillExistError:
        await _hand_over(
            session, name, [row["rolname"] for row in await session.fetch(_HEIRS, name)]
        )


async def _hand_over(session: Session, name: str, heirs: Sequence[str]) -> None:
    """Drop a role that owns or was granted something, to the first role that may own it.

    Never to the administrator: a function of the lease's would run with its rights then.
    """
    for heir in heirs:
        try:
            async with session.transaction():
                await _drop_for(session, name, heir)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.DependentObjectsStillExistError):
            # Without CREATE in a schema it may not own what is in it; and what others granted, or
            # what is in another database, is out of reach for an administrator.
            continue
        return
    raise Misconfigured(
        f"The role {name} can log in no more, and owns objects or has rights that Midflight's "
        "administrator cannot take from it.",
        hint="As a superuser, in each database: look at what it has; DROP OWNED BY it.",
    )


async def _drop_for(session: Session, name: str, heir: str) -> None:
    joined = [role for role in (name, heir) if await session.fetchval(_LACKS, role)]
    for role in joined:
        await run(session, _JOIN, role)
    await run(session, _REASSIGN, name, heir)
    await run(session, _UNGRANT, name)
    await run(session, _DROP, name)
    if heir in joined:
        await run(session, _LEAVE, heir)


__all__ = ["EXISTS", "Session", "remove", "run"]
