"""I10 for the ledger: `kill -9` at any instant loses no acknowledged record and doubles none.

Real processes, a real file, a real signal. The child prints the id of each record that it was told
is durable; whatever it printed must be there afterwards.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.domain.problems import Report
from midflight.domain.records import Observed
from midflight.services.ledger import Ledger
from midflight.services.ledger_verify import verify

pytestmark = pytest.mark.anyio

SIGNER = Ed25519NoteSigner(name="example.org/midflight", seed=bytes(range(32)))

CHILD = '''
import asyncio, os, signal, sys
from pathlib import Path
from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.domain.identity import Workload
from midflight.domain.question import RunFacts, Source
from midflight.domain.records import Facts, Intent, Outcome, Terminal
from midflight.domain.tool import PinState
from midflight.domain.traits import Traits
from midflight.services.ledger import Ledger

path, mode = Path(sys.argv[1]), sys.argv[2]
FACTS = Facts(
    kind="call_tool", method="tools/call", upstream="git", name="git_commit", pin="p",
    pin_state=PinState.PINNED, traits=Traits(), workload=None,
    run=RunFacts(id="run_a", has_intent=True, implicit=False, age_s=1, steps=1), source=Source(),
)


class Deadly(SqliteLedgerStore):
    """Dies at a chosen point of the recovery."""

    def append(self, entries, *, standing=None, settled=()):
        if mode == "die-before":
            os.kill(os.getpid(), signal.SIGKILL)
        first = super().append(entries, standing=standing, settled=settled)
        if mode == "die-behind":
            os.kill(os.getpid(), signal.SIGKILL)
        return first

    def _insert(self, connection, entries):
        first = super()._insert(connection, entries)
        if mode == "die-within":
            os.kill(os.getpid(), signal.SIGKILL)
        return first


async def call(ledger):
    while True:
        intent = ledger.append(
            Intent(at=1.0, digest="d", facts=FACTS, arguments=None, decided="v", reasons=())
        )
        await intent.durable()
        os.write(1, intent.id.encode() + b"\\n")
        await asyncio.sleep(0)
        outcome = ledger.append(Outcome(at=2.0, state=Terminal.DONE, intent=intent.id))
        if hash(outcome.id) % 3 == 0:
            await outcome.durable()
            os.write(1, outcome.id.encode() + b"\\n")


async def main():
    signer = Ed25519NoteSigner(name="example.org/midflight", seed=bytes(range(32)))
    ledger = Ledger(Deadly(path), signer=signer, clock=SystemClock(), checkpoint_every=50)
    await ledger.start("0.1", "v1")
    await asyncio.gather(*(call(ledger) for _ in range(16)))


asyncio.run(main())
'''


def run_and_kill(path: Path, acknowledged: int) -> set[str]:
    """Run the load, kill it once so many records were acknowledged, and return their ids."""
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), "load"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(acknowledged)]
        os.kill(child.pid, signal.SIGKILL)
        # What it wrote before it died counts too; a torn last line does not.
        lines += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    return {line.decode().strip() for line in lines if line.endswith(b"\n")}


def die_in_recovery(path: Path, mode: str) -> None:
    child = subprocess.run([sys.executable, "-c", CHILD, str(path), mode], check=False)
    assert child.returncode == -signal.SIGKILL


def check(path: Path) -> tuple[Report, set[str]]:
    reader = SqliteLedgerReader(path)
    reader.open()
    ids = {entry.id for _, entry in reader.entries()}  # type: ignore[union-attr]
    notes = reader.checkpoints()
    key = SIGNER.verifier_key()
    report = verify(reader.entries(), notes, verifier_key=key, published=None)
    reader.close()
    return report, ids


async def recover(path: Path) -> None:
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("0.1", "v1")
    await ledger.close()


async def test_a_kill_under_load_loses_no_acknowledged_record(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    acknowledged = run_and_kill(path, 300)
    report, ids = check(path)
    assert report.ok, report.problems
    assert acknowledged <= ids
    await recover(path)
    report, ids = check(path)
    assert report.ok, report.problems
    assert acknowledged <= ids
    assert report.open_count == 0
    assert report.intents == report.outcomes
    assert report.signed_up_to == report.entries


@pytest.mark.parametrize("mode", ["die-before", "die-within", "die-behind"])
async def test_a_kill_of_the_recovery_closes_each_orphan_once(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "ledger.sqlite3"
    acknowledged = run_and_kill(path, 50)
    assert check(path)[0].open_count > 0
    for _ in range(2):
        die_in_recovery(path, mode)
    await recover(path)
    report, ids = check(path)
    assert report.ok, report.problems
    assert acknowledged <= ids
    assert report.open_count == 0
    assert report.intents == report.outcomes


async def test_a_second_process_leaves_a_living_writers_intents_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    with subprocess.Popen(  # noqa: ASYNC220 -- the test is about processes, nothing else runs here
        [sys.executable, "-c", CHILD, str(path), "load"], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        await recover(path)  # starts and ends beside the load
        report, _ = check(path)
        assert report.ok, report.problems
        for _ in range(100):
            child.stdout.readline()
        os.kill(child.pid, signal.SIGKILL)
        child.stdout.read()
    await recover(path)
    report, _ = check(path)
    assert report.ok, report.problems
    assert report.intents == report.outcomes


@pytest.mark.slow
async def test_many_kills_at_random_instants_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    acknowledged: set[str] = set()
    chance = random.Random(20_260_101)
    for _ in range(25):
        acknowledged |= run_and_kill(path, chance.randint(1, 3_000))
        if chance.random() < 0.5:
            die_in_recovery(path, chance.choice(["die-before", "die-within", "die-behind"]))
    await recover(path)
    report, ids = check(path)
    assert report.ok, report.problems
    assert acknowledged <= ids
    assert report.open_count == 0
    assert report.intents == report.outcomes


FULL = """
import asyncio, resource, sys
from pathlib import Path
from midflight.adapters.clock import SystemClock
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.domain.errors import LedgerUnavailable
from midflight.domain.records import Observed
from midflight.services.ledger import Ledger


async def main():
    ledger = Ledger(SqliteLedgerStore(Path(sys.argv[1])), signer=None, clock=SystemClock())
    await ledger.start("0.1", "v1")
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    kept = refused = 0
    for number in range(100):
        ticket = ledger.append(Observed(at=1.0, what="x" * 9_000, subject=str(number)))
        try:
            await ticket.durable()
            kept += 1
        except LedgerUnavailable:
            refused += 1
            assert not ledger.available
    assert kept and refused, (kept, refused)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    await ledger.flush()
    assert ledger.available
    await ledger.close()
    print(kept, refused)


asyncio.run(main())
"""


def test_writes_that_the_kernel_refuses_are_made_up_for_in_order(tmp_path: Path) -> None:
    """RLIMIT_FSIZE: the kernel itself refuses to let the file grow, as on a full disk."""
    path = tmp_path / "ledger.sqlite3"
    child = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], check=True, capture_output=True, text=True
    )
    kept, refused = map(int, child.stdout.split())
    assert kept + refused == 100
    report, _ = check(path)
    assert report.ok, report.problems
    assert report.entries == 1 + 100 + 1


async def test_a_ledger_is_verified_while_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    ledger = Ledger(SqliteLedgerStore(path), signer=SIGNER, clock=SystemClock())
    await ledger.start("0.1", "v1")
    stop = asyncio.Event()

    async def load() -> None:
        while not stop.is_set():
            await ledger.append(Observed(at=1.0, what="seen", subject="part")).durable()

    task = asyncio.ensure_future(load())
    before = 0
    while before < 200:
        report, _ = await asyncio.to_thread(check, path)
        assert report.ok, report.problems
        assert report.entries >= before
        before = report.entries
    stop.set()
    await task
    await ledger.close()
