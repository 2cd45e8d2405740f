"""How fast a revocation cuts: 500 of 1,000 calls in flight, the others undisturbed."""

from __future__ import annotations

import asyncio
import os
import time

import uvloop

from bench.load import Connection, connect, request
from bench.plane import LOAD_CORE, Running, plane, upstream
from bench.report import Row, at_most

EACH = 500
ROUNDS = 5


def run() -> list[Row]:
    """Measure; the median of several rounds."""
    os.sched_setaffinity(0, {LOAD_CORE})
    with upstream() as url, plane(url) as running:
        rounds = [uvloop.run(_round(running, number)) for number in range(ROUNDS)]
    p99 = sorted(r[0] for r in rounds)[ROUNDS // 2]
    acknowledged = sorted(r[1] for r in rounds)[ROUNDS // 2]
    disturbed = sum(r[2] for r in rounds)
    return [
        at_most("revoke: 99 % of 500 cut among 1,000, all clients told", p99 * 1e3, "ms", 50),
        Row("revoke: acknowledged (durable) after", acknowledged * 1e3, "ms"),
        at_most("revoke: calls of others disturbed", disturbed, "calls", 0),
    ]


async def _round(running: Running, number: int) -> tuple[float, float, int]:
    turned, turned_token = await asyncio.to_thread(running.agent, f"turned-{number}")
    _, honest_token = await asyncio.to_thread(running.agent, f"honest-{number}")
    connections = [await connect(running.url) for _ in range(2 * EACH)]
    told: list[float] = []

    async def hang(connection: Connection, token: str, *, note: bool) -> None:
        answer = await connection.call(request(running.url, token, "hang"))
        if note:
            assert b'"interrupted"' in answer, answer[:300]
            told.append(time.perf_counter())

    doomed = [asyncio.ensure_future(hang(c, turned_token, note=True)) for c in connections[:EACH]]
    spared = [asyncio.ensure_future(hang(c, honest_token, note=False)) for c in connections[EACH:]]
    while len(await asyncio.to_thread(running.control.get, "/v1/flights")) < 2 * EACH:
        await asyncio.sleep(0.05)
    began = time.perf_counter()
    await asyncio.to_thread(
        running.control.post,
        "/v1/revocations",
        scope={"kind": "workload", "id": turned},
        reason="bench",
    )
    acknowledged = time.perf_counter() - began
    await asyncio.gather(*doomed)
    disturbed = sum(task.done() for task in spared)
    for task in spared:
        task.cancel()
    await asyncio.gather(*spared, return_exceptions=True)
    for connection in connections:
        connection.transport.close()
    ordered = sorted(moment - began for moment in told)
    return ordered[int(0.99 * EACH) - 1], acknowledged, disturbed
