"""Whoever holds a role of PostgreSQL for minutes prepares to stay: each way leads nowhere.

The server is the real one, with prepared transactions allowed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import msgspec
import pytest
from backend_kit import Session, Subject, connect, on_postgres
from counterpart_kit import Postgres, postgres

from midflight.domain.errors import Misconfigured

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres("max_prepared_transactions=4") as running:
        yield running


@pytest.fixture(scope="module")
async def subject(
    server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Subject]:
    async with on_postgres(server, tmp_path_factory.mktemp("pg")) as made:
        yield made


@pytest.fixture
async def admin(server: Postgres) -> AsyncIterator[Any]:
    session = await asyncpg.connect(server.dsn(), ssl=False)
    yield session
    await session.close()


async def exists(admin: Any, name: str) -> bool:
    return bool(await admin.fetchval("SELECT true FROM pg_roles WHERE rolname = $1", name))


@pytest.mark.parametrize(
    ("prepare", "why"),
    [
        ("CREATE ROLE lent NOLOGIN IN ROLE boss", "boss could give itself anything"),
        ("CREATE ROLE lent LOGIN", "lent may log in"),
        ("CREATE ROLE app LOGIN; CREATE ROLE lent NOLOGIN IN ROLE app", "app may log in"),
        (
            "CREATE ROLE lent NOLOGIN IN ROLE pg_execute_server_program",
            "pg_execute_server_program could give itself anything",
        ),
        (
            "CREATE ROLE lent NOLOGIN; GRANT writer TO lent WITH ADMIN OPTION",
            "lent has an admin option",
        ),
    ],
)
async def test_a_role_that_makes_or_becomes_one_that_stays_is_not_lent(
    subject: Subject, admin: Any, prepare: str, why: str
) -> None:
    await admin.execute(prepare)
    try:
        credential = msgspec.structs.replace(subject.setup.credential, scopes=("lent", "reader"))
        backend = subject.backend(credential=credential)
        lease = subject.lease("lent", "reader")
        with pytest.raises(Misconfigured, match=why):
            await backend.issue(lease)
        with pytest.raises(Misconfigured, match=why):
            await backend.check()
        assert not await exists(admin, lease.external)
        await backend.close()
    finally:
        await admin.execute("DROP ROLE lent; DROP ROLE IF EXISTS app")


async def test_a_role_that_is_the_root_of_all_is_refused_in_few_words(
    subject: Subject, admin: Any
) -> None:
    for number in range(20):
        await admin.execute(f"CREATE ROLE many{number} LOGIN")
    credential = msgspec.structs.replace(subject.setup.credential, scopes=("postgres",))
    backend = subject.backend(credential=credential)
    with pytest.raises(Misconfigured, match="postgres could give itself anything") as refused:
        await backend.issue(subject.lease("postgres"))
    assert len(refused.value.message) < 500
    await backend.close()
    for number in range(20):
        await admin.execute(f"DROP ROLE many{number}")


@pytest.mark.parametrize("database", ["template1", "postgres"])
async def test_objects_in_any_database_do_not_keep_a_role(
    subject: Subject, server: Postgres, admin: Any, database: str
) -> None:
    backend, lease = subject.backend(), subject.lease("reader")
    fields = (await backend.issue(lease)).secret.fields
    session = await asyncpg.connect(
        host=server.host,
        port=server.port,
        user=fields["username"],
        password=fields["password"],
        database=database,
        ssl=False,
    )
    kept = await session.fetchval("SELECT lo_create(0)")
    await session.close()
    await backend.revoke(lease)
    await backend.close()
    assert not await exists(admin, lease.external)
    there = await asyncpg.connect(server.dsn(), database=database, ssl=False)
    owner = "SELECT lomowner::regrole::text FROM pg_largeobject_metadata WHERE oid = $1"
    assert await there.fetchval(owner, kept) == "reader"
    await there.execute(f"SELECT lo_unlink({kept})")
    await there.close()


@pytest.mark.parametrize(
    "work", ["CREATE TABLE public.left_over (id int)", "LOCK public.orders IN ACCESS SHARE MODE"]
)
async def test_a_prepared_transaction_ends_with_its_lease(
    subject: Subject, admin: Any, work: str
) -> None:
    backend, lease = subject.backend(), subject.lease("writer")
    session = await connect((await backend.issue(lease)).secret)
    await session.execute(f"BEGIN; {work}; PREPARE TRANSACTION 'later; it''s'")
    await session.close()
    await backend.revoke(lease)
    await backend.close()
    assert not await exists(admin, lease.external)
    assert await admin.fetchval("SELECT count(*) FROM pg_prepared_xacts") == 0


async def test_a_prepared_transaction_ends_without_a_superuser_as_well(
    subject: Subject, admin: Any, tmp_path: Any
) -> None:
    await admin.execute(
        "CREATE ROLE keeper LOGIN CREATEROLE PASSWORD 'known';"
        "GRANT pg_signal_backend TO keeper; GRANT writer TO keeper WITH ADMIN OPTION"
    )
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text("known")
    settings = {**subject.settings, "user": "keeper", "password": f"file:{secret}"}
    credential = msgspec.structs.replace(subject.setup.credential, settings=settings)
    backend, lease = subject.backend(credential=credential), subject.lease("writer")
    issued = await backend.issue(lease)
    session = await connect(issued.secret)
    await session.execute("BEGIN; SELECT 1 FROM public.orders; PREPARE TRANSACTION 'held'")
    await session.close()
    await backend.revoke(lease)
    assert await admin.fetchval("SELECT count(*) FROM pg_prepared_xacts") == 0
    assert not await subject.works(issued.secret)
    assert not await exists(admin, lease.external)
    await backend.close()
    await admin.execute("DROP OWNED BY keeper; DROP ROLE keeper")


async def test_a_role_that_is_another_one_or_has_another_password_ends(
    subject: Subject, admin: Any
) -> None:
    backend, lease = subject.backend(), subject.lease("writer")
    issued = await backend.issue(lease)
    disguised, other = await connect(issued.secret), await connect(issued.secret)
    await disguised.execute("SET ROLE writer")
    await other.execute("ALTER ROLE CURRENT_USER PASSWORD 'my-own'")
    for more in ("VALID UNTIL 'infinity'", "CREATEROLE", "CONNECTION LIMIT -1", "RENAME TO kept"):
        with pytest.raises((asyncpg.InsufficientPrivilegeError, asyncpg.FeatureNotSupportedError)):
            await other.execute(f'ALTER ROLE "{lease.external}" {more}')
    await backend.revoke(lease)
    assert not await Session(disguised).alive()
    assert not await Session(other).alive()
    again = msgspec.structs.replace(
        issued.secret, fields={**issued.secret.fields, "password": "my-own"}
    )
    assert not await subject.works(again)
    await backend.close()
