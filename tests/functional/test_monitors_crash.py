"""`kill -9` at any instant: no payment that reached the upstream is missing from a monitor.

A real process over real files. The child's upstream writes each payment down where it survives,
before it answers; what is written there must be counted after the start that follows, and the
monitor must count exactly what the ledger holds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from monitor_kit import PAY, TRAITS, parsed, perform, values

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.ledger_sqlite_reader import SqliteLedgerReader
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.chain import Entry, decode
from midflight.domain.records import Intent
from midflight.services.guard import Performed
from midflight.testing import WORKLOAD, FakeClock, MemoryPlane, ScriptedUpstream, call

pytestmark = pytest.mark.anyio

DECLARED = (
    '[[monitor]]\nname = "paid"\nkind = "sum"\nper = "workload"\nwindow = "1d"\n'
    'effects = ["pay"]\nrole = "amount"\nplaces = 2\n'
    '[[monitor]]\nname = "payees"\nkind = "distinct"\nper = "workload"\nrole = "recipient"\n'
)
CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
import test_monitors_crash as crash
from midflight.services.ports.upstream import Reply
from midflight.testing import call
from monitor_kit import perform

async def main():
    plane = await crash.start(Path(sys.argv[1]))
    plane.monitor_history._saved_when = -1e9
    async def pay(action, flight, sink):
        os.write(1, f"{action.arguments['amount']} {action.arguments['to']}\\n".encode())
        await asyncio.sleep(0)
        return Reply(result={"content": []})
    plane.upstream.scripts["pay"] = pay
    async def client(name):
        number = 0
        while True:
            number += 1
            await perform(plane, call("pay", amount=number % 7 + 0.25, to=f"{name}-{number % 9}"))
    async def keeper():
        while True:
            await asyncio.sleep(0)
            plane.monitor_history._saved_when = -1e9  # a minute has always passed
            await plane.monitor_history.keep()
    await asyncio.gather(*(client(n) for n in "abcd"), keeper())

asyncio.run(main())
"""


async def start(folder: Path) -> MemoryPlane:
    """The plane over the files of a folder: the first one, or the one after a crash."""
    made = parsed(DECLARED)
    plane = MemoryPlane(
        upstream=ScriptedUpstream("one", [PAY]),
        engine=CedarEngine(made),
        store=SqliteStore(folder / "midflight.sqlite3"),
        ledger_store=SqliteLedgerStore(folder / "ledger.sqlite3"),
        # Whoever comes after a crash mints other ids.
        clock=FakeClock(life=f"{time.monotonic_ns()} "),
    )
    plane.monitors.declare(made.monitors)
    first = not (folder / "midflight.sqlite3").exists()
    await plane.start(register=first)
    if first:
        await plane.pin("pay", TRAITS["pay"])
    return plane


def live_and_die(folder: Path, after: int) -> list[str]:
    """Payments that reached the upstream in one life, which ends after so many."""
    here = Path(__file__).parent
    path = os.pathsep.join(map(str, (here, here.parent / "kit", here.parent)))
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    with child.stdout as told:
        seen = [told.readline() for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        seen += told.readlines()
    assert child.wait() == -signal.SIGKILL
    assert all(line.endswith("\n") for line in seen), seen
    return seen


def recorded(folder: Path) -> tuple[int, set[str]]:
    """What the intents on disk add up to: hundredths, and keys of payees."""
    reader = SqliteLedgerReader(folder / "ledger.sqlite3")
    reader.open()
    total, keys = 0, set[str]()
    for _, entry in reader.entries():
        assert isinstance(entry, Entry)
        record = decode(entry.body)
        if isinstance(record, Intent) and record.advanced is not None:
            for advance in record.advanced.by:
                if advance.monitor == "paid":
                    total += advance.amount
                else:
                    keys.update(advance.keys)
    reader.close()
    return total, keys


async def test_no_payment_is_forgotten_by_a_process_that_is_killed(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    arrived: list[str] = []
    for _ in range(3):
        arrived += live_and_die(tmp_path, chance.randint(1, 120))
        plane = await start(tmp_path)
        found = values(plane)
        total, keys = recorded(tmp_path)
        assert plane.monitor_history.problem == ""
        assert found == {"paid": {WORKLOAD: total}, "payees": {WORKLOAD: len(keys)}}
        assert total >= sum(int(float(line.split()[0]) * 100) for line in arrived)
        assert len(keys) >= len({line.split()[1] for line in arrived})
        # And it goes on from there.
        assert isinstance(await perform(plane, call("pay", amount=1, to="x")), Performed)
        assert values(plane)["paid"] == {WORKLOAD: total + 100}
        arrived.append("1 x\n")
        await plane.close()
    assert len(arrived) > 50
