"""Leases: what lending one costs, and what ten thousand of them cost to keep and to look through.

PostgreSQL is the real one that tests use, started for this; without it that row is left out.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

from bench.report import Row, at_most, median, percentile

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "kit"))

from backend_kit import on_postgres
from counterpart_kit import postgres
from lease_kit import READ, LeasePlane, credential

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.postgres import PostgresBackend
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.lease import Injection, Placement

MANY = 10_000
A_RUN = 50
LENDINGS = 100


def run() -> list[Row]:
    """All rows."""
    return asyncio.run(_run())


async def _run() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return [*await _lending(Path(folder)), *await _many(Path(folder))]


async def _lending(folder: Path) -> list[Row]:
    with postgres() as server:
        async with on_postgres(server, folder) as subject:
            plane = LeasePlane(
                store=SqliteStore(folder / "lending.sqlite3"),
                clock=SystemClock(),
                makers={"postgres": PostgresBackend},
            )
            await plane.begin(
                credential(
                    backend="postgres",
                    scopes=("reader",),
                    injections=(Injection(placement=Placement.ENV, name="URL", template="{url}"),),
                    settings=dict(subject.settings),
                )
            )
            await plane.lease(await plane.open())
            took: list[float] = []
            for _ in range(LENDINGS):
                live = await plane.open()
                began = time.perf_counter()
                await plane.lease(live)
                took.append((time.perf_counter() - began) * 1e3)
            began = time.perf_counter()
            await plane.broker.close()
            ended = (time.perf_counter() - began) * 1e3 / (LENDINGS + 1)
            await plane.close()
    return [
        at_most("lease from PostgreSQL: median", median(took), "ms", 20),
        Row("lease from PostgreSQL: 99 %", percentile(took, 99), "ms"),
        Row(f"lease from PostgreSQL: revoked, each of {LENDINGS + 1} at once", ended, "ms"),
    ]


async def _many(folder: Path) -> list[Row]:
    store = SqliteStore(folder / "many.sqlite3")
    plane = LeasePlane(store=store, clock=SystemClock())
    scopes = tuple(f"s{number}" for number in range(A_RUN))
    await plane.begin(credential(scopes=scopes, settings={}, ttl_s=3_600, max_ttl_s=3_600))
    runs = [await plane.open() for _ in range(MANY // A_RUN)]
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for live in runs:
        await asyncio.gather(*(plane.lease(live, scopes=[scope]) for scope in scopes))
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    took: list[float] = []
    for _ in range(5):
        began = time.perf_counter()
        await plane.broker.sweep()
        took.append(time.perf_counter() - began)
    live, workload = runs[0], await plane.workload()
    asked: list[float] = []  # one of them may renew it, so the median is looked at
    for _ in range(1_000):
        began = time.perf_counter()
        await plane.broker.lease_for(
            live, workload, "db", upstream="one", traits=READ, scopes=["s0"]
        )
        asked.append((time.perf_counter() - began) * 1e6)
    warm = median(asked)
    began = time.perf_counter()
    await plane.broker.close()
    ended = time.perf_counter() - began
    memory = (after - before) / 1e6
    return [
        at_most(f"{MANY:,} live leases: memory, with their records", memory, "MB", 100),
        at_most(f"{MANY:,} live leases: one reaper pass, the worst", max(took), "s", 1),
        Row(f"{MANY:,} live leases: all revoked at a stop", ended, "s"),
        Row("lease at hand: asked for again, Cedar apart", warm, "µs"),
    ]
