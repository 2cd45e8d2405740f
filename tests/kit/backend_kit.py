"""Kinds of credential backends, each with what tries its credentials: for one contract suite.

A kind is one entry of `KINDS`. It says what its backend can do, so that each test either holds for
it or says why it does not apply; nothing is left out in silence.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import msgspec
import pytest
from counterpart_kit import Postgres, postgres

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.memory import MemoryServer
from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.adapters.credentials.references import References
from midflight.adapters.credentials.sealed import SealedBackend
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Credential, Lease, LeaseState, Secret, external_name
from midflight.services.ports.credential_backend import CredentialBackend
from midflight.services.ports.secret_reader import BackendMaker, Setup

CLOCK = SystemClock()


class Opened(Protocol):
    """Something that was opened with a credential: a session, a token in use."""

    async def alive(self) -> bool: ...

    async def close(self) -> None: ...


@dataclass(kw_only=True)
class Subject:
    """A backend on its server, and how to try what it hands out.

    Attributes:
        maker: makes a backend, as after a restart.
        setup: what it is made of.
        works: whether a secret lets in now.
        can: whether a secret may do what a scope is for.
        opened: opens something with a secret, or None where nothing stays open.
        wide: a scope that the credential has; `narrow`: another one, which may less.
        end_by_itself: makes the server believe that the lease's time is over, or None.
        lists, renews, revokes, narrows: what it can do.
        found_again: whether it ends what another process made, knowing its name alone.
    """

    maker: BackendMaker
    setup: Setup
    works: Callable[[Secret], Any]
    can: Callable[[Secret, str], Any] | None = None
    opened: Callable[[Secret], Any] | None = None
    end_by_itself: Callable[[str], Any] | None = None
    narrow: str = ""
    wide: str = ""
    lists: bool = True
    renews: bool = True
    revokes: bool = True
    replaces: bool = True
    found_again: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)

    def backend(self, **changes: Any) -> CredentialBackend:
        setup = msgspec.structs.replace(self.setup, **changes)
        return self.maker(setup)

    def lease(self, *scopes: str, ttl_s: int = 300) -> Lease:
        now = int(CLOCK.now())
        lease_id = f"lease_{CLOCK.token()}"
        default = (self.wide,) if self.wide else ()
        return Lease(
            id=lease_id,
            credential=self.setup.credential.name,
            backend=self.setup.credential.backend,
            external=external_name(lease_id),
            run="run_a",
            workload="spiffe://example.org/agents/one",
            scopes=scopes or default,
            state=LeaseState.INTENT,
            created_at=now,
            expires_at=now + ttl_s,
            max_expires_at=now + 3_600,
        )


@dataclass(frozen=True)
class Kind:
    """One row: a name, what opens it, and the marks of its tests."""

    name: str
    open: Callable[[Path], AbstractAsyncContextManager[Subject]]
    marks: tuple[pytest.MarkDecorator, ...] = ()


def setup(credential: Credential, *, sealed: Mapping[str, str] | None = None) -> Setup:
    async def unseal(secret_id: str) -> str:
        if secret_id not in (sealed or {}):
            raise Misconfigured(f"There is no sealed secret {secret_id}.")
        return (sealed or {})[secret_id]

    return Setup(
        credential=credential, secrets=References(unseal), installation="here", clock=CLOCK
    )


def credential(backend: str, **changes: Any) -> Credential:
    fields: dict[str, Any] = {
        "name": "tried",
        "backend": backend,
        "upstreams": frozenset({"one"}),
        "injections": (),
        "scopes": ("reader", "writer"),
    }
    return Credential(**{**fields, **changes})


@asynccontextmanager
async def memory(folder: Path) -> AsyncGenerator[Subject]:
    del folder
    server = MemoryServer()

    async def works(secret: Secret) -> bool:
        return server.works(secret, now=CLOCK.now())

    async def can(secret: Secret, scope: str) -> bool:
        return scope in server.accounts[secret.fields["username"]][1]

    async def end(name: str) -> None:
        password, scopes, _ = server.accounts[name]
        server.accounts[name] = (password, scopes, 0)

    yield Subject(
        maker=server.maker,
        setup=setup(credential("memory")),
        works=works,
        can=can,
        end_by_itself=end,
        narrow="reader",
        wide="writer",
    )


@asynccontextmanager
async def sealed(folder: Path) -> AsyncGenerator[Subject]:
    del folder
    secret_id = f"sealed_{'a' * 26}"

    async def works(secret: Secret) -> bool:
        return secret.fields == {"token": "the-static-one"} and secret.expires_at is None

    yield Subject(
        maker=SealedBackend,
        setup=setup(
            credential("sealed", scopes=(), settings={"token": f"sealed:{secret_id}"}),
            sealed={secret_id: "the-static-one"},
        ),
        works=works,
        lists=False,
        renews=False,
        revokes=False,
        replaces=False,
    )


class Session:
    """An open session of PostgreSQL."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def alive(self) -> bool:
        try:
            return bool(await self.connection.fetchval("SELECT 1") == 1)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            return False

    async def close(self) -> None:
        self.connection.terminate()


async def connect(secret: Secret) -> Any:
    fields = secret.fields
    return await asyncpg.connect(
        host=fields["host"],
        port=int(fields["port"]),
        user=fields["username"],
        password=fields["password"],
        database=fields["database"],
        ssl=False,
        timeout=10,
    )


PREPARE = """
CREATE ROLE reader NOLOGIN;
CREATE ROLE writer NOLOGIN;
CREATE ROLE boss NOLOGIN CREATEROLE;
CREATE TABLE orders (id int);
INSERT INTO orders VALUES (1);
GRANT SELECT ON orders TO reader;
GRANT SELECT, INSERT ON orders TO writer;
GRANT CREATE ON SCHEMA public TO writer;
"""


@asynccontextmanager
async def on_postgres(server: Postgres, folder: Path) -> AsyncGenerator[Subject]:
    """A subject on a server that is prepared with `PREPARE` already or is prepared now."""
    folder.mkdir(parents=True, exist_ok=True)
    password = folder / f"admin-{secrets.token_hex(4)}"
    password.touch(0o600)
    password.write_text(server.password + "\n")
    admin = await asyncpg.connect(server.dsn(), ssl=False)
    if not await admin.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = 'reader'"):
        await admin.execute(PREPARE)

    async def works(secret: Secret) -> bool:
        try:
            session = await connect(secret)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.PostgresError):
            return False
        await session.close()
        return True

    async def can(secret: Secret, scope: str) -> bool:
        statement = {
            "reader": "SELECT * FROM public.orders",
            "writer": "INSERT INTO public.orders VALUES (2)",
        }[scope]
        session = await connect(secret)
        try:
            await session.execute(statement)
        except asyncpg.InsufficientPrivilegeError:
            return False
        finally:
            await session.close()
        return True

    async def opened(secret: Secret) -> Opened:
        return Session(await connect(secret))

    async def end(name: str) -> None:
        await admin.execute(f"ALTER ROLE \"{name}\" VALID UNTIL '2001-01-01'")

    settings = {
        "host": server.host,
        "port": server.port,
        "user": "postgres",
        "password": f"file:{password}",
        "tls": "off",
    }
    try:
        yield Subject(
            maker=PostgresBackend,
            setup=setup(credential("postgres", settings=settings)),
            works=works,
            can=can,
            opened=opened,
            end_by_itself=end,
            narrow="reader",
            wide="writer",
            settings=settings,
        )
    finally:
        await admin.close()


@asynccontextmanager
async def real_postgres(folder: Path) -> AsyncGenerator[Subject]:
    with contextlib.ExitStack() as undo:
        server = undo.enter_context(postgres())
        async with on_postgres(server, folder) as subject:
            yield subject


KINDS: list[Kind] = [
    Kind("memory", memory),
    Kind("sealed", sealed),
    Kind("postgres", real_postgres, (pytest.mark.postgres,)),
]
