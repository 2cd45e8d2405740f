"""PostgreSQL roles: one for each lease, with a password that the server never sees.

Issued: a role that may log in until the lease ends by the server's own clock, as a member of the
roles that its scopes stand for. Revoked: no login any more, in a transaction of its own; then every
open session is terminated (dropping a role leaves its sessions running, tried); then it is dropped,
and what it owned or granted is handed to a role it was a member of (`postgres_ending.py`).

The administrator needs CREATEROLE, the admin option on the scopes' roles (since PostgreSQL 16), and
the rights of `pg_signal_backend`; no superuser.
Names and values go through the server's own `format()` with `%I` and `%L`; the password exists as
a SCRAM verifier in statements, and only there. Nothing of a statement is in an error.
Below: `scram.py`, `postgres_settings.py`, asyncpg.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any, cast
from urllib.parse import quote

import asyncpg

from midflight.adapters.credentials.postgres_ending import EXISTS, Session, end_role, run
from midflight.adapters.credentials.postgres_reach import refuse_risks, risks
from midflight.adapters.credentials.postgres_screen import screened
from midflight.adapters.credentials.postgres_settings import read_settings
from midflight.adapters.credentials.scram import verifier
from midflight.domain.errors import Conflict, MidflightError, Misconfigured, Unavailable
from midflight.domain.lease import NAME_PREFIX, Lease, Revocability, Secret
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import Setup

MAX_CONNECTIONS = 4
"""Sessions of the administrator: leases of one credential are made so many at a time."""
CONNECT_S = 5.0
_NAME = re.compile(re.escape(NAME_PREFIX) + r"[a-z0-9-]{1,53}\Z")

_CREATE = """
SELECT pg_catalog.format(
  'CREATE ROLE %I LOGIN CONNECTION LIMIT %s PASSWORD %L VALID UNTIL %L IN ROLE %s',
  $1::text, $2::int, $3::text, pg_catalog.now() + $4::float8 * interval '1 second',
  (SELECT pg_catalog.string_agg(pg_catalog.format('%I', r), ', ')
     FROM pg_catalog.unnest($5::text[]) AS r))
"""
_TAG = "SELECT pg_catalog.format('COMMENT ON ROLE %I IS %L', $1::text, $2::text)"
_UNTIL = """
SELECT rolvaliduntil + $2::float8 * interval '1 second' AS until,
       rolcanlogin AND rolvaliduntil > pg_catalog.now() AS is_live
FROM pg_catalog.pg_roles WHERE rolname = $1
"""
_EXTEND = """
SELECT pg_catalog.format('ALTER ROLE %I VALID UNTIL %L', $1::text, $2::timestamptz)
"""
_NAMES = """
SELECT rolname FROM pg_catalog.pg_roles
WHERE pg_catalog.starts_with(rolname, $1)
  AND pg_catalog.starts_with(pg_catalog.shobj_description(oid, 'pg_authid'), $2)
ORDER BY rolname
"""
_RIGHTS = """
SELECT pg_catalog.current_setting('server_version_num')::int / 10000 AS version,
       rolsuper OR rolcreaterole AS can_create,
       rolsuper OR pg_catalog.pg_has_role(oid, 'pg_signal_backend', 'USAGE') AS can_end
FROM pg_catalog.pg_roles WHERE rolname = current_user
"""
_MISSING = """
SELECT r FROM pg_catalog.unnest($1::text[]) AS r
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = r)
"""
# Before 16, CREATEROLE alone may give every role that is no superuser's.
_NOT_GIVEN = """
SELECT rolname AS r FROM pg_catalog.pg_roles
WHERE rolname = ANY($1::text[])
  AND pg_catalog.current_setting('server_version_num')::int >= 160000
  AND NOT pg_catalog.pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION')
ORDER BY rolname
"""


class PostgresBackend:
    """See the module."""

    def __init__(self, setup: Setup) -> None:
        """`Misconfigured` with every setting that is wrong. Connects at first use."""
        self._name = setup.credential.name
        self._scopes = setup.credential.scopes
        self._settings = read_settings(setup.credential)
        self._secrets = setup.secrets
        self._tag = f"midflight {setup.installation} "
        self._pool: Any = None  # asyncpg does not type its pools
        self._opening = asyncio.Lock()

    @property
    def revocability(self) -> Revocability:
        """At once: sessions are terminated."""
        return Revocability.IMMEDIATE

    @property
    def fields(self) -> frozenset[str] | None:
        """What a client of PostgreSQL needs."""
        return frozenset(self._fields("", ""))

    async def check(self) -> str:
        """Say what the administrator may, and which roles there are."""
        roles = [self._settings.role(scope) for scope in self._scopes]
        async with self._session() as session:
            rights = await session.fetchrow(_RIGHTS)
            missing = [row["r"] for row in await session.fetch(_MISSING, roles)]
            not_given = [row["r"] for row in await session.fetch(_NOT_GIVEN, roles)]
            risky = await risks(session, roles)
        assert rights is not None
        problems: list[str] = []
        if not rights["can_create"]:
            problems.append("the administrator has not CREATEROLE")
        if not rights["can_end"]:
            problems.append(
                "the administrator has not the rights of pg_signal_backend, so open sessions"
                " would survive their lease"
            )
        problems += [f"there is no role {role}" for role in missing]
        problems += [f"the administrator may not give {role} to others" for role in not_given]
        problems += risky
        if problems:
            raise Misconfigured(
                f"Credential {self._name}: {'; '.join(problems)}.",
                hint="docs/credentials.md says what to grant to it, and which roles to lend.",
            )
        version = int(rights["version"])
        return f"PostgreSQL {version}: roles can be made, and ended with their sessions."

    async def issue(self, lease: Lease) -> Issued:
        """Make the role, replacing one of that name."""
        name = _checked(lease.external)
        password = secrets.token_urlsafe(32)
        # Its 4,096 rounds take a millisecond or two, which the event loop has not.
        secret = await asyncio.to_thread(verifier, password)
        roles = [self._settings.role(scope) for scope in lease.scopes]
        if not roles:
            raise Misconfigured(f"A lease of {self._name} needs a scope.")
        life = float(lease.expires_at - lease.created_at)
        async with self._session() as session:
            if await session.fetchval(EXISTS, name):
                await end_role(session, name, elsewhere=self._elsewhere)
            await refuse_risks(session, roles, credential=self._name)
            async with session.transaction():
                await run(session, _CREATE, name, self._settings.connections, secret, life, roles)
                await run(session, _TAG, name, f"{self._tag}{self._name}")
        return Issued(
            secret=Secret(fields=self._fields(name, password), expires_at=lease.expires_at),
            handle=name,
        )

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Move the end of the role, counted from where the server has it."""
        name = _checked(lease.external)
        async with self._session() as session, session.transaction():
            found = await session.fetchrow(_UNTIL, name, float(expires_at - lease.expires_at))
            if found is None or not found["is_live"]:
                raise Conflict(f"The role of {lease.id} is gone or has ended.")
            await run(session, _EXTEND, name, found["until"])
        return expires_at

    async def revoke(self, lease: Lease) -> None:
        """No login, no session, no role."""
        await self.discard(lease.external)

    async def names(self) -> Sequence[str]:
        """Roles that this Midflight has made here, whichever credential they are of."""
        async with self._session() as session:
            found = await session.fetch(_NAMES, NAME_PREFIX, self._tag)
        return [row["rolname"] for row in found]

    async def discard(self, name: str) -> None:
        """As `revoke`, by name."""
        async with self._session() as session:
            await end_role(session, _checked(name), elsewhere=self._elsewhere)

    async def close(self) -> None:
        """Close the administrator's sessions."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                async with asyncio.timeout(CONNECT_S):
                    await pool.close()
            except (TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                pool.terminate()

    # Inside

    def _fields(self, name: str, password: str) -> dict[str, str]:
        at = self._settings
        host = f"[{at.host}]" if ":" in at.host else quote(at.host, safe="")
        where = f"{host}:{at.port}/{quote(at.database, safe='')}"
        return {
            "username": name,
            "password": password,
            "host": at.host,
            "port": str(at.port),
            "database": at.database,
            "url": f"postgresql://{name}:{password}@{where}",
        }

    @asynccontextmanager
    async def _session(self) -> AsyncGenerator[Session]:
        """A session of the administrator; what goes wrong in it becomes one of our errors."""
        with self._errors():
            pool = self._pool or await self._open()
            async with pool.acquire(timeout=CONNECT_S) as session:
                yield cast("Session", session)

    @asynccontextmanager
    async def _elsewhere(self, database: str) -> AsyncGenerator[Session]:
        """One in another database of the server, used inside of `_session`."""
        password = await self._password()
        session = await screened(credential=self._name, **self._where(database), password=password)
        try:
            yield cast("Session", session)
        finally:
            session.terminate()

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except asyncpg.InvalidAuthorizationSpecificationError:
            raise Misconfigured(
                f"The server refuses the administrator of credential {self._name}.",
                hint=f"Compare its user and password: midflight credential show {self._name}",
            ) from None
        except (asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedObjectError) as error:
            raise Misconfigured(
                f"The administrator of credential {self._name} may not do that, or a role is "
                f"missing ({type(error).__name__}).",
                hint=f"midflight credential test {self._name} says what is missing.",
            ) from None
        except MidflightError:
            raise
        except Exception as error:  # noqa: BLE001 -- a server that lies breaks its driver anyhow
            raise Unavailable(
                f"The database of credential {self._name} did not do it ({type(error).__name__}).",
                hint=f"midflight credential test {self._name} tries to reach it.",
            ) from None

    async def _open(self) -> Any:
        async with self._opening:
            if self._pool is None:
                self._pool = await cast("Any", asyncpg).create_pool(
                    **self._where(self._settings.database),
                    # Read for each connection, so that a password that was changed is found.
                    password=self._password,
                    connect=partial(screened, credential=self._name),
                    min_size=0,
                    max_size=MAX_CONNECTIONS,
                )
            return self._pool

    def _where(self, database: str) -> dict[str, Any]:
        at = self._settings
        return {
            "host": at.host,
            "port": at.port,
            "user": at.user,
            "database": database,
            "ssl": at.context() or False,
            "timeout": CONNECT_S,
            # Statements are prepared for nobody: a pooler may stand in between.
            "statement_cache_size": 0,
            "server_settings": {
                "application_name": "midflight",
                "search_path": "",
                "lock_timeout": "5s",
                "statement_timeout": "8s",
            },
        }

    async def _password(self) -> str:
        return await self._secrets.read(self._settings.password)


def _checked(name: str) -> str:
    if _NAME.match(name) is None:
        raise Misconfigured("This is no name that Midflight gives to a role.")
    return name


__all__ = ["PostgresBackend"]
