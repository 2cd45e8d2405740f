"""The plane is killed with SIGKILL while upstreams work on tasks: none of them outlives its right.

The upstream is in the test's process, and goes on: what acts is it, and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from process_kit import Connection, ProcessPlane, process_plane

from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.records import Observed
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.ledger_query import recorded
from servers.counting_server import Counted, counting

pytestmark = pytest.mark.anyio


@contextlib.asynccontextmanager
async def plane_of(folder: Path) -> AsyncIterator[tuple[ProcessPlane, Counted, str]]:
    """A plane over a server that works in tasks, with one workload."""
    async with counting() as counted:
        upstream = f'[[upstream]]\nname = "up"\nurl = "{counted.url}"\nreach = "closed"\n'
        with process_plane(folder, upstream) as plane:
            await asyncio.to_thread(plane.start)
            workload = await asyncio.to_thread(plane.register, "one")
            await asyncio.to_thread(plane.pin, "up", {"work": ("read", "closed")})
            yield plane, counted, workload


async def work(plane: ProcessPlane, token: str, times: int = 1) -> list[str]:
    """Begin tasks; what the agent is told they are called."""
    with closing(Connection(plane.url)) as connection:
        said = [await connection.call(token, "work") for _ in range(times)]
    return [each.message["result"]["taskId"] for each in said]


async def killed(plane: ProcessPlane) -> None:
    plane.kill()
    assert await asyncio.to_thread(plane.reaped) == -signal.SIGKILL


async def cancelled(counted: Counted, number: int) -> list[str]:
    while len(counted.cancelled) < number:
        counted.changed.clear()
        await counted.changed.wait()
    return sorted(counted.cancelled)


async def flights(plane: ProcessPlane) -> list[dict[str, Any]]:
    return list(await asyncio.to_thread(plane.control.get, "/v1/flights"))


async def test_what_was_revoked_when_nobody_ran_is_cancelled_by_the_next_process(
    tmp_path: Path,
) -> None:
    async with plane_of(tmp_path) as (plane, counted, workload):
        run, token = await asyncio.to_thread(plane.open_run, workload)
        other, other_token = await asyncio.to_thread(plane.open_run, workload)
        (first, second), (third,) = await work(plane, token, 2), await work(plane, other_token)
        # Only the log has heard of it, as after `midflight panic`, or a kill just behind it.
        await killed(plane)
        assert counted.cancelled == []
        await _append(plane, run)
        await asyncio.to_thread(plane.start)
        assert await cancelled(counted, 2) == sorted((first, second))
        # That of the other run goes on, in the registry; and ends with its run.
        (left,) = [flight for flight in await flights(plane) if flight["kind"] == "task"]
        assert left["run"] == other
        await asyncio.to_thread(plane.control.post, f"/v1/runs/{other}/close", reason="done")
        assert await cancelled(counted, 3) == sorted((first, second, third))
        assert await asyncio.to_thread(plane.stop) == 0
        # And nothing is left to be cancelled once more.
        await asyncio.to_thread(plane.start)
        assert await asyncio.to_thread(plane.stop) == 0
        assert len(counted.cancelled) == 3
        said = [r.details["run"] for r in _records(plane) if r.what == "task.cancelled"]
        assert sorted(said) == sorted((run, run, other))


@pytest.mark.slow
async def test_a_revocation_that_is_killed_in_its_middle_still_cancels(tmp_path: Path) -> None:
    """Acknowledged, and the upstream has not answered its cancellation: it hears it again."""
    async with plane_of(tmp_path) as (plane, counted, workload):
        run, token = await asyncio.to_thread(plane.open_run, workload)
        (task,) = await work(plane, token)
        counted.deaf = True
        scope = {"kind": "run", "id": run}
        revoke = asyncio.to_thread(
            plane.control.post, "/v1/revocations", scope=scope, reason="turned"
        )
        assert (await revoke)["durable"]
        await cancelled(counted, 1)
        await killed(plane)
        counted.deaf = False
        await asyncio.to_thread(plane.start)
        assert await cancelled(counted, 2) == [task, task]
        assert await asyncio.to_thread(plane.stop) == 0


@pytest.mark.slow
async def test_a_task_that_has_ended_is_not_cancelled_after_a_crash(tmp_path: Path) -> None:
    async with plane_of(tmp_path) as (plane, counted, workload):
        run, token = await asyncio.to_thread(plane.open_run, workload)
        (task,) = await work(plane, token)
        await asyncio.to_thread(plane.control.post, f"/v1/runs/{run}/close", reason="done")
        assert await cancelled(counted, 1) == [task]
        while any(flight["kind"] == "task" for flight in await flights(plane)):
            await asyncio.sleep(0)
        while _kept(plane):
            await asyncio.sleep(0)
        await killed(plane)
        await asyncio.to_thread(plane.start)
        assert not [flight for flight in await flights(plane) if flight["kind"] == "task"]
        assert await asyncio.to_thread(plane.stop) == 0
        assert counted.cancelled == [task]


async def _append(plane: ProcessPlane, run: str) -> None:
    """Put a revocation into the log while nobody runs."""
    store = SqliteStore(plane.state / "midflight.sqlite3")
    await store.open()
    await store.append_revocation(
        Revocation(
            id="rev_of_the_test",
            scope=Scope(kind=ScopeKind.RUN, id=run),
            reason="turned",
            author="olivia",
            proof=f"uid:{os.getuid()}",
            at=0.0,
        )
    )
    await store.close()


def _kept(plane: ProcessPlane) -> int:
    with closing(sqlite3.connect(plane.state / "midflight.sqlite3")) as connection:
        return int(connection.execute("SELECT count(*) FROM upstream_tasks").fetchone()[0])


def _records(plane: ProcessPlane) -> list[Observed]:
    reader = SqliteLedgerReader(plane.state / "ledger.sqlite3")
    reader.open()
    try:
        found = [recorded(position, entry).record for position, entry in reader.entries()]
    finally:
        reader.close()
    return [record for record in found if isinstance(record, Observed)]
