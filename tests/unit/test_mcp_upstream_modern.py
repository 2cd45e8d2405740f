"""The modern generation: listening, translation for legacy clients, children shared or not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from upstream_kit import (
    SEAT,
    FakeFlight,
    Notices,
    RecordingSink,
    call_tool,
    listening,
    raw_server,
    read_request,
    response,
    until,
)

from midflight.adapters.upstream.mcp_http import McpHttpUpstream
from midflight.adapters.upstream.mcp_stdio import McpStdioUpstream
from midflight.adapters.upstream.once import Once
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, UpstreamBroken, UpstreamUnavailable
from midflight.domain.value import JSONObject
from midflight.services.ports.upstream import RunSeat

pytestmark = pytest.mark.anyio

META = "io.modelcontextprotocol/"
STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
OK = {"content": [{"type": "text", "text": "fine"}]}


class ModernServer:
    """Answers everything, keeps what it got, and every listening stream open."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], JSONObject]] = []
        self.listeners: list[tuple[JSONObject, asyncio.Queue[JSONObject | None]]] = []
        self.gone = 0
        self._changed = asyncio.Event()

    def of(self, method: str) -> list[JSONObject]:
        return [message for _, message in self.got if message["method"] == method]

    async def until(self, condition: Any) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            _, headers, body = await read_request(reader)
            message = json.loads(body)
            self.got.append((headers, message))
            self._changed.set()
            match message["method"]:
                case "server/discover":
                    value: JSONObject = {
                        "supportedVersions": ["2026-07-28"],
                        "capabilities": {"tools": {}, "resources": {"subscribe": True}},
                    }
                case "subscriptions/listen":
                    await self._listen(message, reader, writer)
                    return
                case _:
                    value = OK
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": value}
            writer.write(response(json.dumps(answer).encode()))

    async def _listen(
        self, message: JSONObject, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        def say(method: str, params: JSONObject) -> None:
            params = {**params, "_meta": {f"{META}subscriptionId": message["id"]}}
            text = json.dumps({"jsonrpc": "2.0", "method": method, "params": params})
            writer.write(f"data: {text}\n\n".encode())

        writer.write(STREAM)
        wanted = message["params"]["notifications"]
        say("notifications/subscriptions/acknowledged", {"notifications": wanted})
        queue: asyncio.Queue[JSONObject | None] = asyncio.Queue()
        self.listeners.append((wanted, queue))
        self._changed.set()
        leaving = asyncio.ensure_future(reader.read())
        try:
            while True:
                getting = asyncio.ensure_future(queue.get())
                await asyncio.wait({getting, leaving}, return_when=asyncio.FIRST_COMPLETED)
                said = getting.result() if getting.done() else None
                getting.cancel()
                if said is None:
                    return
                say(said["method"], said["params"])
        finally:
            leaving.cancel()
            self.gone += 1
            self._changed.set()


@contextlib.asynccontextmanager
async def _modern() -> AsyncIterator[tuple[ModernServer, McpHttpUpstream, Notices]]:
    server = ModernServer()
    async with raw_server(server) as url:
        upstream = McpHttpUpstream(
            "modern", url, headers={"authorization": "Bearer t"}, backoff=0.01
        )
        notices = Notices()
        await upstream.start(notices)
        async with asyncio.timeout(30):
            yield server, upstream, notices
        await upstream.close()


async def test_each_request_stands_for_itself_and_carries_only_what_is_configured() -> None:
    async with _modern() as (server, upstream, _):
        action = call_tool("mail", {"to": "x"}, traceparent="00-1-2-03")
        sink = RecordingSink({"roots": {}})
        seat = RunSeat(run="r", workload="w", client_info={"name": "c", "version": "1"})
        await upstream.call(action, seat=seat, flight=FakeFlight(), sink=sink)
        headers, message = next(g for g in server.got if g[1]["method"] == "tools/call")
        assert message["params"] == {
            "name": "mail",
            "arguments": {"to": "x"},
            "_meta": {
                "traceparent": "00-1-2-03",
                f"{META}protocolVersion": "2026-07-28",
                f"{META}clientInfo": {"name": "c", "version": "1"},
                f"{META}clientCapabilities": {"roots": {}},
            },
        }
        assert headers.keys() == {
            "host",
            "content-type",
            "accept",
            "user-agent",
            "authorization",
            "mcp-protocol-version",
            "mcp-method",
            "mcp-name",
            "content-length",
        }


async def test_the_catalogue_listens_and_counts_all_as_changed_after_a_gap() -> None:
    async with _modern() as (server, upstream, notices):
        await upstream.describe()
        await server.until(lambda: server.listeners)
        wanted, queue = server.listeners[0]
        assert wanted == {"toolsListChanged": True, "resourcesListChanged": True}
        queue.put_nowait({"method": "notifications/tools/list_changed", "params": {}})
        await notices.until("", "notifications/tools/list_changed")
        assert len(notices.heard) == 1
        queue.put_nowait(None)
        await notices.until("", "notifications/resources/list_changed")
        assert len(server.listeners) == 2


async def test_a_clients_listening_stream_lives_until_it_is_cut() -> None:
    async with _modern() as (server, upstream, _):
        sink, flight = RecordingSink(), FakeFlight()
        call = asyncio.ensure_future(
            upstream.call(listening("a://1"), seat=SEAT, flight=flight, sink=sink)
        )
        await sink.until_heard("notifications/subscriptions/acknowledged")
        queue = next(q for w, q in server.listeners if "resourceSubscriptions" in w)
        queue.put_nowait({"method": "notifications/resources/updated", "params": {"uri": "a://1"}})
        # The upstream's own subscription id means nothing to the client.
        assert await sink.until_heard("notifications/resources/updated") == {"uri": "a://1"}
        flight.cut()
        with pytest.raises(Interrupted):
            await call
        await server.until(lambda: server.gone)


async def test_subscriptions_of_a_legacy_client_become_a_stream_of_its_run() -> None:
    async with _modern() as (server, upstream, notices):

        async def say(method: str, uri: str) -> None:
            action = Action(
                kind=ActionKind.SUBSCRIBE, upstream="modern", name=uri, method=f"resources/{method}"
            )
            reply = await upstream.call(
                action, seat=SEAT, flight=FakeFlight(), sink=RecordingSink()
            )
            assert reply.result == {}

        def mine() -> list[list[str]]:
            return [
                w["resourceSubscriptions"]
                for w, _ in server.listeners
                if "resourceSubscriptions" in w
            ]

        await say("subscribe", "a://1")
        await server.until(lambda: len(mine()) == 1)
        await say("subscribe", "a://2")
        await server.until(lambda: len(mine()) == 2)
        assert mine() == [["a://1"], ["a://1", "a://2"]]
        queue = server.listeners[-1][1]
        queue.put_nowait({"method": "notifications/resources/updated", "params": {"uri": "a://2"}})
        await notices.until(SEAT.run, "notifications/resources/updated")
        await upstream.end_run(SEAT.run)
        await server.until(lambda: server.gone == 2)


async def test_a_log_level_that_a_legacy_client_set_goes_with_each_request() -> None:
    async with _modern() as (server, upstream, _):
        level = Action(
            kind=ActionKind.NOTIFY,
            upstream="modern",
            name="logging/setLevel",
            method="logging/setLevel",
            arguments={"level": "warning"},
        )
        for action in (call_tool("x"), level, call_tool("x")):
            await upstream.call(action, seat=SEAT, flight=FakeFlight(), sink=RecordingSink())
        levels = [m["params"]["_meta"].get(f"{META}logLevel") for m in server.of("tools/call")]
        assert levels == [None, "warning"]
        assert server.of("logging/setLevel") == []


async def test_an_upstream_that_refuses_us_is_unavailable_and_asked_again_next_time() -> None:
    ready = False

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if ready:
            await ModernServer()(reader, writer)
        await read_request(reader)
        writer.write(response(b"", "401 Unauthorized"))
        await writer.drain()

    async with raw_server(handle) as url:
        upstream = McpHttpUpstream("modern", url)
        flight = FakeFlight()
        for _ in range(2):
            with pytest.raises(UpstreamUnavailable, match="401"):
                await upstream.call(call_tool("x"), seat=SEAT, flight=flight, sink=RecordingSink())
        with pytest.raises(UpstreamUnavailable):
            await upstream.describe()
        assert flight.sent == 0
        ready = True
        assert (await upstream.describe()).modern
        await upstream.close()


async def test_after_close_nothing_is_sent() -> None:
    async with _modern() as (server, upstream, _):
        await upstream.close()
        with pytest.raises(UpstreamUnavailable):
            await upstream.call(
                call_tool("x"), seat=SEAT, flight=FakeFlight(), sink=RecordingSink()
            )
        assert server.got == []


CHILD = """
import json, os, sys
def say(x): print(json.dumps({"jsonrpc": "2.0", **x}), flush=True)
for line in sys.stdin:
    m = json.loads(line)
    if "id" not in m: continue
    if m["method"] == "server/discover":
        if "silent" not in sys.argv:
            say({"id": m["id"], "error": {"code": -32601, "message": "no"}})
        continue
    if m["method"] == "initialize":
        r = {"protocolVersion": "2025-06-18", "capabilities": {"resources": {"subscribe": True}}}
    elif m["method"] == "resources/subscribe":
        r = {}
    elif m["params"].get("name") == "touch":
        say({"method": "notifications/resources/updated", "params": {"uri": "a://1"}})
        r = {}
    elif m["params"].get("name") == "hang":
        continue
    else:
        r = {"pid": os.getpid(), "asked": m["params"]}
    say({"id": m["id"], "result": r})
"""


@contextlib.asynccontextmanager
async def _children(*args: str, **more: Any) -> AsyncIterator[tuple[McpStdioUpstream, Notices]]:
    upstream = McpStdioUpstream("child", sys.executable, ["-c", CHILD, *args], **more)
    notices = Notices()
    await upstream.start(notices)
    async with asyncio.timeout(30):
        yield upstream, notices
    await upstream.close()


async def _ask(upstream: McpStdioUpstream, seat: RunSeat, name: str = "x", **more: Any) -> Any:
    flight = more.get("flight") or FakeFlight()
    reply = await upstream.call(call_tool(name), seat=seat, flight=flight, sink=RecordingSink())
    return reply.result


OTHER = RunSeat(run="run_two", workload="spiffe://example.org/agents/two")


async def test_a_server_that_says_nothing_to_discovery_is_a_legacy_one() -> None:
    async with _children("silent", discovery=0.2) as (upstream, _):
        info = await upstream.describe()
        assert (info.modern, info.version) == (False, "2025-06-18")


async def test_a_stateless_upstream_has_one_child_for_all_runs_and_keeps_it() -> None:
    async with _children(stateless=True) as (upstream, notices):
        one, two = await _ask(upstream, SEAT), await _ask(upstream, OTHER)
        assert one["pid"] == two["pid"]
        sink, flight = RecordingSink(), FakeFlight()
        listen = asyncio.ensure_future(
            upstream.call(listening("a://1"), seat=SEAT, flight=flight, sink=sink)
        )
        await sink.until_heard("notifications/subscriptions/acknowledged")
        # What the shared child updates is told to the run that subscribed, and to no other.
        await _ask(upstream, OTHER, "touch")
        await notices.until(SEAT.run, "notifications/resources/updated")
        assert {run for run, _, _ in notices.heard} == {SEAT.run}
        flight.cut()
        with pytest.raises(Interrupted):
            await listen
        await upstream.end_run(SEAT.run)
        assert (await _ask(upstream, OTHER))["pid"] == one["pid"]


async def test_what_is_in_flight_on_a_child_that_is_stopped_breaks() -> None:
    async with _children() as (upstream, _):
        await _ask(upstream, SEAT)
        flight = FakeFlight()
        call = asyncio.ensure_future(_ask(upstream, SEAT, "hang", flight=flight))
        await until(lambda: flight.sent)
        await upstream.end_run(SEAT.run)
        with pytest.raises(UpstreamBroken, match="it was stopped"):
            await call


async def test_one_making_serves_all_who_wait_and_a_failure_is_forgotten() -> None:
    made = 0
    go = asyncio.Event()

    async def make() -> int:
        nonlocal made
        made += 1
        await go.wait()
        if made == 1:
            raise UpstreamUnavailable("not yet")
        return made

    once = Once(make)
    waiting = [asyncio.ensure_future(once.get()) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    go.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(o) for o in outcomes] == [
        asyncio.CancelledError,
        UpstreamUnavailable,
        UpstreamUnavailable,
    ]
    assert await once.get() == 2
    assert await once.get() == 2
    assert made == 2


async def test_a_run_that_ends_while_its_child_starts_is_unavailable_not_cancelled() -> None:
    async with _children("silent", discovery=30) as (upstream, _):
        call = asyncio.ensure_future(_ask(upstream, SEAT))
        await until(lambda: SEAT.run in upstream._lines)
        await asyncio.sleep(0)
        await upstream.end_run(SEAT.run)
        with pytest.raises(UpstreamUnavailable, match="let go of"):
            await call
