"""A broker is killed with SIGKILL at each step of the lease protocol: nothing is left unreaped.

The child lends a role of a real PostgreSQL, over a store in SQLite that survives it. It dies before
or after a step of its store or of its backend. Then another broker starts on the same store, and
when it has started, every role is gone and every lease is accounted for; so is a second time.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from backend_kit import connect, on_postgres
from counterpart_kit import Postgres, postgres
from lease_kit import LeasePlane, credential
from mortal_kit import POINTS, Die, LateClock, Mortal, MortalBackend, MortalStore, killed
from store_kit import with_schema

from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.domain.errors import MidflightError
from midflight.domain.lease import NAME_PREFIX, LeaseState

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHORT = ("after issue", "after begin_revoking")


def plane_on(folder: Path, die: Die | None = None) -> LeasePlane:
    store = MortalStore(folder / "midflight.sqlite3")
    makers: dict[str, Any] = {"postgres": PostgresBackend}
    if die is not None:
        store.die = die  # type: ignore[method-assign]
        makers = {"postgres": lambda setup: MortalBackend(PostgresBackend(setup), die)}
    return LeasePlane(store=store, clock=LateClock(), makers=makers)


async def live_and_die(folder: Path, settings: dict[str, Any], moment: str) -> None:
    """What the child does: lend, use, renew, and take back; it dies on the way."""
    plane = plane_on(folder, Mortal(moment))
    live = await plane.begin(
        credential(
            backend="postgres", scopes=("reader", "writer"), settings=settings, injections=()
        )
    )
    held = await plane.lease(live)
    session = await connect(held.secret)
    await session.execute("SELECT 1")
    assert isinstance(plane.clock, LateClock)
    plane.clock.ahead = 45.0
    await plane.lease(live)
    await plane.settle()
    await plane.runs.close_run(live.run.id, author=plane_author())
    await plane.settle()


def plane_author() -> Any:
    from midflight.testing import OPERATOR  # noqa: PLC0415 -- also in the child

    return OPERATOR


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
async def settings(
    server: Postgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, Any]]:
    async with on_postgres(server, tmp_path_factory.mktemp("admin")) as subject:
        yield dict(subject.settings)


async def roles(server: Postgres) -> list[str]:
    admin = await asyncpg.connect(server.dsn(), ssl=False)
    try:
        found = await admin.fetch("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)",
                                  NAME_PREFIX)  # fmt: skip
    finally:
        await admin.close()
    return [row["rolname"] for row in found]


async def child(folder: Path, settings: dict[str, Any], moment: str) -> None:
    words = [f"{key}={value}" for key, value in settings.items()]
    await killed(__file__, str(with_schema(folder)), moment, *words)


async def lease_dies_at(
    moment: str, server: Postgres, settings: dict[str, Any], folder: Path
) -> None:
    await child(folder, settings, moment)
    left = await roles(server)
    if moment in ("after issue", "before activate_lease", "after activate_lease"):
        assert len(left) == 1, "the kill was to leave a role behind"
    after = plane_on(folder)
    await after.store.open()
    await after.ledger.start("test", "fixed")
    assert len(await after.store.list_leases()) == (moment != "before create_lease")
    await after.broker.start()
    assert await roles(server) == []
    states = {lease.state for lease in await after.store.list_leases()}
    assert states <= {LeaseState.REVOKED}
    assert await after.reaper.reap() == 0
    await after.broker.close()
    await after.ledger.close()
    await after.store.close()


@pytest.mark.parametrize("moment", SHORT)
async def test_a_broker_that_is_killed_leaves_nothing_unreaped(
    moment: str, server: Postgres, settings: dict[str, Any], tmp_path: Path
) -> None:
    await lease_dies_at(moment, server, settings, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("moment", [point for point in POINTS if point not in SHORT])
async def test_a_broker_that_is_killed_anywhere_leaves_nothing_unreaped(
    moment: str, server: Postgres, settings: dict[str, Any], tmp_path: Path
) -> None:
    await lease_dies_at(moment, server, settings, tmp_path)


async def test_a_reaper_that_is_killed_is_followed_by_another(
    server: Postgres, settings: dict[str, Any], tmp_path: Path
) -> None:
    await child(tmp_path, settings, "after activate_lease")
    reaping = plane_on(tmp_path)
    await reaping.store.open()
    await reaping.ledger.start("test", "fixed")
    await reaping.credentials.start()
    # It has claimed what is due, and goes no further.
    now = int(reaping.clock.now())
    claimed = await reaping.store.claim_due(now=now, until=now + 60, holder="x", limit=10)
    assert len(claimed) == 1
    await reaping.store.close()
    after = plane_on(tmp_path)
    await after.store.open()
    await after.ledger.start("test", "fixed")
    await after.broker.start()
    assert await roles(server) == []
    with contextlib.suppress(MidflightError):
        await after.broker.close()
    await after.ledger.close()
    await after.store.close()


if __name__ == "__main__":
    given: dict[str, Any] = dict(word.split("=", 1) for word in sys.argv[3:])
    asyncio.run(live_and_die(Path(sys.argv[1]), given, sys.argv[2]))
    sys.exit("it was to die")
