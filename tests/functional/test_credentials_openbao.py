"""The OpenBao backend against a real OpenBao, with a real PostgreSQL behind its database engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Generator
from typing import Any

import asyncpg
import msgspec
import pytest
from counterpart_kit import OpenBao, Postgres, openbao, postgres
from credential_kit import MARKER, Secrets, credential, lease

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.openbao import OpenBaoBackend
from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.lease import Revocability

pytestmark = [pytest.mark.anyio, pytest.mark.openbao]

REVOCATION = [
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{{name}}';",
    'DROP ROLE IF EXISTS "{{name}}";',
]
POLICY = """
path "auth/token/create" { capabilities = ["update"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "auth/token/accessors" { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
path "auth/token/renew-accessor" { capabilities = ["update"] }
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
path "sys/capabilities-self" { capabilities = ["update"] }
path "sys/leases/revoke" { capabilities = ["update"] }
path "sys/leases/renew" { capabilities = ["update"] }
path "database/creds/*" { capabilities = ["read"] }
path "kv/data/*" { capabilities = ["read"] }
"""


@pytest.fixture(scope="module")
def database() -> Generator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory, database: Postgres) -> Generator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as running:
        running.call("PUT", "sys/policies/acl/midflight", {"policy": POLICY})
        for name, path in (("reads", "database/creds/reader"), ("keyed", "kv/data/static")):
            rule = f'path "{path}" {{ capabilities = ["read"] }}'
            running.call("PUT", f"sys/policies/acl/{name}", {"policy": rule})
        running.call("POST", "sys/mounts/database", {"type": "database"})
        running.call("POST", "sys/mounts/kv", {"type": "kv", "options": {"version": "2"}})
        running.call("POST", "kv/data/static", {"data": {"password": MARKER}})
        running.call(
            "POST",
            "database/config/shop",
            {
                "plugin_name": "postgresql-database-plugin",
                "allowed_roles": "reader",
                "connection_url": "postgresql://{{username}}:{{password}}@"
                f"{database.host}:{database.port}/postgres?sslmode=disable",
                "username": "postgres",
                "password": database.password,
            },
        )
        create = (
            "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"
        )
        running.call(
            "POST",
            "database/roles/reader",
            {
                "db_name": "shop",
                "creation_statements": [create],
                "revocation_statements": REVOCATION,
                "default_ttl": "1h",
                "max_ttl": "4h",
            },
        )
        running.call("POST", "sys/auth/approle", {"type": "approle"})
        running.call(
            "POST",
            "auth/approle/role/midflight",
            {"token_policies": "midflight,reads,keyed", "token_ttl": "2h", "token_max_ttl": "4h"},
        )
        yield running


@pytest.fixture
def secrets(bao: OpenBao) -> Secrets:
    made = bao.call("POST", "auth/approle/role/midflight/secret-id", {})["data"]["secret_id"]
    return Secrets({"env:BAO_SECRET_ID": made, "env:BAO_TOKEN": bao.token})


def settings(bao: OpenBao, **more: Any) -> dict[str, Any]:
    role_id = bao.call("GET", "auth/approle/role/midflight/role-id")["data"]["role_id"]
    auth = {"method": "approle", "role_id": role_id, "secret_id": "env:BAO_SECRET_ID"}
    engine = {"path": "database/creds/reader", "policies": ["reads"]}
    return {"url": bao.url, "auth": auth, **(engine if more.get("kind") != "token" else {}), **more}


def backend(
    bao: OpenBao, secrets: Secrets, *, scopes: tuple[str, ...] = (), **more: Any
) -> OpenBaoBackend:
    source = credential("openbao", settings(bao, **more), scopes=scopes)
    return OpenBaoBackend(source, references=secrets, clock=SystemClock())


@pytest.fixture
async def engine(bao: OpenBao, secrets: Secrets) -> AsyncGenerator[OpenBaoBackend]:
    one = backend(bao, secrets)
    yield one
    await one.close()


@pytest.fixture
async def tokens(bao: OpenBao, secrets: Secrets) -> AsyncGenerator[OpenBaoBackend]:
    one = backend(bao, secrets, kind="token", scopes=("reads", "keyed"))
    yield one
    await one.close()


async def session(database: Postgres, fields: dict[str, str]) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(database.dsn(fields["username"], fields["password"]))


async def roles(database: Postgres) -> int:
    admin = await asyncpg.connect(database.dsn())
    try:
        found = await admin.fetchval(
            "SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres'"
        )
    finally:
        await admin.close()
    return int(found)


async def test_a_dynamic_role_works_and_its_open_session_dies_on_revoke(
    engine: OpenBaoBackend, database: Postgres
) -> None:
    asked = lease()
    issued = await engine.issue(asked)
    held = await session(database, issued.secret.fields)
    assert await held.fetchval("SELECT 1") == 1
    assert issued.secret.fields["password"] not in repr(issued) + repr(issued.secret)
    assert issued.secret.fields["password"] not in issued.handle
    await engine.revoke(msgspec.structs.replace(asked, handle=issued.handle))
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await held.fetchval("SELECT 1")
    with pytest.raises(asyncpg.PostgresError):
        await session(database, issued.secret.fields)
    assert await roles(database) == 0
    # Again is success: the broker calls until it succeeds.
    await engine.revoke(msgspec.structs.replace(asked, handle=issued.handle))


async def test_it_lives_no_longer_than_the_lease_though_its_engine_would(
    engine: OpenBaoBackend, bao: OpenBao
) -> None:
    asked = lease(ttl_s=120)
    issued = await engine.issue(asked)
    assert issued.secret.expires_at is not None
    assert abs(issued.secret.expires_at - asked.expires_at) <= 2
    accessor = issued.handle.split(" ")[0]
    token = bao.call("POST", "auth/token/lookup-accessor", {"accessor": accessor})["data"]
    assert token["ttl"] <= 120
    assert token["meta"]["midflight_lease"] == asked.external
    assert token["policies"] == ["reads"]
    await engine.discard(asked.external)


async def test_a_crash_before_the_handle_was_written_leaves_nothing(
    bao: OpenBao, secrets: Secrets, engine: OpenBaoBackend, database: Postgres
) -> None:
    asked = lease()
    issued = await engine.issue(asked)
    held = await session(database, issued.secret.fields)
    # Another process, which knows the lease's name and nothing else.
    other = backend(bao, secrets)
    assert asked.external in await other.names()
    await other.revoke(asked)
    assert asked.external not in await other.names()
    await _until_no_roles(database, held)
    await other.close()


async def test_a_crash_between_the_token_and_its_secret_leaves_nothing(
    bao: OpenBao, secrets: Secrets, engine: OpenBaoBackend
) -> None:
    asked = lease()
    await engine._created(asked)  # and there it ended
    other = backend(bao, secrets)
    assert asked.external in await other.names()
    await other.revoke(asked)
    assert await other.names() == []
    await other.close()


async def _until_closed(held: Any) -> None:
    while not held.is_closed():
        with contextlib.suppress(asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError):
            await held.fetchval("SELECT 1")


async def _until_no_roles(database: Postgres, held: Any) -> None:
    # OpenBao ends what hangs under an ended token in a queue of its own.
    for _ in range(2_000):
        if await roles(database) == 0:
            break
    assert await roles(database) == 0
    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError)):
        await held.fetchval("SELECT 1")


async def test_issuing_again_replaces_what_was_there(
    engine: OpenBaoBackend, database: Postgres
) -> None:
    asked = lease()
    first = await engine.issue(asked)
    held = await session(database, first.secret.fields)
    second = await engine.issue(asked)
    assert second.handle != first.handle
    assert list(await engine.names()).count(asked.external) == 1
    await _until_closed(held)
    await engine.revoke(msgspec.structs.replace(asked, handle=second.handle))
    assert await roles(database) == 0


async def test_another_process_replaces_what_one_that_crashed_made(
    bao: OpenBao, secrets: Secrets, tokens: OpenBaoBackend
) -> None:
    asked = lease(scopes=("keyed",))
    first = await tokens.issue(asked)
    after = backend(bao, secrets, kind="token", scopes=("reads", "keyed"))
    second = await after.issue(asked)
    for issued, status in ((first, 403), (second, 200)):
        token = issued.secret.fields["token"]
        assert bao.ask("GET", "kv/data/static", token=token).status_code == status
    await after.revoke(asked)
    await after.close()


async def test_a_lease_is_renewed_as_far_as_its_end_and_no_further(
    engine: OpenBaoBackend,
) -> None:
    asked = lease(ttl_s=60, max_ttl_s=600)
    issued = await engine.issue(asked)
    active = msgspec.structs.replace(asked, handle=issued.handle)
    until = await engine.renew(active, expires_at=asked.created_at + 300)
    assert abs(until - (asked.created_at + 300)) <= 2
    capped = await engine.renew(active, expires_at=asked.created_at + 6_000)
    assert capped <= asked.max_expires_at + 2
    await engine.revoke(active)
    with pytest.raises(Conflict):
        await engine.renew(active, expires_at=asked.created_at + 300)


async def test_a_token_has_the_policies_of_its_scopes_and_no_other(
    tokens: OpenBaoBackend, bao: OpenBao
) -> None:
    asked = lease(scopes=("keyed",))
    issued = await tokens.issue(asked)
    token = issued.secret.fields["token"]
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 200
    assert bao.ask("GET", "database/creds/reader", token=token).status_code == 403
    assert bao.ask("POST", "auth/token/create", {}, token=token).status_code == 403
    assert token not in issued.handle
    await tokens.revoke(msgspec.structs.replace(asked, handle=issued.handle))
    assert bao.ask("GET", "kv/data/static", token=token).status_code == 403


async def test_what_another_midflight_made_is_not_listed_or_swept(
    bao: OpenBao, secrets: Secrets, engine: OpenBaoBackend
) -> None:
    source = credential("openbao", settings(bao))
    other = OpenBaoBackend(
        source, references=secrets, clock=SystemClock(), installation="elsewhere"
    )
    asked = lease()
    issued = await engine.issue(asked)
    assert asked.external in await engine.names()
    assert asked.external not in await other.names()
    await other.discard(asked.external)
    assert asked.external in await engine.names()
    await engine.revoke(msgspec.structs.replace(asked, handle=issued.handle))
    await other.close()


async def test_a_static_secret_is_no_lease(bao: OpenBao, secrets: Secrets) -> None:
    one = backend(bao, secrets, path="kv/data/static", policies=["keyed"])
    with pytest.raises(Misconfigured, match="has no lease") as refused:
        await one.issue(lease())
    assert MARKER not in str(refused.value)
    assert await one.names() == []  # the token it was read with is gone
    await one.close()


async def test_leases_do_not_outlive_the_token_they_hang_under(
    bao: OpenBao, secrets: Secrets
) -> None:
    # The login's token lives two hours and would take the lease along.
    one = backend(bao, secrets)
    with pytest.raises(Misconfigured, match="ends before a lease would"):
        await one.issue(lease(max_ttl_s=3 * 3_600))
    await one.close()
    # A role that makes orphans has no such tie.
    bao.call(
        "POST",
        "auth/token/roles/orphans",
        {"orphan": True, "allowed_policies": "reads", "renewable": True},
    )
    free = backend(bao, secrets, token_role="orphans")
    asked = lease(max_ttl_s=3 * 3_600)
    issued = await free.issue(asked)
    await free.revoke(msgspec.structs.replace(asked, handle=issued.handle))
    assert asked.external not in await free.names()
    await free.close()


async def test_midflights_own_token_is_taken_again_when_it_is_gone(
    engine: OpenBaoBackend, bao: OpenBao
) -> None:
    assert await engine.names() == []
    held = engine._session._standing
    assert held is not None
    bao.call("POST", "auth/token/revoke", {"token": held.token})
    asked = lease()
    issued = await engine.issue(asked)
    await engine.revoke(msgspec.structs.replace(asked, handle=issued.handle))


async def test_the_check_says_what_is_missing(
    bao: OpenBao, secrets: Secrets, engine: OpenBaoBackend
) -> None:
    assert "database/creds/reader" in await engine.check()
    assert engine.revocability is Revocability.IMMEDIATE
    made = bao.call("POST", "auth/token/create", {"policies": ["default"], "ttl": "1h"})
    secrets.table["env:BAO_TOKEN"] = made["auth"]["client_token"]
    poor = backend(bao, secrets, auth={"method": "token", "token": "env:BAO_TOKEN"})
    with pytest.raises(Misconfigured) as refused:
        await poor.check()
    await poor.close()
    assert "auth/token/create needs update" in refused.value.problems
    assert "auth/token/accessors needs list" in refused.value.problems
    secrets.table["env:BAO_TOKEN"] = MARKER
    false = backend(bao, secrets, auth={"method": "token", "token": "env:BAO_TOKEN"})
    with pytest.raises(Misconfigured) as refused:
        await false.check()
    await false.close()
    assert MARKER not in str(refused.value)
