"""Events reach collectors: files, syslog, OpenTelemetry; none is lost, and nobody waits for one."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from authority import Authority
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from midflight.adapters.export.file import FileSink
from midflight.adapters.export.otlp import OtlpSink
from midflight.adapters.export.syslog import Collector, SyslogSink
from midflight.adapters.store.ledger_memory import MemoryLedger, MemoryLedgerStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.control.exports import ExportVerbs
from midflight.apps.control.operation import Empty
from midflight.domain.errors import Unavailable
from midflight.domain.records import Observed, Terminal
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.export import FIRST_WAIT_S, LAST_WAIT_S, Exporter
from midflight.services.guard import Performed
from midflight.services.ports.export import Exportable, Sink
from midflight.testing import ListSink, MemoryPlane, ScriptedUpstream, call, caller
from midflight.wire.export.lines import Form
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


class Collecting:
    """A collector that takes what it is given, or fails while `away`."""

    def __init__(self) -> None:
        self.got: list[Exportable] = []
        self.away = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        await self.gate.wait()
        if self.away:
            raise Unavailable("It is away.")
        self.got += batch

    async def close(self) -> None:
        """Nothing is open."""

    def actions(self) -> list[Exportable]:
        return [each for each in self.got if each.kind == "outcome"]


class Told:
    """A plane whose ledger is exported."""

    def __init__(self, **more: Any) -> None:
        tools = [{"name": "look", "inputSchema": {"type": "object"}}]
        self.plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), **more)

    async def start(self) -> Told:
        await self.plane.start()
        await self.plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
        return self

    def exporter(self, sink: Sink, **more: Any) -> Exporter:
        return Exporter(
            "siem",
            sink,
            ledger=self.plane.ledger,
            store=self.plane.store,
            clock=self.plane.clock,
            telemetry=QuietTelemetry(),
            **more,
        )

    async def act(self, count: int = 1) -> None:
        for _ in range(count):
            await self.plane.guard.perform(call("look"), caller(), sink=ListSink())
        await self.plane.ledger.flush()


async def test_a_new_exporter_begins_now_and_tells_every_action_once() -> None:
    told = await Told().start()
    await told.act(2)
    sink = Collecting()
    exporter = told.exporter(sink)
    assert await exporter.step() == FIRST_WAIT_S
    assert sink.got == []
    await told.act(3)
    await exporter.step()
    await exporter.step()
    assert len(sink.actions()) == 3
    facts = [each.facts or getattr(each.value, "facts", None) for each in sink.actions()]
    assert [each.name for each in facts if each is not None] == ["look"] * 3
    assert not [each for each in sink.got if each.kind == "intent"]


async def test_the_whole_ledger_if_that_is_asked_for() -> None:
    told = await Told().start()
    await told.act(2)
    sink = Collecting()
    await told.exporter(sink, whole=True).step()
    assert sink.got[0].kind == "started"
    assert len(sink.actions()) == 2


async def test_only_the_kinds_that_are_asked_for() -> None:
    told = await Told().start()
    sink = Collecting()
    exporter = told.exporter(sink, whole=True, kinds=["run_opened"])
    await told.act(2)
    await exporter.step()
    assert {each.kind for each in sink.got} == {"run_opened"}
    status = await exporter.status()
    assert status.behind == 0


async def test_a_collector_that_is_away_loses_nothing_and_holds_up_nobody() -> None:
    told = await Told().start()
    sink = Collecting()
    exporter = told.exporter(sink)
    await exporter.step()
    sink.away = True
    waits = []
    for _ in range(9):
        await told.act()
        waits.append(await exporter.step())
    status = await exporter.status()
    assert waits == [1, 2, 4, 8, 16, 32, LAST_WAIT_S, LAST_WAIT_S, LAST_WAIT_S]
    assert status.failures == 9
    assert status.behind >= 18
    assert status.why == "It is away."
    sink.away = False
    assert await exporter.step() == FIRST_WAIT_S
    assert len(sink.actions()) == 9
    await told.act()
    await exporter.step()
    noted = [r.what for r in await told.plane.records() if isinstance(r, Observed)]
    assert [what for what in noted if what.startswith("export.")] == [
        "export.stuck",
        "export.recovered",
    ]
    assert (await exporter.status()).failing_since is None


async def test_a_collector_that_hangs_delays_no_action() -> None:
    told = await Told().start()
    sink = Collecting()
    exporter = told.exporter(sink)
    await exporter.step()
    await told.act()
    sink.gate.clear()
    stuck = asyncio.ensure_future(exporter.step())
    done = await told.plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Performed)
    assert not stuck.done()
    sink.gate.set()
    await stuck
    await told.plane.ledger.flush()
    await exporter.step()
    assert len(sink.actions()) == 2


async def test_after_a_crash_it_goes_on_with_the_facts_of_what_was_open() -> None:
    told = await Told().start()
    sink = Collecting()
    await told.exporter(sink).step()
    release = asyncio.Event()

    async def slow(*_: Any) -> Any:
        await release.wait()
        raise Unavailable("enough")

    told.plane.upstream.scripts["look"] = slow
    pending = asyncio.ensure_future(
        told.plane.guard.perform(call("look"), caller(), sink=ListSink())
    )
    while not told.plane.upstream.received:
        await asyncio.sleep(0)
    await told.plane.ledger.flush()
    await told.exporter(sink).step()  # the intent has passed by, and this exporter is gone
    release.set()
    await pending
    await told.plane.ledger.flush()
    await told.exporter(sink).step()
    (action,) = sink.actions()
    assert action.facts is not None
    assert (action.facts.name, action.value.state) == ("look", Terminal.FAILED)  # type: ignore[union-attr]


async def test_what_cannot_be_read_is_told_too() -> None:
    store = MemoryLedger()
    told = await Told(ledger_store=MemoryLedgerStore(store)).start()
    await told.act()
    store.log[0] = msgspec.structs.replace(store.log[0], body=b"{")
    sink = Collecting()
    await told.exporter(sink, whole=True).step()
    damaged = [each for each in sink.got if each.value is None]
    assert len(damaged) == 1
    assert damaged[0].damage


# Files


async def sent(sink: Sink, count: int = 2) -> Told:
    told = await Told().start()
    exporter = told.exporter(sink)
    await exporter.step()
    await told.act(count)
    await exporter.step()
    assert (await exporter.status()).failures == 0
    return told


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_file_of_ocsf_is_one_event_a_line_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    await sent(FileSink(path, Form.OCSF))
    found = [each for each in events(path) if each["class_uid"] == 6003]
    assert [each["api"]["operation"] for each in found] == ["look", "look"]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_file_that_was_moved_away_is_begun_anew(tmp_path: Path) -> None:
    path, sink = tmp_path / "events.jsonl", FileSink(tmp_path / "events.jsonl", Form.OCSF)
    told = await sent(sink)
    path.rename(tmp_path / "events.jsonl.1")
    exporter = told.exporter(sink)
    await told.act(3)
    await exporter.step()
    old, new = events(tmp_path / "events.jsonl.1"), events(path)
    assert len([each for each in old + new if each["class_uid"] == 6003]) == 5
    assert len({each["metadata"]["uid"] for each in old + new}) == len(old + new)


async def test_an_unfinished_line_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"whole": 1}\n{"half": ')
    await sent(FileSink(path, Form.OCSF))
    first, *rest = events(path)
    assert first == {"whole": 1}
    assert len([each for each in rest if each["class_uid"] == 6003]) == 2


@pytest.mark.parametrize("place", ["folder", "link", "nowhere", "pipe"])
async def test_what_is_no_file_is_said(tmp_path: Path, place: str) -> None:
    path = tmp_path / "events"
    match place:
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case _:
            path = tmp_path / "no" / "such" / "folder"
    told = await Told().start()
    exporter = told.exporter(FileSink(path, Form.OCSF), whole=True)
    await exporter.step()
    status = await exporter.status()
    assert status.failures == 1
    assert status.why.startswith("The export file cannot be written (")
    assert not (tmp_path / "elsewhere").exists()


# Syslog


def serving_as(authority: Authority) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*authority.issue("localhost"))
    return made


class SyslogServer:
    """A collector that reads octet-counted frames."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.news = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int(await reader.readuntil(b" "))
                self.messages.append((await reader.readexactly(length)).decode())
                self.news.set()

    async def until(self, count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(self.actions()) < count:
                self.news.clear()
                await self.news.wait()
        return self.actions()

    def actions(self) -> list[str]:
        return [each for each in self.messages if " outcome - " in each]


@contextlib.asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[SyslogServer, int]]:
    made = SyslogServer()
    server = await asyncio.start_server(made.read, "127.0.0.1", 0, ssl=tls)
    try:
        yield made, server.sockets[0].getsockname()[1]
    finally:
        for writer in made.writers:
            writer.close()
        server.close()
        await server.wait_closed()


async def test_syslog_by_tcp_and_a_connection_that_broke_is_made_anew() -> None:
    async with listening() as (server, port):
        sink = SyslogSink(Collector(host="127.0.0.1", port=port), Form.CEF)
        told = await sent(sink)
        first = await server.until(2)
        assert "CEF:0|Midflight|" in first[0]
        server.writers[0].close()
        await server.writers[0].wait_closed()
        await asyncio.sleep(0)
        exporter = told.exporter(sink)
        await told.act()
        for _ in range(3):
            await exporter.step()
        assert len(await server.until(3)) == 3
        await sink.close()


async def test_syslog_by_tls_to_whom_the_authority_vouches_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with listening(serving_as(authority)) as (server, port):
        where = Collector(host="localhost", port=port, tls=True, ca=authority.file)
        sink = SyslogSink(where, Form.OCSF)
        await sent(sink)
        (first, _) = await server.until(2)
        assert json.loads(first[first.index("{") :])["class_uid"] == 6003
        await sink.close()


async def test_syslog_by_tls_tells_nothing_to_a_stranger(tmp_path: Path) -> None:
    for name in ("stranger", "trusted"):
        (tmp_path / name).mkdir()
    stranger, trusted = Authority(tmp_path / "stranger"), Authority(tmp_path / "trusted")
    async with listening(serving_as(stranger)) as (server, port):
        where = Collector(host="localhost", port=port, tls=True, ca=trusted.file)
        told = await Told().start()
        exporter = told.exporter(SyslogSink(where, Form.OCSF), whole=True)
        await exporter.step()
        assert (await exporter.status()).failures == 1
        assert server.messages == []


async def test_syslog_to_the_socket_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(20)
        sink = SyslogSink(Collector(path=path), Form.CEF)
        told = await Told().start()
        exporter = told.exporter(sink)
        await exporter.step()
        await told.act()
        await exporter.step()
        got = []
        while not any(" outcome - " in each for each in got):
            got.append(server.recv(65_536).decode())
        assert (await exporter.status()).failures == 0
        await sink.close()


# OpenTelemetry


class LogsServer(ThreadingHTTPServer):
    """What an OpenTelemetry collector does with log records: takes them, or says what it says."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), LogsHandler)
        self.records: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.rejects = 0


class LogsHandler(BaseHTTPRequestHandler):
    server: LogsServer

    def do_POST(self) -> None:
        body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
        self.server.headers.append({name.lower(): each for name, each in self.headers.items()})
        answer = ExportLogsServiceResponse()
        answer.partial_success.rejected_log_records = self.server.rejects
        if self.server.status == 200 and not self.server.rejects:
            assert self.path == "/v1/logs"
            for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
                for scope in resource.scope_logs:
                    self.server.records.extend(scope.log_records)
        said = answer.SerializeToString()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def logs() -> Any:
    server = LogsServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


async def test_log_records_by_otlp(logs: LogsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x,x-team=one")
    sink = OtlpSink(f"http://127.0.0.1:{logs.server_port}")
    await sent(sink)
    actions = [each for each in logs.records if each.event_name == "midflight.outcome"]
    assert len(actions) == 2
    found = {each.key: each.value.string_value for each in actions[0].attributes}
    assert found["gen_ai.tool.name"] == "look"
    assert found["midflight.state"] == "done"
    assert logs.headers[0]["authorization"] == "Bearer x"
    await sink.close()


@pytest.mark.parametrize("failure", ["status", "rejects", "away"])
async def test_what_a_collector_does_not_take_waits(logs: LogsServer, failure: str) -> None:
    sink = OtlpSink(f"http://127.0.0.1:{logs.server_port}", headers={})
    if failure == "away":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            sink = OtlpSink(f"http://127.0.0.1:{free.getsockname()[1]}", headers={})
    elif failure == "status":
        logs.status = 503
    else:
        logs.rejects = 1
    told = await Told().start()
    exporter = told.exporter(sink)
    await exporter.step()
    await told.act(2)
    await exporter.step()
    status = await exporter.status()
    assert status.failures == 1
    assert status.behind >= 4
    if failure != "away":
        logs.status, logs.rejects = 200, 0
        await exporter.step()
        assert len([e for e in logs.records if e.event_name == "midflight.outcome"]) == 2
    await sink.close()


# A whole plane


async def test_a_gateway_tells_the_collectors_of_its_settings(
    gateway_factory: Any, tmp_path: Path
) -> None:
    path = tmp_path / "told.jsonl"
    async with over_http(Served()) as url:
        entry = {"name": "one", "url": url, "reach": "closed"}
        export = [{"name": "archive", "file": str(path)}]
        async with gateway_factory([entry], export=export) as gateway:
            await gateway.pin_all()
            async with gateway.client() as client:
                await client.call_tool("add", {"a": 1, "b": 2})
            await gateway.plane.ledger.flush()
            (exporter,) = gateway.plane.watching.exporting.exporters
            await exporter.step()
            (status,) = await gateway.plane.watching.exporting.listing()
            assert status.failures == 0
    calls = [each for each in events(path) if each["class_uid"] == 6003]
    assert "add" in [each["api"]["operation"] for each in calls]
    assert '"a": 1' not in path.read_text()


async def test_an_operator_sees_what_waits_for_whom(gateway_factory: Any, tmp_path: Path) -> None:
    export = [{"name": "archive", "file": str(tmp_path / "no" / "folder" / "told.jsonl")}]
    async with gateway_factory([], export=export) as gateway:
        (exporter,) = gateway.plane.watching.exporting.exporters
        await exporter.step()
        verbs = ExportVerbs(gateway.plane)
        (operation,) = verbs.operations()
        (found,) = await operation.act(Empty(), None)
        assert (found.name, found.sent) == ("archive", 0)
        assert found.why.startswith("The export file cannot be written (")
        assert found.failing_since is not None
