"""A collector, or what an agent makes Midflight write, ends an export unsaid or loses events."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from export_kit import facts, outcome, told
from hypothesis import given
from hypothesis import strategies as st

from midflight.adapters.export import file as file_sink
from midflight.adapters.export import syslog as syslog_sink
from midflight.adapters.export.file import FileSink
from midflight.adapters.export.otlp import OtlpSink
from midflight.adapters.export.syslog import Collector, SyslogSink
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.domain.decision import Reason
from midflight.domain.errors import Unavailable
from midflight.domain.records import Changed, Observed
from midflight.services.export import FIRST_WAIT_S, Exporter
from midflight.services.ports.export import Exportable, Sink
from midflight.testing import MemoryPlane, ScriptedUpstream
from midflight.wire.export import syslog
from midflight.wire.export.bounding import clipped
from midflight.wire.export.lines import Form, line
from midflight.wire.export.telling import MAX_DETAILS

pytestmark = pytest.mark.anyio


def batch(count: int, words: str = "x") -> list[Exportable]:
    return [
        Exportable(
            record=f"a-{number}",
            kind="observed",
            position=number,
            value=Observed(at=1.0, what=words, subject="s"),
            damage="",
            facts=None,
        )
        for number in range(1, count + 1)
    ]


class Broken:
    """A sink with a bug."""

    def __init__(self) -> None:
        self.works = False
        self.got: list[Exportable] = []

    async def send(self, batch: Sequence[Exportable], *, now: float) -> None:
        if not self.works:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "secret text of an agent")
        self.got += batch

    async def close(self) -> None:
        """Nothing is open."""


async def plane_and_exporter(sink: Sink, **more: Any) -> tuple[MemoryPlane, Exporter]:
    plane = MemoryPlane(upstream=ScriptedUpstream("one", []))
    await plane.start()
    await plane.ledger.flush()
    return plane, exporter_of(plane, sink, **more)


def exporter_of(plane: MemoryPlane, sink: Sink, **more: Any) -> Exporter:
    return Exporter(
        "siem",
        sink,
        ledger=plane.ledger,
        store=plane.store,
        clock=plane.clock,
        telemetry=QuietTelemetry(),
        **more,
    )


async def test_an_event_that_cannot_be_written_ends_no_export_unsaid() -> None:
    sink = Broken()
    plane, exporter = await plane_and_exporter(sink, whole=True)
    await exporter.step()
    status = await exporter.status()
    assert (status.failures, status.why) == (1, "UnicodeEncodeError")
    assert status.failing_since is not None
    await plane.ledger.flush()
    noted = [r.what for r in await plane.records() if isinstance(r, Observed)]
    assert "export.stuck" in noted
    sink.works = True
    assert await exporter.step() == FIRST_WAIT_S
    assert sink.got[0].kind == "started"


async def test_a_ledger_of_a_backup_is_told_from_where_it_ends() -> None:
    sink = Broken()
    sink.works = True
    plane, exporter = await plane_and_exporter(sink)
    await plane.store.put_snapshot("export:siem", b"1000000")
    await exporter.step()
    plane.ledger.append(Observed(at=1.0, what="told", subject="after"))
    await plane.ledger.flush()
    await exporter.step()
    seen = [each.value.what for each in sink.got if isinstance(each.value, Observed)]
    assert seen == ["export.rewound", "told"]


# Files


async def test_a_pipe_in_the_place_of_a_file_gets_nothing_at_any_try(tmp_path: Path) -> None:
    path = tmp_path / "events"
    os.mkfifo(path)
    sink = FileSink(path, Form.OCSF)
    end = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(3):
            with pytest.raises(Unavailable):
                await sink.send(batch(1), now=1.0)
        assert os.read(end, 1) == b""  # nobody has it open for writing, which reads as its end
    finally:
        os.close(end)
        await sink.close()


async def test_a_batch_that_is_being_written_at_the_end_is_written_into_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that writes goes on when its task is cancelled; the file stays open for it."""
    loop = asyncio.get_running_loop()
    begun, write, kinds = asyncio.Event(), os.write, list[bool]()

    def slow(file: int, body: Any) -> int:
        loop.call_soon_threadsafe(begun.set)
        kinds.append(stat.S_ISREG(os.fstat(file).st_mode))
        return write(file, body[:1_000])

    monkeypatch.setattr(file_sink.os, "write", slow)
    path = tmp_path / "events.jsonl"
    sink = FileSink(path, Form.OCSF)
    sending = asyncio.ensure_future(sink.send(batch(500), now=1.0))
    await begun.wait()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await sink.close()
    monkeypatch.undo()
    lines = path.read_text().splitlines()
    assert [json.loads(each)["metadata"]["uid"] for each in lines] == [
        f"a-{number}" for number in range(1, 501)
    ]
    assert all(kinds)


# Syslog


async def test_a_collector_that_reads_nothing_ends_in_a_failure_and_not_in_a_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(syslog_sink, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(syslog_sink, "CLOSE_S", 0.05)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        sink = SyslogSink(Collector(host="127.0.0.1", port=deaf.getsockname()[1]), Form.OCSF)
        big = [
            Exportable(
                record=f"a-{number}",
                kind="changed",
                position=number,
                value=Changed(
                    at=1.0, what="w", author="o", proof="p", details={"x": ["y" * 1_000] * 25}
                ),
                damage="",
                facts=None,
            )
            for number in range(1, 1_001)
        ]
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable):
                await sink.send(big, now=1.0)
            await sink.close()


async def test_what_counts_as_taken_has_left_the_process() -> None:
    """`drain` alone returns while up to 64 KiB wait in here, and would be lost with us."""
    accepted: list[asyncio.StreamWriter] = []

    async def deaf(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.append(writer)

    server = await asyncio.start_server(deaf, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sink = SyslogSink(Collector(host="127.0.0.1", port=port), Form.CEF)
        await sink.send(batch(200), now=1.0)
        writer = sink._writer
        assert writer is not None
        assert writer.transport.get_write_buffer_size() == 0
        assert writer.transport.get_write_buffer_limits() == (0, 0)
        await sink.close()
        for each in accepted:
            each.close()


async def test_an_event_of_any_size_fits_into_a_datagram(tmp_path: Path) -> None:
    path = tmp_path / "log"
    nested: Any = "\x7f" * 1_000
    for _ in range(4):
        nested = {f"k{number}": nested for number in range(8)}
    record = Changed(at=1.0, what="w", author="o", proof="p", details={"a": nested})
    huge = Exportable(record="a-1", kind="changed", position=1, value=record, damage="", facts=None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.settimeout(20)
        for form in Form:
            sink = SyslogSink(Collector(path=path), form)
            await sink.send([huge], now=1.0)
            got = server.recv(1_000_000)
            assert b"a-1" in got
            assert len(got) < 6 * MAX_DETAILS
            await sink.close()


# OpenTelemetry


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"])
async def test_a_collectors_name_does_not_lead_to_credentials_of_the_machine(address: str) -> None:
    async def resolve(_: str, __: int) -> Sequence[str]:
        return [address]

    for scheme in ("http", "https"):
        sink = OtlpSink(f"{scheme}://collector.example", headers={}, resolve=resolve)
        with pytest.raises(Unavailable, match="resolves to an address that"):
            await sink.send(batch(1), now=1.0)


async def test_http_to_a_collector_goes_to_this_machine_alone() -> None:
    async def resolve(_: str, __: int) -> Sequence[str]:
        return ["10.1.2.3"]

    sink = OtlpSink("http://localhost:4318", headers={}, resolve=resolve)
    with pytest.raises(Unavailable, match="http goes nowhere else"):
        await sink.send(batch(1), now=1.0)


async def test_a_collector_that_drips_its_answer_is_given_up() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
        try:
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sink = OtlpSink(f"http://127.0.0.1:{port}", headers={}, timeout_s=0.05)
        with pytest.raises(Unavailable, match="does not answer"):
            await sink.send(batch(1), now=1.0)


async def test_a_redirect_of_a_collector_is_not_followed() -> None:
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n"))
        writer.write(
            b"HTTP/1.1 307 Temporary Redirect\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n"
        )
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        sink = OtlpSink(f"http://127.0.0.1:{port}", headers={})
        with pytest.raises(Unavailable, match="answers 307"):
            await sink.send(batch(1), now=1.0)
    assert len(asked) == 1


# Whatever was said, an independent reader reads what is true

WORDS = st.text(max_size=300) | st.sampled_from(
    ["\\", "=", "|", "\r\n", "\x1b[2J", "\u2028", "\u202e", "a=b c=d", " ", "\x85"]
)
_HEAD = re.compile(
    rb"<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) ([!-~]{1,255}) ([!-~]{1,48})"
    rb" ([!-~]{1,128}) ([!-~]{1,32}) - "
)
"""RFC 5424 §6, with the nil structured data that we send."""


def strict(text: str) -> Any:
    """JSON in which no name stands twice."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len({name for name, _ in pairs}) == len(pairs)
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


def cef_fields(text: str) -> dict[str, str]:
    """The extension of a CEF line, a character at a time: another way to read than the writer's."""
    rest, pipes, at = text, 0, 0
    while pipes < 7:
        if rest[at] == "\\":
            at += 1
        elif rest[at] == "|":
            pipes += 1
        at += 1
    rest = rest[at:]
    starts: list[tuple[int, int]] = []
    at = 0
    while at < len(rest):
        if rest[at] == "\\":
            at += 2
            continue
        if rest[at] == "=":
            begin = rest.rfind(" ", 0, at) + 1
            starts.append((begin, at))
        at += 1
    found: dict[str, str] = {}
    for number, (begin, equals) in enumerate(starts):
        end = starts[number + 1][0] - 1 if number + 1 < len(starts) else len(rest)
        name = rest[begin:equals]
        assert name not in found
        value = rest[equals + 1 : end]
        found[name] = re.sub(
            r"\\(.)", lambda hit: "\n" if hit[1] == "n" else hit[1], value, flags=re.DOTALL
        )
    return found


def shown(text: str) -> str:
    visible = "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)
    return visible.replace("\r\n", "\n").replace("\r", "\n")


@given(name=WORDS, why=WORDS)
def test_every_form_is_read_back_as_it_was_meant(name: str, why: str) -> None:
    event = told(outcome(facts=facts(name), reasons=(Reason(policy="p", text=why),)))
    reason = clipped(f"p: {why}")
    ocsf = line(event, Form.OCSF)
    assert len(ocsf.splitlines()) == 1
    read = strict(ocsf)
    assert read["api"]["operation"] == (clipped(name) or "tools/call")
    assert read["status_detail"] == reason
    assert (read["status_id"], read["metadata"]["uid"]) == (2, "abcd1234-7")
    cef = line(event, Form.CEF)
    assert len(cef.splitlines()) == 1
    fields = cef_fields(cef)
    assert fields.get("request", "") == shown(clipped(name))
    assert fields["reason"] == shown(f"policy: {reason}"[:1_023])
    assert (fields["outcome"], fields["externalId"]) == ("failure", "abcd1234-7")
    for text in (ocsf, cef):
        message = syslog.message(event, text, host="h", process=1)
        head = _HEAD.match(message)
        assert head is not None
        assert (head[6], message[head.end() :].decode()) == (b"outcome", text)
