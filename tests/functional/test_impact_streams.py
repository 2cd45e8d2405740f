"""The impact record byte for byte where bodies and connections are not plain.

Answers in chunks, as events that never end, compressed, elsewhere; a read that is sent again since
its kept connection was dead. In both directions: what the upstream has received is what the record
says has left, what it has written is what the outcome says has come.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cut_kit import begin, call, caller, records

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.action import Action, ActionKind
from midflight.domain.records import Impact, Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink

pytestmark = pytest.mark.anyio

TOOLS = ("plain", "chunked", "gzip", "redirect", "events", "half")
NOTE = "ä note with “quotes” 🛰"
DONE = {"resultType": "complete", "content": [{"type": "text", "text": "noted"}]}


class Odd:
    """A modern server that answers as the tool says, and counts what it reads and writes."""

    def __init__(self) -> None:
        self.url = ""
        self.elsewhere = ""
        self.received = 0
        self.written = 0
        self.connections = 0
        self.reads = 0
        self.holding = asyncio.Event()
        self.hangs_up = False
        self._going = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                (line,) = [x for x in head.split(b"\r\n") if x.startswith(b"content-length")]
                message = json.loads(await reader.readexactly(length := int(line.split(b":")[1])))
                await self._answer(message, length, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()

    async def _answer(
        self, message: dict[str, Any], length: int, writer: asyncio.StreamWriter
    ) -> None:
        method, number = message["method"], message["id"]
        if method == "server/discover":
            writer.write(_whole(number, _discovered()))
            return
        if method == "tools/list":
            listed = [{"name": n, "description": n, "inputSchema": {}} for n in TOOLS]
            for tool in listed:
                tool["inputSchema"] = {"type": "object"}
            result = {"tools": listed, "ttlMs": 1_000_000, "cacheScope": "public"}
            writer.write(_whole(number, {"resultType": "complete", **result}))
            return
        if method in {"resources/list", "resources/templates/list"}:
            member = "resources" if method == "resources/list" else "resourceTemplates"
            result = {member: [], "ttlMs": 1_000_000, "cacheScope": "public"}
            writer.write(_whole(number, {"resultType": "complete", **result}))
            return
        if method not in {"tools/call", "resources/read"}:
            await self._going.wait()
        self.received += length
        if method == "resources/read":
            self.reads += 1
            if self.hangs_up:
                self.hangs_up = False
                raise ConnectionError("it was read, and is not answered")
            contents = [{"uri": message["params"]["uri"], "text": "here"}]
            self._say(writer, _whole(number, {"resultType": "complete", "contents": contents}))
            return
        await self._called(message["params"]["name"], number, writer)

    async def _called(self, tool: str, number: Any, writer: asyncio.StreamWriter) -> None:
        body = _body(number, DONE)
        kind = b"content-type: application/json\r\n"
        chunks = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
        match tool:
            case "chunked":
                self._say(writer, chunks + kind + b"\r\n")
                for start in range(0, len(body), 7):
                    self._say(writer, _chunk(body[start : start + 7]))
                    await asyncio.sleep(0)
                self._say(writer, b"0\r\n\r\n")
            case "gzip":
                packed = gzip.compress(body)
                head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n"
                self._say(writer, head % len(packed) + kind + b"\r\n" + packed)
            case "redirect":
                head = f"HTTP/1.1 307 Go\r\nlocation: {self.elsewhere}\r\ncontent-length: 0\r\n\r\n"
                self._say(writer, head.encode())
            case "events" | "half":
                self._say(writer, chunks + b"content-type: text/event-stream\r\n\r\n")
                for level in range(1 if tool == "half" else 20):
                    params = {"level": "info", "data": f"{NOTE} {level}"}
                    said = {"jsonrpc": "2.0", "method": "notifications/message", "params": params}
                    event = b"event: message\ndata: " + json.dumps(said).encode() + b"\n\n"
                    self._say(writer, _chunk(event) if tool == "events" else _chunk(event)[:-9])
                await writer.drain()
                self.holding.set()
                await self._going.wait()
            case _:
                self._say(writer, _whole(number, DONE))

    def _say(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        self.written += len(data)
        writer.write(data)


def _discovered() -> dict[str, Any]:
    return {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}, "resources": {}, "logging": {}},
        "ttlMs": 1_000_000,
        "cacheScope": "public",
        "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "odd", "version": "1"}},
    }


def _body(number: Any, result: dict[str, Any]) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": number, "result": result}).encode()


def _whole(number: Any, result: dict[str, Any]) -> bytes:
    body = _body(number, result)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


@contextlib.asynccontextmanager
async def odd_gateway(folder: Path) -> AsyncIterator[tuple[Gateway, Odd]]:
    odd, other = Odd(), Odd()
    servers = [await asyncio.start_server(each.serve, "127.0.0.1", 0) for each in (odd, other)]
    odd.url, odd.elsewhere = (
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp" for server in servers
    )
    try:
        async with running_gateway(folder, [{"name": "web", "url": odd.url}]) as gateway:
            await gateway.pin_all()
            yield gateway, odd
        assert other.connections == 0  # nobody was sent elsewhere
    finally:
        for server in servers:
            server.close()


async def revoked(gateway: Gateway, run: str) -> Impact:
    scope = Scope(kind=ScopeKind.RUN, id=run)
    receipt = await gateway.plane.interruption.revoke(scope, reason="turned", author=OPERATOR)
    return receipt.impact


async def last_outcome(gateway: Gateway) -> Outcome:
    outcomes: list[Outcome] = await records(gateway.plane, Outcome)
    return [each for each in outcomes if each.intent][-1]


@pytest.mark.parametrize(
    ("tool", "state"),
    [
        ("plain", Terminal.DONE),
        ("chunked", Terminal.DONE),
        ("gzip", Terminal.FAILED),  # none was asked for, so none is decoded
        ("redirect", Terminal.FAILED),  # none is followed
    ],
)
async def test_answers_of_every_form(tmp_path: Path, tool: str, state: Terminal) -> None:
    async with odd_gateway(tmp_path) as (gateway, odd):
        run = await gateway.open_run()
        for size in (0, 1, 5_000):
            done = await begin(
                gateway.plane, caller(AGENT, run=run), call("web", tool, text=NOTE * size)
            )
            assert isinstance(done, Performed if state is Terminal.DONE else Refused)
        outcomes: list[Outcome] = [r for r in await records(gateway.plane, Outcome) if r.intent]
        assert {each.state for each in outcomes} == {state}
        assert sum(each.bytes_in for each in outcomes) == odd.written
        impact = await revoked(gateway, run)
        assert impact.bytes_out == {"web": odd.received}
        assert impact.completed == (3 if state is Terminal.DONE else 0)


@pytest.mark.parametrize("tool", ["events", "half"])
async def test_a_stream_of_events_that_is_cut(tmp_path: Path, tool: str) -> None:
    """Also in the middle of an event, which is delivered to nobody, and has come all the same."""
    async with odd_gateway(tmp_path) as (gateway, odd):
        run, sink = await gateway.open_run(), ListSink()
        doing = begin(
            gateway.plane, caller(AGENT, run=run), call("web", tool, text=NOTE * 3_000), sink
        )
        await odd.holding.wait()
        while sum(f.bytes_in for f in gateway.plane.interruption.flights()) < odd.written:
            await asyncio.sleep(0)
        impact = await revoked(gateway, run)
        assert isinstance(await doing, Refused)
        assert impact.bytes_out == {"web": odd.received}
        assert len(impact.unknown) == 1
        outcome = await last_outcome(gateway)
        assert (outcome.state, outcome.bytes_in) == (Terminal.INTERRUPTED, odd.written)
        assert outcome.bytes_out == odd.received


async def test_a_read_that_is_sent_again(tmp_path: Path) -> None:
    """It has left twice, and came twice."""
    async with odd_gateway(tmp_path) as (gateway, odd):
        run = await gateway.open_run()
        uri = "file:///notes"
        read = Action(
            kind=ActionKind.READ_RESOURCE,
            upstream="web",
            name=uri,
            method="resources/read",
            params={"uri": uri},
        )
        assert isinstance(await begin(gateway.plane, caller(AGENT, run=run), read), Performed)
        connections = odd.connections
        odd.hangs_up = True
        assert isinstance(await begin(gateway.plane, caller(AGENT, run=run), read), Performed)
        assert (odd.hangs_up, odd.connections) == (False, connections + 1)
        assert odd.reads == 3
        assert (await revoked(gateway, run)).bytes_out == {"web": odd.received}
