"""How fast a revocation cuts: half of 1,000 in flight, the others undisturbed; and what passes it.

In flight are plain calls, streams that clients listen on, and calls that a child process works on.
Then, with nothing else in flight, 50 callers race a revocation: they call before it is asked for,
while it is, and after it is acknowledged.
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

from bench.load import META, Connection, connect, request
from bench.plane import LOAD_CORE, Running, plane, upstream
from bench.report import Row, at_most

CALLS, STREAMS, STDIO = 300, 100, 100
EACH = CALLS + STREAMS + STDIO
ROUNDS = 5
RACERS, ATTEMPTS = 50, 2_000
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
    """What one round of cutting showed; seconds."""

    cut: float
    acknowledged: float
    disturbed: int
    unaccounted: int


@dataclass
class Race:
    """What one race showed."""

    acknowledged: float = 0.0
    """When, in monotonic seconds."""
    before: int = 0
    """Actions that passed before that."""
    after: int = 0
    """Attempts that began after it."""
    passed: int = 0
    """How many of these passed."""
    late: float = 0.0
    """How much later than the acknowledgement the upstream heard of a call, in seconds."""


def run() -> list[Row]:
    """Measure; the median of several rounds, and sums of what must not be."""
    os.sched_setaffinity(0, {LOAD_CORE})
    with upstream() as url, plane(url, more=CHILD) as running:
        rounds = [uvloop.run(_round(running, number, url)) for number in range(ROUNDS)]
        races = [uvloop.run(_race(running, number, url)) for number in range(ROUNDS)]
    p99 = sorted(r.cut for r in rounds)[ROUNDS // 2]
    acknowledged = sorted(r.acknowledged for r in rounds)[ROUNDS // 2]
    mix = f"{CALLS} calls, {STREAMS} streams, {STDIO} stdio"
    after, before = sum(r.after for r in races), sum(r.before for r in races)
    return [
        at_most(f"revoke: 99 % of {EACH} cut ({mix}) among 1,000, all told", p99 * 1e3, "ms", 50),
        Row("revoke: acknowledged (durable) after", acknowledged * 1e3, "ms"),
        at_most("revoke: flights of others disturbed", sum(r.disturbed for r in rounds), "", 0),
        at_most(
            "revoke: bytes at the upstreams that the impact record does not say, or says too much",
            sum(r.unaccounted for r in rounds),
            "bytes",
            0,
        ),
        at_most(
            f"race: passed of {after:,} attempts after the acknowledgement ({before:,} before it)",
            sum(r.passed for r in races),
            "",
            0,
        ),
        at_most(
            "race: calls that the upstream heard after the acknowledgement",
            sum(r.late > 0 for r in races),
            "",
            0,
        ),
    ]


def _heard(url: str) -> dict[str, float]:
    """Bytes of calls that the upstream has counted, and when the last came."""
    body = b'{"jsonrpc": "2.0", "id": 1, "method": "bench/bytes"}'
    asked = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(asked) as answer:
        return json.loads(answer.read())["result"]


async def _heard_by_child(running: Running, token: str) -> int:
    """Bytes of calls that the child process of this run has counted, this one's included."""
    connection = await connect(_child(running))
    answer = json.loads(await connection.call(request(_child(running), token, "look")))
    connection.transport.close()
    return int(answer["result"]["content"][0]["text"].split()[0])


def _child(running: Running) -> str:
    return running.url.removesuffix("/up") + "/child"


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
    return [
        *(request(running.url, token, "hang") for _ in range(CALLS)),
        *(_listen(running.url, token) for _ in range(STREAMS)),
        *(request(_child(running), token, "hang") for _ in range(STDIO)),
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

    async def heard() -> int:
        return int((await asyncio.to_thread(_heard, url))["bytes"])

    before = await heard()
    pairs = zip(connections, _raw(running, turned_token), strict=False)
    doomed = [asyncio.ensure_future(hang(c, raw)) for c, raw in pairs]
    await flying(EACH)
    received = before
    while (now := await heard()) != received or now == before:
        received = now
        await asyncio.sleep(0.1)
    # The child serves this run alone, and has read all that was written before it was asked.
    counted = {"up": received - before, "child": await _heard_by_child(running, turned_token)}
    pairs = zip(connections[EACH:], _raw(running, honest_token), strict=True)
    spared = [asyncio.ensure_future(c.call(raw)) for c, raw in pairs]
    await flying(2 * EACH)
    # A child process that starts would share the plane's core: these, too, are really in flight.
    await _heard_by_child(running, honest_token)
    began = time.perf_counter()
    receipt = await asyncio.to_thread(
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
    assert sum(receipt["impact"]["kinds"].values()) == EACH, receipt["impact"]["kinds"]
    ordered = sorted(moment - began for moment in told)
    return Round(
        cut=ordered[int(0.99 * EACH) - 1],
        acknowledged=acknowledged,
        disturbed=disturbed,
        unaccounted=sum(
            abs(receipt["impact"]["bytes_out"][name] - count) for name, count in counted.items()
        ),
    )


async def _race(running: Running, number: int, url: str) -> Race:
    """Callers who do not stop, over HTTP and to the child, and a revocation in between."""
    racer, token = await asyncio.to_thread(running.agent, f"racer-{number}")
    race = Race()
    begun = asyncio.Event()

    async def caller(where: str) -> None:
        connection = await connect(where)
        while race.after < ATTEMPTS:
            is_after = bool(race.acknowledged)
            answer = await connection.call(request(where, token, "look"))
            passed = b'"isError":true' not in answer and b'"error":' not in answer[:60]
            race.after += is_after
            race.passed += passed and is_after
            race.before += passed and not is_after
            if race.before > 10 * RACERS:
                begun.set()
        connection.transport.close()

    places = [_child(running) if place % 5 == 0 else running.url for place in range(RACERS)]
    callers = [asyncio.ensure_future(caller(where)) for where in places]
    await begun.wait()
    await asyncio.to_thread(
        running.control.post,
        "/v1/revocations",
        scope={"kind": "workload", "id": racer},
        reason="bench",
    )
    race.acknowledged = time.monotonic()
    await asyncio.gather(*callers)
    race.late = (await asyncio.to_thread(_heard, url))["last"] - race.acknowledged
    return race
