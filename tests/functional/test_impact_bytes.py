"""What an impact record says has left is what the upstream has received, byte for byte.

Over HTTP and over stdio, in actions that completed, that were cut while they hung, and that were
cut in the middle of a body that the upstream had not read yet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cut_kit import begin, call, caller, records

from gateways import AGENT, OPERATOR, running_gateway
from midflight.domain.records import Outcome
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Performed, Refused
from servers.counting_server import Counted, command, counted_in, counting

pytestmark = pytest.mark.anyio

TEXT = "ä text with “quotes”, a line\nand an emoji 🛰"


async def test_over_http_and_stdio_completed_and_cut(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    async with counting() as counted:
        upstreams = [{"name": "web", "url": counted.url}, {"name": "child", **command(journal)}]
        async with running_gateway(tmp_path, upstreams) as gateway:
            await gateway.pin_all()
            plane = gateway.plane
            run = await gateway.open_run()
            ended = await gateway.open_run()
            for who in (caller(AGENT, run=run), caller(AGENT, run=ended)):
                for upstream in ("web", "child"):
                    for size in (0, 10, 3_000):
                        done = await begin(plane, who, call(upstream, "note", text=TEXT * size))
                        assert isinstance(done, Performed)
            # The child of a run that has ended is gone; what it was sent is not forgotten.
            await plane.runs.close_run(ended, author=OPERATOR, reason="done")
            who = caller(AGENT, run=run)
            hanging = [
                begin(plane, who, call(upstream, "hold", number=number))
                for upstream in ("web", "child")
                for number in range(20)
            ]
            await counted.until(6 + 20)
            while sum(f.bytes_out > 0 for f in plane.interruption.flights()) < 40:
                await asyncio.sleep(0)
            scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
            receipt = await plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
            refused = await asyncio.gather(*hanging)
            assert all(isinstance(each, Refused) for each in refused)
            impact = receipt.impact
            assert (impact.completed, len(impact.cut)) == (12, 40)
            assert impact.bytes_out["web"] == counted.bytes
            outcomes = await records(plane, Outcome)
            sent = sum(o.bytes_out for o in outcomes if o.intent)
            assert sum(impact.bytes_out.values()) == sent
        # The children have ended with the plane, so that what they wrote is whole.
        assert impact.bytes_out["child"] == counted_in(journal)["bytes"]


@asynccontextmanager
async def unreading() -> AsyncIterator[tuple[str, asyncio.Event, list[bytes]]]:
    """A modern server that reads the head of a call, and the rest when the test lets it."""
    go, bodies = asyncio.Event(), list[bytes]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                (line,) = [x for x in head.split(b"\r\n") if x.startswith(b"content-length")]
                length = int(line.split(b":")[1])
                if b"mcp-method: tools/call" in head:
                    writer.transport.pause_reading()  # type: ignore[attr-defined]
                    await go.wait()
                    writer.transport.resume_reading()  # type: ignore[attr-defined]
                    bodies.append(await reader.read(-1))
                    return
                message = json.loads(await reader.readexactly(length))
                writer.write(_answer(message))
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 26)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", go, bodies
    finally:
        server.close()


def _answer(message: dict[str, Any]) -> bytes:
    body = json.dumps(
        {"jsonrpc": "2.0", "id": message["id"], "result": Counted().answer(message)}
    ).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def test_in_the_middle_of_a_body(tmp_path: Path) -> None:
    """What was still in our own buffer has not left, and is not said to have."""
    async with (
        unreading() as (url, go, bodies),
        running_gateway(tmp_path, [{"name": "web", "url": url}]) as gateway,
    ):
        await gateway.pin_all()
        plane = gateway.plane
        run = await gateway.open_run()
        text = "x" * (12 * 1024 * 1024)
        doing = begin(plane, caller(AGENT, run=run), call("web", "note", text=text))
        before = -1
        # Until the kernel takes no more of it.
        while True:
            sent = sum(f.bytes_out for f in plane.interruption.flights())
            if sent and sent == before:
                break
            before = sent
            for _ in range(2_000):
                await asyncio.sleep(0)
        assert 0 < sent < len(text)
        scope = Scope(kind=ScopeKind.RUN, id=run)
        receipt = await plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
        assert isinstance(await doing, Refused)
        go.set()
        while not bodies:
            await asyncio.sleep(0)
        assert 0 < receipt.impact.bytes_out["web"] < sent
        assert receipt.impact.bytes_out["web"] == len(bodies[0])
        assert receipt.impact.unknown == receipt.impact.cut
