"""How fast a revocation cuts: half of 1,000 in flight, the others undisturbed.

In flight are plain calls, streams that clients listen on, and calls that a child process works on.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import uvloop

from bench.load import META, Connection, closed_loop, connect, request
from bench.plane import LOAD_CORE, Running, plane, upstream
from bench.report import Row, at_most

CALLS, STREAMS, STDIO = 300, 100, 100
EACH = CALLS + STREAMS + STDIO
ROUNDS = 5
ATTEMPTS = 10_000
CHILD = f"""
[[upstream]]
name = "child"
command = "{sys.executable}"
args = ["-m", "bench.echo_stdio"]
cwd = "{Path.cwd()}"
reach = "closed"
timeout = 600
"""


@dataclass
class Round:
    """What one round showed; seconds."""

    cut: float
    acknowledged: float
    disturbed: int
    passed: int
    unaccounted: int


def run() -> list[Row]:
    """Measure; the median of several rounds, and sums of what must not be."""
    os.sched_setaffinity(0, {LOAD_CORE})
    with upstream() as url, plane(url, more=CHILD) as running:
        rounds = [uvloop.run(_round(running, number, url)) for number in range(ROUNDS)]
    p99 = sorted(r.cut for r in rounds)[ROUNDS // 2]
    acknowledged = sorted(r.acknowledged for r in rounds)[ROUNDS // 2]
    mix = f"{CALLS} calls, {STREAMS} streams, {STDIO} stdio"
    return [
        at_most(f"revoke: 99 % of {EACH} cut ({mix}) among 1,000, all told", p99 * 1e3, "ms", 50),
        Row("revoke: acknowledged (durable) after", acknowledged * 1e3, "ms"),
        at_most("revoke: flights of others disturbed", sum(r.disturbed for r in rounds), "", 0),
        at_most(
            f"revoke: actions that passed of {ATTEMPTS * ROUNDS:,} tried afterwards",
            sum(r.passed for r in rounds),
            "",
            0,
        ),
        at_most(
            "revoke: bytes at the upstream that the impact record does not say, or says too much",
            sum(r.unaccounted for r in rounds),
            "bytes",
            0,
        ),
    ]


def _received(url: str) -> int:
    """Bytes of calls that the upstream has counted."""
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "bench/bytes"}'
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        return int(json.loads(answer.read())["result"]["bytes"])


def _listen(url: str, token: str) -> bytes:
    parts = urlsplit(url)
    params = {"_meta": META, "notifications": {"toolsListChanged": True}}
    message = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": params}
    body = json.dumps(message).encode()
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2026-07-28\r\n"
        f"Mcp-Method: subscriptions/listen\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _raw(running: Running, token: str) -> list[bytes]:
    """The requests of one agent."""
    child = running.url.removesuffix("/up") + "/child"
    return [
        *(request(running.url, token, "hang") for _ in range(CALLS)),
        *(_listen(running.url, token) for _ in range(STREAMS)),
        *(request(child, token, "hang") for _ in range(STDIO)),
    ]


async def _round(running: Running, number: int, url: str) -> Round:
    turned, turned_token = await asyncio.to_thread(running.agent, f"turned-{number}")
    _, honest_token = await asyncio.to_thread(running.agent, f"honest-{number}")
    connections = [await connect(running.url) for _ in range(2 * EACH)]
    told: list[float] = []

    async def hang(connection: Connection, raw: bytes) -> None:
        await connection.call(raw)
        told.append(time.perf_counter())

    async def flying(count: int) -> None:
        while len(await asyncio.to_thread(running.control.get, "/v1/flights")) < count:
            await asyncio.sleep(0.05)

    before = await asyncio.to_thread(_received, url)
    pairs = zip(connections, _raw(running, turned_token), strict=False)
    doomed = [asyncio.ensure_future(hang(c, raw)) for c, raw in pairs]
    await flying(EACH)
    received = before
    while (now := await asyncio.to_thread(_received, url)) != received or now == before:
        received = now
        await asyncio.sleep(0.1)
    received -= before
    pairs = zip(connections[EACH:], _raw(running, honest_token), strict=True)
    spared = [asyncio.ensure_future(c.call(raw)) for c, raw in pairs]
    await flying(2 * EACH)
    began = time.perf_counter()
    receipt = await asyncio.to_thread(
        running.control.post,
        "/v1/revocations",
        scope={"kind": "workload", "id": turned},
        reason="bench",
    )
    acknowledged = time.perf_counter() - began
    await asyncio.gather(*doomed)
    tried = await closed_loop(running.url, turned_token, "look", callers=50, calls=ATTEMPTS)
    disturbed = sum(task.done() for task in spared)
    for task in spared:
        task.cancel()
    await asyncio.gather(*spared, return_exceptions=True)
    for connection in connections:
        connection.transport.close()
    assert sum(receipt["impact"]["kinds"].values()) == EACH, receipt["impact"]["kinds"]
    ordered = sorted(moment - began for moment in told)
    return Round(
        cut=ordered[int(0.99 * EACH) - 1],
        acknowledged=acknowledged,
        disturbed=disturbed,
        passed=len(tried.latencies) - tried.refused,
        unaccounted=abs(receipt["impact"]["bytes_out"]["up"] - received),
    )
