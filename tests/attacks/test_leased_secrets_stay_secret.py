"""I5 for leased credentials: a marker in each is looked for in all that a plane leaves or shows.

A real `midflight up` in a process of its own leases them and places them into real calls; its
upstreams prove that they got them, and repeat them in every answer. Then every file, the output,
the answers, traces, metrics, what operators' verbs print, and the command line and environment of
every process are searched, in clear and in the encodings that hide one by accident.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import os
import secrets
import sys
import threading
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from process_kit import Connection, ProcessPlane, metrics, process_plane
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.domain.lease import Credential, Injection, Placement, Secret
from midflight.services.ports.injection import Attachment, ClientCertificate
from midflight.services.ports.leases import Held
from midflight.testing import ScriptedLeases
from servers import leaky_child, leasing_plane
from servers.journal_server import journalling

pytestmark = pytest.mark.anyio

TRAITS = dict.fromkeys(("look", "fail", "break", "drop", "echo", "burst"), ("read", "closed"))
NAMES = ("header", "query", "key", "environment")


class Collector(ThreadingHTTPServer):
    """Takes traces, as bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.got = b""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.got += body  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def credential(name: str, upstream: str, *rules: Injection) -> Credential:
    return Credential(
        name=name, backend="memory", upstreams=frozenset({upstream}), injections=rules
    )


def leased(marks: dict[str, str]) -> list[dict[str, Any]]:
    bearer = Injection(placement=Placement.HEADER, name="X-Office", template="Bearer {token}")
    entries = [
        (credential("header", "up", bearer), {"token": marks["header"]}),
        (credential("query", "up", Injection(placement=Placement.QUERY, name="key")),
         {"token": marks["query"]}),
        (credential("dpop", "up", Injection(placement=Placement.DPOP)), {"key": marks["key"]}),
        (credential("env", "child", Injection(placement=Placement.ENV, name="LEAKY_SECRET")),
         {"token": marks["environment"]}),
    ]  # fmt: skip
    return [{"credential": msgspec.to_builtins(c), "fields": fields} for c, fields in entries]


def found(where: str, content: bytes, marks: dict[str, str]) -> list[str]:
    bad: list[str] = []
    for name, mark in marks.items():
        raw = mark.encode()
        forms = (
            raw,
            raw[::-1],
            raw.hex().encode(),
            *(base64.b64encode(bytes(skip) + raw)[4:-4] for skip in range(3)),
        )
        bad += [f"{name} in {where}" for form in forms if form in content][:1]
    return bad


async def test_no_marker_of_a_leased_credential_stands_anywhere(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    marks = {name: f"mark-{secrets.token_hex(16)}" for name in NAMES}
    kept = tmp_path_factory.mktemp("leases") / "leases.json"
    kept.write_text(json.dumps(leased(marks)))
    kept.chmod(0o600)
    collector = Collector()
    threading.Thread(target=collector.serve_forever, daemon=True).start()
    bad: list[str] = []
    async with journalling(slow_every=1_000) as journal:
        journal.said = f"you gave me {marks['header']} and {marks['query']}"
        described = f"""
[telemetry]
otlp_endpoint = "http://127.0.0.1:{collector.server_port}"
[[upstream]]
name = "up"
url = "{journal.url}"
reach = "closed"
[[upstream]]
name = "child"
command = "{sys.executable}"
args = ["{leaky_child.__file__}"]
reach = "closed"
"""
        program = (leasing_plane.__file__, str(kept))
        with process_plane(tmp_path, described, program=program) as plane:
            await asyncio.to_thread(plane.start)
            said = await use(plane)
            assert "[credential removed]" in said
            bad += found("answers", said.encode(), marks)
            for name, content in (await asyncio.to_thread(asked, plane)).items():
                bad += found(name, content, marks)
            children = running(plane, marks, bad)
            assert children == [Path(leaky_child.__file__).name]
            limits = Path(f"/proc/{plane.pid}/limits").read_text()
            core = next(line for line in limits.splitlines() if "core file size" in line)
            assert core.split()[4:6] == ["0", "0"]
            # Not dumpable: the kernel gives what is in /proc to root.
            assert Path(f"/proc/{plane.pid}/environ").stat().st_uid == 0
            for name, content in files(tmp_path).items():
                bad += found(f"{name} at work", content, marks)
            assert await asyncio.to_thread(plane.stop) == 0
            for name, content in files(tmp_path).items():
                bad += found(name, content, marks)
            bad += found("the output of `midflight up`", bytes(plane.output), marks)
    collector.shutdown()
    collector.server_close()
    assert collector.got
    bad += found("traces", collector.got, marks)
    assert bad == []
    # They were in use.
    heads = [head for head in journal.heads if b"x-office" in head]
    assert heads[0][b"x-office"] == f"Bearer {marks['header']}".encode()
    assert len(heads[0][b"dpop"]) == 64


async def test_no_sealed_secret_of_the_broker_stands_anywhere(tmp_path: Path) -> None:
    marks = {name: f"mark-{secrets.token_hex(16)}" for name in ("header", "query", "environment")}
    placed = {
        "header": ("up", {"placement": "header", "name": "Authorization", "template": "{token}"}),
        "query": ("up", {"placement": "query", "name": "key", "template": "{token}"}),
        "environment": ("child", {"placement": "env", "name": "LEAKY_SECRET"}),
    }
    bad: list[str] = []
    async with journalling(slow_every=1_000) as journal:
        journal.said = f"you gave me {marks['header']} and {marks['query']}"
        described = f"""
[[upstream]]
name = "up"
url = "{journal.url}"
reach = "closed"
[[upstream]]
name = "child"
command = "{sys.executable}"
args = ["{leaky_child.__file__}"]
reach = "closed"
"""
        with process_plane(tmp_path, described) as plane:
            await asyncio.to_thread(plane.start)
            for name, (upstream, rule) in placed.items():
                await asyncio.to_thread(
                    plane.control.post,
                    "/v1/credentials",
                    name=name,
                    backend="sealed",
                    upstreams=[upstream],
                    injections=[rule | {"template": "{token}"}],
                    settings={},
                    sealed={"token": marks[name]},
                )
            said = await use(plane)
            assert "[credential removed]" in said
            bad += found("answers", said.encode(), marks)
            verbs = [("lease", "list"), ("credential", "list")]
            verbs += [("credential", verb, name) for verb in ("show", "test") for name in placed]
            leases = await asyncio.to_thread(plane.control.get, "/v1/leases")
            assert {lease["credential"] for lease in leases} == set(placed)
            verbs += [("lease", "show", lease["id"]) for lease in leases]
            for name, content in (await asyncio.to_thread(asked, plane, *verbs)).items():
                bad += found(name, content, marks)
            assert running(plane, marks, bad) == [Path(leaky_child.__file__).name]
            for name, content in files(tmp_path).items():
                bad += found(f"{name} at work", content, marks)
            assert await asyncio.to_thread(plane.stop) == 0
            for name, content in files(tmp_path).items():
                bad += found(name, content, marks)
            bad += found("the output of `midflight up`", bytes(plane.output), marks)
    assert bad == []
    heads = [head for head in journal.heads if b"authorization" in head]
    assert heads[0][b"authorization"] == marks["header"].encode()


async def use(plane: ProcessPlane) -> str:
    """Answers of both upstreams that hold the credentials, in every way to fail."""
    workload = await asyncio.to_thread(plane.register, "one")
    for upstream in ("up", "child"):
        await asyncio.to_thread(plane.pin, upstream, TRAITS)
    _, token = await asyncio.to_thread(plane.open_run, workload)
    answers: list[str] = []
    with closing(Connection(plane.url)) as agent:
        for tool in ("look", "fail", "break", "drop", "echo", "burst", "look", "nosuch"):
            given = {"text": "hello"} if tool in {"echo", "burst"} else {"nonce": "hello"}
            answers.append(json.dumps((await agent.call(token, tool, **given)).message))
        # One that asks for a credential by name where none may stand.
        refused = await agent.call(token, "echo", text="{{lease:env}}")
        assert refused.code == "lease"
    return "\n".join(answers)


def asked(plane: ProcessPlane, *more: tuple[str, ...]) -> dict[str, bytes]:
    """What operators' verbs print, and the metrics page."""
    said: dict[str, bytes] = {}
    for words in (
        ("status",),
        ("doctor",),
        ("run", "list"),
        ("tool", "list"),
        ("ledger", "tail", "--count", "1000"),
        ("ledger", "verify"),
        *more,
    ):
        for form in ((), ("--json",)):
            result = CliRunner().invoke(app, ["--config", str(plane.config), *words, *form])
            assert result.exit_code in {0, 1}, (words, result.output)
            name = "midflight " + " ".join(words)
            said[name] = said.get(name, b"") + result.output.encode()
    assert b"never dumped" in said["midflight doctor"]
    assert b"credential_echoed" in said["midflight ledger tail --count 1000"]
    said["GET /metrics"] = asyncio.run(metrics(plane))
    return said


def running(plane: ProcessPlane, marks: dict[str, str], bad: list[str]) -> list[str]:
    """Search all processes; the programs in whose environment the leased variable is."""
    has: list[str] = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        bad += found(f"cmdline of {entry.name}", command, marks)
        if marks["environment"].encode() in environ:
            has.append(Path(command.split(b"\0")[-2].decode()).name)
            others = {name: mark for name, mark in marks.items() if name != "environment"}
            bad += found(f"environ of {entry.name}", environ, others)
        else:
            bad += found(f"environ of {entry.name}", environ, marks)
    assert plane.pid
    return has


def files(folder: Path) -> dict[str, bytes]:
    """Every file, by its path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
    }


def test_no_value_that_holds_a_secret_shows_it() -> None:
    mark = f"mark-{secrets.token_hex(8)}"
    leases = ScriptedLeases()
    made = credential("crm", "one", Injection(placement=Placement.HEADER, name="X"))
    leases.add(made, token=mark)
    held = leases._make("run", "workload", "crm")
    certificate = ClientCertificate(serial="1", chain=b"chain", key=mark.encode())
    attachment = Attachment(
        leases=("lease_1",),
        headers=(("X", mark),),
        query=(("k", mark),),
        certificate=certificate,
        env=(("K", mark),),
        arguments={"{{lease:crm}}": mark},
        secrets=frozenset({mark}),
    )
    values = (held, held.secret, certificate, attachment)
    assert {type(value) for value in values} == {Held, Secret, ClientCertificate, Attachment}
    for value in (*values, list(values), {"x": values}):
        assert mark not in repr(value)
        assert mark not in f"{value!s}"
