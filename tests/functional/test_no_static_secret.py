"""The whole of it: a program that holds no secret proves who it is, and reads a real database.

`midflight up`, `midflight exec` and PostgreSQL are processes of their own; the agent speaks to the
Workload API with the independent `spiffe` client and has nothing of Midflight in it.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from counterpart_kit import Postgres, counterpart_python, postgres
from process_kit import DOMAIN, PUBLIC_URL, ProcessPlane, process_plane
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from servers import orders_server

pytestmark = [pytest.mark.postgres, pytest.mark.spiffe]

AGENT = Path(orders_server.__file__).with_name("slice_agent.py")
NAME = "orders"
WORKLOAD = f"spiffe://{DOMAIN}/agents/clerk"
READ = ("read", "closed")
SLOW = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%' AND pid <> pg_backend_pid()"
WAIT_S = 40.0


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as one:
        query(
            one,
            "CREATE TABLE orders (item text)",
            "INSERT INTO orders VALUES ('anvil'), ('rope')",
            "CREATE ROLE reader NOLOGIN",
            "GRANT SELECT ON orders TO reader",
        )
        yield one


@pytest.fixture
def plane(tmp_path: Path, database: Postgres) -> Iterator[ProcessPlane]:
    upstream = f"""
[[upstream]]
name = "db"
command = "{sys.executable}"
args = ["{orders_server.__file__}"]
env = {{ PGHOST = "{database.host}", PGPORT = "{database.port}" }}
reach = "closed"
"""
    with process_plane(tmp_path, upstream) as made:
        made.start()
        made.register("clerk")
        made.pin("db", dict.fromkeys(orders_server.QUERIES, READ))
        password = tmp_path / "password"
        password.write_text(database.password)
        password.chmod(0o600)
        operate(
            made,
            *("credential", "add", NAME, "--backend", "postgres", "--upstream", "db"),
            *("--set", f"host={database.host}", "--set", f"port={database.port}"),
            *("--set", "user=postgres", "--set", "tls=off", "--scope", "reader"),
            *("--secret", f"password=file:{password}"),
            *("--inject", "env:PGUSER={username}", "--inject", "env:PGPASSWORD={password}"),
        )
        operate(made, "credential", "test", NAME)
        yield made


def query(database: Postgres, *statements: str) -> Any:
    """What the last of some statements gives, asked as the superuser."""

    async def ask() -> Any:
        session = await asyncpg.connect(database.dsn(), ssl=False)
        try:
            found: Any = None
            for each in statements:
                found = [tuple(row) for row in await session.fetch(each)]
            return found
        finally:
            await session.close()

    return asyncio.run(ask())


def roles(database: Postgres) -> list[str]:
    made = "SELECT rolname FROM pg_roles WHERE rolcanlogin AND rolname <> 'postgres'"
    return [row[0] for row in query(database, made)]


def sessions(database: Postgres, role: str) -> int:
    asked = f"SELECT count(*) FROM pg_stat_activity WHERE usename = '{role}'"
    return int(query(database, asked)[0][0])


def operate(plane: ProcessPlane, *words: str) -> str:
    """What an operator's verb prints."""
    done = CliRunner().invoke(app, ["--config", str(plane.config), *words])
    assert done.exit_code == 0, (words, done.output)
    return str(done.output)


class Clerk:
    """The agent, started as people start one."""

    def __init__(self, plane: ProcessPlane) -> None:
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "midflight.apps.cli.main", "--config", str(plane.config)),
                *("exec", "--workload", "agents/clerk", "--intent", "List the orders.", "--"),
                *(str(counterpart_python()), "-I", str(AGENT), plane.url, PUBLIC_URL),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )

    def ask(self, tool: str) -> None:
        """Let it call a tool."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(tool) + "\n")
        self.process.stdin.flush()

    def said(self) -> Any:
        """The next line."""
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], WAIT_S)[0]
        line = self.process.stdout.readline()
        assert line, self.process.communicate()
        return json.loads(line)

    def call(self, tool: str) -> str:
        """The text of what it got of a tool."""
        self.ask(tool)
        answer = self.said()
        assert "result" in answer, answer
        return str(answer["result"]["content"][0]["text"])

    def done(self) -> tuple[int, str]:
        """End its input, and wait; its exit code, and what was said to the person."""
        _, err = self.process.communicate(timeout=WAIT_S)
        return self.process.returncode, err


@pytest.fixture
def clerk(plane: ProcessPlane) -> Iterator[Clerk]:
    made = Clerk(plane)
    yield made
    if made.process.poll() is None:
        made.process.kill()
        made.process.communicate()


def test_an_agent_without_a_secret_reads_a_database_until_its_run_is_revoked(
    plane: ProcessPlane, database: Postgres, clerk: Clerk
) -> None:
    told = clerk.said()
    (run,) = plane.control.get("/v1/runs", workload=WORKLOAD)
    # Who it is, it has of the run that it was launched for, and can neither leave nor reword it.
    assert told["svids"] == [WORKLOAD]
    assert told["granted"]["token_type"] == "DPoP"
    assert (told["claims"]["sub"], told["claims"]["txn"]) == (WORKLOAD, run["id"])
    assert set(told["claims"]["cnf"]) == {"jkt"}
    assert told["other intent"]["error"] == "unauthorized_client"
    # The database answers to a role that was made for this run.
    assert clerk.call("list_orders") == "anvil rope"
    (role,) = roles(database)
    assert clerk.call("whoami") == role
    (lease,) = json.loads(operate(plane, "lease", "list", "--run", run["id"], "--json"))
    assert (lease["credential"], lease["state"], lease["run"]) == (NAME, "active", run["id"])
    # None of that is in the agent: its environment names places, and its call carries a proof.
    environ = Path(f"/proc/{told['pid']}/environ").read_bytes()
    command = Path(f"/proc/{told['pid']}/cmdline").read_bytes()
    child = child_with(role.encode())
    password = variable(child, b"PGPASSWORD")
    for secret in (password, database.password.encode()):
        assert secret not in environ + command + bytes(plane.output)
    names = {pair.partition(b"=")[0] for pair in environ.split(b"\0") if pair}
    assert not names & {b"PGUSER", b"PGPASSWORD", b"PGHOST"}
    # A query runs; the run is revoked; all of it ends.
    pidfd, agent = os.pidfd_open(child), os.pidfd_open(told["pid"])
    clerk.ask("slow_report")
    while not query(database, SLOW):  # bounded by the test's own time limit
        pass
    operate(plane, "revoke", "run", run["id"], "--reason", "not agreed")
    cut = clerk.said()["result"]
    assert "not agreed" in cut["content"][0]["text"]
    for held in (pidfd, agent):
        assert select.select([held], [], [], WAIT_S)[0]
        os.close(held)
    code, said = clerk.done()
    assert code == 128 + 15, said
    assert "not agreed" in said
    while roles(database) or sessions(database, role):
        pass
    (lease,) = json.loads(
        operate(plane, "lease", "list", "--run", run["id"], "--state", "revoked", "--json")
    )
    assert lease["state"] == "revoked"
    assert plane.control.get("/v1/entries") == []
    records = operate(plane, "ledger", "tail", "--count", "1000", "--json")
    assert password.decode() not in records + bytes(plane.output).decode()
    assert len(plane.control.get("/v1/runs", workload=WORKLOAD)) == 1


def child_with(value: bytes) -> int:
    """The one process in whose environment something stands."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and value in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    (one,) = found
    return one


def variable(pid: int, name: bytes) -> bytes:
    """A variable of a process."""
    pairs = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    (value,) = (rest for key, _, rest in (pair.partition(b"=") for pair in pairs) if key == name)
    return value
