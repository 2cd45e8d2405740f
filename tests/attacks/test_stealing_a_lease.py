"""What somebody would try in order to get, keep or widen a credential of an upstream.

Each ends in a refusal; PostgreSQL is the real one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from backend_kit import Session, Subject, connect, on_postgres
from counterpart_kit import Postgres, postgres

from midflight.adapters.credentials.references import References
from midflight.adapters.credentials.scram import verifier
from midflight.domain.errors import Misconfigured
from midflight.domain.lease import Secret

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
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


async def test_the_password_is_in_no_log_of_the_server(
    subject: Subject, server: Postgres, admin: Any
) -> None:
    await admin.execute("ALTER SYSTEM SET log_statement = 'all'")
    await admin.execute("ALTER SYSTEM SET log_parameter_max_length = -1")
    await admin.execute("SELECT pg_reload_conf()")
    backend = subject.backend()
    lease = subject.lease()
    issued = await backend.issue(lease)
    assert await subject.works(issued.secret)
    await backend.revoke(lease)
    await backend.close()
    await admin.execute("ALTER SYSTEM RESET ALL")
    await admin.execute("SELECT pg_reload_conf()")
    directory = Path(await admin.fetchval("SHOW data_directory"))
    log = (directory.parent.parent / "postgres.log").read_text(errors="replace")
    assert "CREATE ROLE" in log, "the log was to hold the statements"
    assert issued.secret.fields["password"] not in log


async def test_what_a_lease_made_outlives_it_and_does_not_keep_it_alive(
    subject: Subject, admin: Any
) -> None:
    backend = subject.backend()
    lease = subject.lease("writer")
    issued = await backend.issue(lease)
    session = await connect(issued.secret)
    await session.execute("CREATE TABLE public.made AS SELECT 7 AS kept")
    await session.execute("GRANT SELECT ON public.made TO reader")
    await session.close()
    await admin.execute(f'GRANT SELECT ON orders TO "{lease.external}"')
    await backend.revoke(lease)
    await backend.close()
    assert not await subject.works(issued.secret)
    assert await admin.fetchval("SELECT kept FROM made") == 7
    assert await admin.fetchval("SELECT tableowner FROM pg_tables WHERE tablename='made'") == (
        "writer"
    )
    assert not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", lease.external)
    await admin.execute("DROP TABLE made")


async def test_a_lease_that_reconnects_all_the_time_is_ended(subject: Subject) -> None:
    backend = subject.backend()
    lease = subject.lease()
    issued = await backend.issue(lease)
    sessions = [Session(await connect(issued.secret)) for _ in range(8)]
    await backend.revoke(lease)
    assert [await session.alive() for session in sessions] == [False] * 8
    for session in sessions:
        await session.close()
    assert not await subject.works(issued.secret)
    await backend.close()


async def test_a_role_that_could_give_itself_anything_is_not_lent(
    subject: Subject, admin: Any
) -> None:
    for attribute in ("SUPERUSER", "CREATEROLE", "BYPASSRLS", "REPLICATION", "CREATEDB"):
        await admin.execute(f"CREATE ROLE risky NOLOGIN {attribute}")
        credential = msgspec.structs.replace(subject.setup.credential, scopes=("risky",))
        backend = subject.backend(credential=credential)
        with pytest.raises(Misconfigured, match="risky"):
            await backend.issue(subject.lease("risky"))
        await backend.close()
        await admin.execute("DROP ROLE risky")


@pytest.mark.parametrize("name", ['a"; DROP TABLE orders; --', "b' OR 1=1", "c\\'d", 'ü"%I'])
async def test_names_are_quoted_wherever_they_are_used(
    subject: Subject, admin: Any, name: str
) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    await admin.execute(f"CREATE ROLE {quoted} NOLOGIN")
    credential = msgspec.structs.replace(subject.setup.credential, scopes=(name,))
    backend = subject.backend(credential=credential)
    assert "can be made" in await backend.check()
    lease = subject.lease(name)
    issued = await backend.issue(lease)
    assert await subject.works(issued.secret)
    assert await admin.fetchval("SELECT count(*) FROM orders") >= 1
    await backend.revoke(lease)
    for wrong in ("postgres", 'midflight-a"; DROP ROLE reader; --', "reader"):
        with pytest.raises(Misconfigured):
            await backend.discard(wrong)
    await backend.close()
    await admin.execute(f"DROP ROLE {quoted}")


async def test_what_another_installation_made_is_never_swept(subject: Subject) -> None:
    ours, theirs = subject.backend(), subject.backend(installation="there")
    lease = subject.lease()
    await theirs.issue(lease)
    assert lease.external in await theirs.names()
    assert lease.external not in await ours.names()
    await theirs.revoke(lease)
    await ours.close()
    await theirs.close()


async def test_a_wrong_administrator_is_said_without_the_password(
    subject: Subject, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text("not-the-password-marker")
    settings = {**subject.setup.credential.settings, "password": f"file:{wrong}"}
    credential = msgspec.structs.replace(subject.setup.credential, settings=settings)
    backend = subject.backend(credential=credential)
    with pytest.raises(Misconfigured) as refused:
        await backend.issue(subject.lease())
    assert "marker" not in f"{refused.value} {refused.value!r} {refused.value.__context__}"
    await backend.close()


async def test_a_secret_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    async def never(secret_id: str) -> str:
        raise AssertionError(secret_id)

    open_to_all = tmp_path / "open"
    open_to_all.write_text("the-secret-itself")
    open_to_all.chmod(0o644)
    reader = References(never)
    for reference in (
        f"file:{open_to_all}",
        f"file:{tmp_path / 'missing'}",
        f"file:{tmp_path}",
        "file:/dev/zero",
        "env:MIDFLIGHT_NO_SUCH_VARIABLE",
        "the-secret-itself",
    ):
        with pytest.raises(Misconfigured) as refused:
            await reader.read(reference)
        assert "the-secret-itself" not in str(refused.value)
    open_to_all.chmod(0o600)
    assert await reader.read(f"file:{open_to_all}") == "the-secret-itself"


async def test_a_verifier_tells_nothing_and_is_what_the_server_wants(
    subject: Subject, admin: Any
) -> None:
    await admin.execute(f"CREATE ROLE scram LOGIN PASSWORD '{verifier('pass-word')}'")
    fields = {**subject.setup.credential.settings, "username": "scram", "database": "postgres"}
    secret = Secret(fields={key: str(value) for key, value in fields.items()})
    good = Secret(fields={**secret.fields, "password": "pass-word"})
    bad = Secret(fields={**secret.fields, "password": "pass-worD"})
    assert await subject.works(good)
    assert not await subject.works(bad)
    await admin.execute("DROP ROLE scram")
