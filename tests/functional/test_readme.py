"""The README works as written: its commands exist, and its own plane does what it says."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import shlex
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import click
import httpx2
import pytest
from counterpart_kit import Postgres, postgres
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from typer.main import get_command
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.settings import Settings
from midflight.domain.approval import TRANSITIONS as APPROVALS
from midflight.domain.approval import ApprovalState
from midflight.domain.lease import TRANSITIONS as LEASES
from midflight.domain.lease import LeaseState
from midflight.domain.run import TRANSITIONS, RunState

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "tests/README.md")
SERVER = ROOT / "tests" / "servers" / "sdk_server.py"
RUNNER = CliRunner()


def blocks(language: str) -> Iterator[str]:
    """Code blocks of the README in a language."""
    yield from re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """Every command that the README shows, in order, as words."""
    joined = (block.replace("\\\n", " ") for block in blocks("console"))
    lines = [line for block in joined for line in block.splitlines()]
    shown = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in shown]


def verbs() -> list[list[str]]:
    return [words[1:] for words in commands() if words[0] == "midflight"]


def good(*words: str) -> str:
    result = RUNNER.invoke(app, list(words))
    assert result.exit_code == 0, (words, result.stderr)
    return result.stdout


@pytest.mark.parametrize("words", verbs(), ids=" ".join)
def test_every_verb_of_the_readme_takes_what_it_is_given(words: list[str]) -> None:
    command: Any = get_command(app)
    context = click.Context(command, info_name="midflight")
    rest = list(words)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        assert name in command.commands, name
        command = command.commands[name]
        context = click.Context(command, info_name=name, parent=context)
    command.parse_args(context, rest)


def test_every_target_of_make_in_the_documents_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        named = re.findall(r"(?:`|\$ |^    )make ([a-z][a-z-]*)", text, re.MULTILINE)
        assert set(named) <= targets, name


def test_every_file_that_the_documents_name_is_there() -> None:
    for name in DOCUMENTS:
        text = (ROOT / name).read_text()
        linked = re.findall(r"\]\(([^)#:]+)\)", text)
        quoted = re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", text) + re.findall(r"`(\w+\.py)`", text)
        for path in {*linked, *quoted}:
            places = (ROOT, ROOT / "src" / "midflight", ROOT / "tests")
            found = any((place / path).exists() for place in places) or list(
                (ROOT / "src").rglob(path)
            )
            assert found, f"{name} names {path}"


def test_the_picture_of_a_runs_states_is_the_table() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    picture = text.split("## States of a run", 1)[1].split("##", 1)[0]
    drawn = set(re.findall(r"^ +(?:open )?──► (\w+)", picture, re.MULTILINE))
    assert drawn == {state.value for state in TRANSITIONS[RunState.OPEN]}
    assert not any(TRANSITIONS[state] for state in RunState if state is not RunState.OPEN)


def test_the_picture_of_an_approvals_states_is_the_table() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    picture = text.split("## One approval", 1)[1].split("##", 1)[0]
    before, after = picture.split("    approved ─►", 1)
    arrow = re.compile(r"─+► (\w+)")
    drawn = {
        ApprovalState.PENDING: set(arrow.findall(before)),
        ApprovalState.APPROVED: set(arrow.findall("─►" + after)),
    }
    for state, words in drawn.items():
        assert words == {s.value for s in APPROVALS[state]}
    assert {state for state, following in APPROVALS.items() if following} == drawn.keys()


def test_the_picture_of_a_leases_states_is_the_table() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    picture = text.split("## One lease", 1)[1].split("##", 1)[0]
    drawn: dict[LeaseState, set[str]] = {}
    before = LeaseState.INTENT
    for line in re.findall(r"^    (.*──► .*)$", picture, re.MULTILINE):
        left, _, right = line.partition("──►")
        before = LeaseState(left.strip()) if left.strip() else before
        drawn.setdefault(before, set()).add(right.split()[0])
    assert drawn == {
        state: {after.value for after in following}
        for state, following in LEASES.items()
        if following
    }


def test_the_upstream_of_the_readme_is_one() -> None:
    [block] = blocks("toml")
    [upstream] = Settings(**tomllib.loads(block)).upstream
    assert upstream.name == "git"


@contextlib.contextmanager
def plane_up(folder: Path) -> Iterator[str]:
    """`midflight up` in a folder, as the README says; yields its URL."""
    child = f'command = "{sys.executable}"\nargs = ["{SERVER}"]\nreach = "closed"\n'
    settings = folder / "midflight.toml"
    text = settings.read_text().replace('"127.0.0.1:8600"', '"127.0.0.1:0"', 1)
    settings.write_text(f'{text}\n[[upstream]]\nname = "git"\n{child}')
    command = [sys.executable, "-m", "midflight.apps.cli.main", "up"]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = ""
            while "Midflight is up" not in said:
                line = process.stderr.readline()
                assert line, said
                said += line
            found = re.search(r"^gateway +(\S+)$", said, re.MULTILINE)
            assert found is not None, said
            yield found[1]
        finally:
            process.terminate()


async def call_add(url: str, token: str) -> Any:
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return await client.call_tool("add", {"a": 2, "b": 3})


async def make_reader(database: Postgres) -> None:
    connection = await asyncpg.connect(database.dsn())
    await connection.execute("CREATE ROLE orders_reader NOLOGIN")
    await connection.close()


@pytest.mark.postgres
def test_the_commands_of_the_readme_work_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    # A folder with a short path, since the control socket is in it.
    with tempfile.TemporaryDirectory(prefix="mf-") as name, postgres() as database:
        folder = Path(name)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "200")
        (folder / "agent.py").write_text("import os\nassert os.environ['SPIFFE_ENDPOINT_SOCKET']\n")
        (folder / "db-admin").write_text(database.password)
        (folder / "db-admin").chmod(0o600)
        asyncio.run(make_reader(database))
        first, second, *rest = verbs()
        assert (first, second) == (["init"], ["up"])
        good(*first)
        stand_ins = {
            "git_log": "add",
            "python": sys.executable,
            "db": "git",
            "host=db.example.org": f"host={database.host}",
            "user=midflight": "user=postgres",
            "password=file:/run/secrets/db-admin": f"password=file:{folder / 'db-admin'}",
        }
        with plane_up(folder) as url:
            for words in rest:
                now = [stand_ins.get(word, word) for word in words]
                if words[:2] == ["tool", "pin"]:
                    now.append("--yes")  # there is nobody to ask
                if words[:2] == ["credential", "add"]:
                    now += ["--set", f"port={database.port}", "--set", "tls=off"]
                if words[0] == "exec":
                    # A process of its own: it takes in, and ends, whatever descends from it.
                    command = [sys.executable, "-m", "midflight.apps.cli.main", *now]
                    assert subprocess.run(command, check=False).returncode == 0
                    continue
                said = good(*now)
                if words[:2] == ["run", "open"]:
                    stand_ins["RUN_ID"] = re.findall(r"\brun_[a-z0-9]+", said)[0]
                if words[:2] == ["workload", "token"]:
                    token = folder / "token"
                    assert token.stat().st_mode & 0o777 == 0o600
                    result = asyncio.run(call_add(url, token.read_text().strip()))
                    assert result.structured_content == {"result": 5}
                    tail = json.loads(good("ledger", "tail", "--json"))
                    intents = [found["id"] for found in tail if found["kind"] == "intent"]
                    stand_ins["RECORD_ID"] = intents[-1]
        assert {"RUN_ID", "RECORD_ID"} <= stand_ins.keys()
