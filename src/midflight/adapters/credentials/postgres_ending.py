"""The end of a leased PostgreSQL role: no login, no session, no transaction, no object, no role.

What a session leaves behind does not keep it alive: a transaction that was prepared outlives
session and role, with its locks, so it is rolled back; and a role may leave objects in every
database that it can connect to (a large object takes no privilege at all), so what it owns is
handed on in each of them.

An administrator without superuser has no rights of the roles that it makes, and needs them for
that. It takes them in the transaction that uses them and is rid of them when that ends (a prepared
one is rolled back outside of any), so that it is a member of what it lends for no longer.
Above: `postgres.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias

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
_PREPARED = """
SELECT gid, database FROM pg_catalog.pg_prepared_xacts WHERE owner = $1 ORDER BY prepared
"""
_ROLL_BACK = "SELECT pg_catalog.format('ROLLBACK PREPARED %L', $1::text)"
_PAUSE = "SELECT pg_catalog.pg_sleep(0.01)"
_DROP = "SELECT pg_catalog.format('DROP ROLE IF EXISTS %I', $1::text)"
_HEIRS = """
SELECT g.rolname FROM pg_catalog.pg_auth_members m
  JOIN pg_catalog.pg_roles g ON g.oid = m.roleid
  JOIN pg_catalog.pg_roles r ON r.oid = m.member
WHERE r.rolname = $1 ORDER BY g.rolname
"""
_ELSEWHERE = """
SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s
  JOIN pg_catalog.pg_database d ON d.oid = s.dbid
  JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid
WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND r.rolname = $1
  AND d.datname <> pg_catalog.current_database() ORDER BY d.datname
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
_BECOME = "SELECT pg_catalog.format('SET ROLE %I', $1::text)"


class Session(Protocol):
    """What is used of one of asyncpg's connections."""

    async def execute(self, query: str) -> str:
        """Run statements."""
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
        """All or nothing."""
        ...


Elsewhere: TypeAlias = Callable[[str], AbstractAsyncContextManager[Session]]
"""A session of the administrator in another database of the same server."""


async def run(session: Session, template: str, *values: object) -> None:
    """Have the server write a statement with these values quoted, and run it."""
    await session.execute(await session.fetchval(template, *values))


async def end_role(session: Session, name: str, *, elsewhere: Elsewhere) -> None:
    """End a role and everything that was opened with it. That it is gone already is success.

    Raises:
        Misconfigured: it owns something, and is a member of no role that could inherit it; or it
            left prepared transactions that the administrator may not roll back.
        asyncpg.PostgresError: the server refuses; it can log in no more all the same, if it got
            that far.
    """
    if not await session.fetchval(EXISTS, name):
        return
    # Committed before sessions are looked for, so that none begins behind that look.
    await run(session, _DISABLE, name)
    while await session.fetchval(_TERMINATE, name):
        await session.fetchval(_PAUSE)
    for row in await session.fetch(_PREPARED, name):
        async with elsewhere(row["database"]) as other:
            await _roll_back(other, row["gid"], of=name)
    try:
        await run(session, _DROP, name)
    except asyncpg.DependentObjectsStillExistError:
        heirs = [row["rolname"] for row in await session.fetch(_HEIRS, name)]
        await _hand_over(session, name, heirs, elsewhere=elsewhere)


async def _hand_over(
    session: Session, name: str, heirs: Sequence[str], *, elsewhere: Elsewhere
) -> None:
    """Drop a role that owns or was granted something, to the first role that may own it.

    Never to the administrator: a function of the lease's would run with its rights then.
    """
    for heir in heirs:
        try:
            for row in await session.fetch(_ELSEWHERE, name):
                async with elsewhere(row["datname"]) as other:
                    await _empty(other, name, heir)
            await _empty(session, name, heir, then=_DROP)
        except (asyncpg.InsufficientPrivilegeError, asyncpg.DependentObjectsStillExistError):
            # Without CREATE in a schema it may not own what is in it; and what others granted is
            # out of reach for an administrator.
            continue
        return
    raise Misconfigured(
        f"The role {name} can log in no more, and owns objects or has rights that Midflight's "
        "administrator cannot take from it.",
        hint="As a superuser, in each database: look at what it has; DROP OWNED BY it.",
    )


async def _empty(session: Session, name: str, heir: str, *, then: str = "") -> None:
    """Hand on what a role owns in this database, take what it was granted; all or nothing."""
    async with session.transaction():
        joined = [role for role in (heir, name) if await session.fetchval(_LACKS, role)]
        for role in joined:
            await run(session, _JOIN, role)
        await run(session, _REASSIGN, name, heir)
        await run(session, _UNGRANT, name)
        for role in joined:
            await run(session, _LEAVE, role)
        if then:
            await run(session, then, name)


async def _roll_back(session: Session, gid: str, *, of: str) -> None:
    try:
        await run(session, _ROLL_BACK, gid)
    except asyncpg.UndefinedObjectError:
        return  # somebody else was first
    except asyncpg.InsufficientPrivilegeError:
        await _roll_back_as(session, gid, of=of)


async def _roll_back_as(session: Session, gid: str, *, of: str) -> None:
    """As the role itself, which can do nothing else any more: no superuser is needed for that."""
    joins = await session.fetchval(_LACKS, of)
    try:
        if joins:
            await run(session, _JOIN, of)
        await run(session, _BECOME, of)
        try:
            # Not in a transaction: it would be one inside of another.
            await run(session, _ROLL_BACK, gid)
        except asyncpg.UndefinedObjectError:
            pass  # somebody else was first
        finally:
            await session.execute("RESET ROLE")
            if joins:
                await run(session, _LEAVE, of)
    except asyncpg.InsufficientPrivilegeError:
        raise Misconfigured(
            f"The role {of} can log in no more, and left a prepared transaction that holds its "
            "locks.",
            hint="As a superuser: SELECT gid FROM pg_prepared_xacts, then ROLLBACK PREPARED.",
        ) from None


__all__ = ["EXISTS", "Elsewhere", "Session", "end_role", "run"]
