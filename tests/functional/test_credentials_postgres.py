"""The PostgreSQL backend with an administrator who is no superuser, and over TLS.

Roles and their options changed in PostgreSQL 16, so what the page has an operator grant is tried on
16 and on the version that the system has, if any. TLS is the system's: the bundled one has none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from authority import Authority
from backend_kit import connect, setup
from counterpart_kit import Postgres, postgres, system_postgres
from credential_kit import credential, lease

from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.domain.errors import Misconfigured, Unavailable

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

DOCS = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
GRANTS = re.findall(r"^```sql\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)[0]
PREPARE = """
CREATE ROLE orders_reader NOLOGIN;
CREATE ROLE orders_writer NOLOGIN;
CREATE TABLE orders (id int);
GRANT SELECT ON orders TO orders_reader;
GRANT CREATE ON SCHEMA public TO orders_writer;
"""
SCOPES = ("orders_reader", "orders_writer")
SEALED = f"sealed_{'a' * 26}"
SYSTEM = system_postgres()
NONE = "PostgreSQL is not installed (Debian: postgresql)"
on_system = pytest.mark.skipif(SYSTEM is None, reason=NONE)


def grants(version: int) -> str:
    """What the page says, for both roles."""
    statements = GRANTS.replace("'a long one'", "'it'")
    *_, last = statements.strip().splitlines()
    assert "orders_reader" in last
    if version < 16:
        return statements.replace(last, "")
    return statements + last.replace("orders_reader", "orders_writer")


@pytest.fixture(
    scope="module",
    params=[pytest.param(16, id="16"), pytest.param(0, id="system", marks=on_system)],
)
def server(request: pytest.FixtureRequest) -> Generator[Postgres]:
    with postgres(
        "max_prepared_transactions=2", install=SYSTEM if request.param == 0 else None
    ) as running:
        yield running


@pytest.fixture
async def owner(server: Postgres) -> AsyncGenerator[Any]:
    """The superuser, who prepares and looks; all roles are new for each test."""
    session = await asyncpg.connect(server.dsn(), ssl=False)
    version = session.get_server_version().major
    await session.execute(PREPARE + grants(version))
    yield session
    await session.execute("DROP TABLE IF EXISTS orders, mine CASCADE")
    await session.execute("DROP FUNCTION IF EXISTS public.one")
    for name in ("midflight", *SCOPES):
        await session.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await session.close()


@pytest.fixture
async def backend(server: Postgres, owner: Any) -> AsyncGenerator[PostgresBackend]:
    del owner
    one = made(server)
    yield one
    await one.close()


def made(server: Postgres, **more: Any) -> PostgresBackend:
    settings = {
        "host": server.host,
        "port": server.port,
        "user": "midflight",
        "password": f"sealed:{SEALED}",
        "tls": "off",
        **more,
    }
    source = credential("postgres", settings, scopes=SCOPES)
    return PostgresBackend(setup(source, sealed={SEALED: "it"}))


async def members(owner: Any) -> list[tuple[Any, ...]]:
    """Whom the administrator is a member of, and how."""
    asked = "SELECT * FROM pg_auth_members WHERE member = 'midflight'::regrole ORDER BY roleid"
    return [tuple(row)[1:] for row in await owner.fetch(asked)]


async def roles(owner: Any) -> list[str]:
    asked = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolname = ANY($1) ORDER BY 1"
    return [row[0] for row in await owner.fetch(asked, ["postgres", "midflight"])]


async def test_no_superuser_makes_renews_and_ends_a_role_with_its_session(
    backend: PostgresBackend, owner: Any
) -> None:
    assert not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = 'midflight'")
    assert "ended with their sessions" in await backend.check()
    asked = lease(scopes=("orders_reader",))
    issued = await backend.issue(asked)
    assert list(await backend.names()) == [asked.external] == await roles(owner)
    session = await connect(issued.secret)
    assert await session.fetch("SELECT * FROM public.orders") == []
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await session.execute("CREATE TABLE public.mine (id int)")
    later = asked.expires_at + 60
    assert await backend.renew(asked, expires_at=later) == later
    await backend.revoke(asked)
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await session.fetchval("SELECT 1")
    session.terminate()
    assert await roles(owner) == []
    await backend.revoke(asked)


async def test_what_a_lease_owned_goes_to_a_role_that_may_own_it_and_the_administrator_gets_nothing(
    backend: PostgresBackend, owner: Any
) -> None:
    before = await members(owner)
    for _ in range(2):  # the second time it may still give what it gave
        asked = lease(scopes=SCOPES)
        issued = await backend.issue(asked)
        session = await connect(issued.secret)
        await session.execute(
            "CREATE TABLE public.mine (id int);"
            "GRANT SELECT ON public.mine TO orders_reader;"
            # The reader comes first by name and may own no function there; the writer may.
            "CREATE FUNCTION public.one() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'"
        )
        session.terminate()
        await backend.revoke(asked)
        assert await roles(owner) == []
        for kind, asking in (
            ("table", "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'mine'"),
            ("function", "SELECT proowner::regrole::text FROM pg_proc WHERE proname = 'one'"),
        ):
            assert await owner.fetchval(asking) == "orders_writer", kind
        await owner.execute("DROP TABLE public.mine; DROP FUNCTION public.one()")
        assert await members(owner) == before


async def test_what_a_lease_prepared_and_left_in_another_database_ends_without_a_superuser(
    backend: PostgresBackend, server: Postgres, owner: Any
) -> None:
    before = await members(owner)
    asked = lease(scopes=("orders_writer",))
    issued = await backend.issue(asked)
    session = await connect(issued.secret)
    await session.execute("BEGIN; CREATE TABLE public.mine (id int); PREPARE TRANSACTION 'left'")
    session.terminate()
    where = server.dsn(asked.external, issued.secret.fields["password"])
    elsewhere = await asyncpg.connect(where, database="template1", ssl=False)
    await elsewhere.execute("SELECT lo_create(0)")
    elsewhere.terminate()
    await backend.revoke(asked)
    assert await roles(owner) == await owner.fetch("SELECT FROM pg_prepared_xacts") == []
    assert await backend.names() == []
    assert await members(owner) == before
    template = await asyncpg.connect(server.dsn(), database="template1", ssl=False)
    left = "SELECT lomowner::regrole::text FROM pg_largeobject_metadata"
    assert await template.fetchval(left) == "orders_writer"
    await template.execute("DROP OWNED BY orders_writer")
    await template.close()


async def test_what_nobody_may_own_stays_with_a_role_that_cannot_log_in(
    backend: PostgresBackend, owner: Any
) -> None:
    asked = lease(scopes=("orders_reader",))
    issued = await backend.issue(asked)
    await owner.execute("GRANT CREATE ON SCHEMA public TO orders_reader")
    session = await connect(issued.secret)
    await session.execute("CREATE FUNCTION public.one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    session.terminate()
    await owner.execute("REVOKE CREATE ON SCHEMA public FROM orders_reader")
    before = await members(owner)
    with pytest.raises(Misconfigured, match="can log in no more, and owns objects"):
        await backend.revoke(asked)
    assert await roles(owner) == []
    assert await members(owner) == before
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError):
        await connect(issued.secret)
    await owner.execute("DROP FUNCTION public.one()")
    await backend.revoke(asked)  # as the reaper does
    assert await backend.names() == []


async def test_what_others_granted_to_the_role_of_a_lease_is_theirs_to_take_back(
    backend: PostgresBackend, owner: Any
) -> None:
    asked = lease(scopes=("orders_reader",))
    await backend.issue(asked)
    await owner.execute(f'GRANT CREATE ON SCHEMA public TO "{asked.external}"')
    with pytest.raises(Misconfigured, match="can log in no more, and owns objects"):
        await backend.revoke(asked)
    assert await roles(owner) == []
    await owner.execute(f'REVOKE CREATE ON SCHEMA public FROM "{asked.external}"')
    await backend.revoke(asked)
    assert await backend.names() == []


async def test_the_check_says_which_grant_is_missing(server: Postgres, owner: Any) -> None:
    one = made(server)
    await owner.execute("REVOKE pg_signal_backend FROM midflight")
    with pytest.raises(Misconfigured, match="rights of pg_signal_backend"):
        await one.check()
    if owner.get_server_version().major >= 16:
        # A member that inherits nothing may not end a session either.
        await owner.execute("GRANT pg_signal_backend TO midflight WITH INHERIT FALSE")
        with pytest.raises(Misconfigured, match="rights of pg_signal_backend"):
            await one.check()
        await owner.execute("GRANT pg_signal_backend TO midflight WITH INHERIT TRUE")
        await owner.execute("REVOKE ADMIN OPTION FOR orders_writer FROM midflight")
        with pytest.raises(Misconfigured, match="may not give orders_writer to others"):
            await one.check()
        with pytest.raises(Misconfigured, match="may not do that"):
            await one.issue(lease(scopes=("orders_writer",)))
        assert await roles(owner) == []
    else:
        await owner.execute("GRANT pg_signal_backend TO midflight")
        await one.check()
    await owner.execute("ALTER ROLE midflight NOCREATEROLE")
    with pytest.raises(Misconfigured, match="has not CREATEROLE"):
        await one.check()
    await one.close()


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[Postgres, Authority]]:
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with postgres(install=SYSTEM, tls=authority.issue("database")) as running:  # for `localhost`
        yield running, authority


@on_system
async def test_over_tls_the_server_proves_its_name(
    tls: tuple[Postgres, Authority], tmp_path: Path
) -> None:
    server, authority = tls
    verifying = {"user": "postgres", "tls": "verify-full", "password": f"sealed:{SEALED}"}

    def to(host: str, ca: Path | None) -> PostgresBackend:
        given = {**verifying, "host": host, "port": server.port}
        if ca is not None:
            given["ca"] = str(ca)
        source = credential("postgres", given, scopes=("pg_monitor",))
        return PostgresBackend(setup(source, sealed={SEALED: server.password}))

    right = to("localhost", authority.file)
    asked = lease(scopes=("pg_monitor",))
    issued = await right.issue(asked)
    encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
    async with right._session() as session:
        assert await session.fetchval(encrypted) is True
    await right.revoke(asked)
    await right.close()
    assert issued.secret.fields["password"] not in repr(issued)
    for wrong in (
        to("127.0.0.1", authority.file),  # its certificate is for another name
        to("localhost", Authority(tmp_path).file),  # and of another authority
        to("localhost", None),  # which no system knows
    ):
        with pytest.raises(Unavailable, match="SSLCertVerificationError"):
            await wrong.check()
        await wrong.close()


async def test_a_server_that_has_no_tls_is_not_spoken_to_in_the_clear(
    server: Postgres, owner: Any, tmp_path: Path
) -> None:
    del owner
    # As somebody in between answers who would rather read along.
    one = made(server, host="localhost", tls="verify-full", ca=str(Authority(tmp_path).file))
    with pytest.raises(Unavailable):
        await one.check()
    await one.close()
    with pytest.raises(Misconfigured, match="off is for this machine alone"):
        made(server, host="db.example.org", tls="off")
