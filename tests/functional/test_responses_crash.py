"""`kill -9` at any instant: what was said to be held is held after the start that follows.

A real process over real files. It holds runs, lifts some, and says which once that is on disk.
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
from family_kit import TRAITS, Family, code
from response_kit import held, standard, take

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.decision import DenyCode
from midflight.testing import FakeClock, ScriptedUpstream

pytestmark = pytest.mark.anyio

CHILD = """
import asyncio, os, sys
from pathlib import Path
sys.path[:0] = sys.argv[2].split(":")
import test_responses_crash as crash
from midflight.domain.finding import Strength
from midflight.testing import OPERATOR
from response_kit import find, held

async def main():
    plane = await crash.start(Path(sys.argv[1]))
    async def one(name):
        number = 0
        while True:
            number += 1
            run = await plane.open()
            found = find(plane, run, strength=Strength.STRONG)
            await plane.responses.log.settle()
            (response,) = [r for r in held(plane) if found.id in r.findings]
            os.write(1, f"held {run} {response.id}\\n".encode())
            if number % 3 == 0:
                os.write(1, f"lifting {run} {response.id}\\n".encode())
                await plane.response_desk.lift(response.id, reason="tried", author=OPERATOR)
                os.write(1, f"lifted {run} {response.id}\\n".encode())
    await asyncio.gather(*(one(n) for n in "abc"))

asyncio.run(main())
"""


async def start(folder: Path) -> Family:
    """The plane over the files of a folder: the first one, or the one after a crash."""
    pack = standard()
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in TRAITS]
    plane = Family(
        upstream=ScriptedUpstream("one", tools),
        engine=CedarEngine(pack),
        store=SqliteStore(folder / "midflight.sqlite3"),
        ledger_store=SqliteLedgerStore(folder / "ledger.sqlite3"),
        clock=FakeClock(life=f"{time.monotonic_ns()} "),
    )
    first = not (folder / "midflight.sqlite3").exists()
    await plane.start(register=first)
    take(plane, pack, "")
    if first:
        for name, traits in TRAITS.items():
            await plane.pin(name, traits)
    return plane


def live_and_die(folder: Path, after: int) -> list[list[str]]:
    """What one life said, which ends after so many lines."""
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
    return [line.split() for line in seen]


async def test_nothing_that_was_said_to_be_held_is_free_after_a_kill(tmp_path: Path) -> None:
    chance = random.Random(11)
    expected: dict[str, str] = {}
    lifted: set[str] = set()
    for _ in range(3):
        for what, run, response in live_and_die(tmp_path, chance.randint(5, 40)):
            if what == "held":
                expected[response] = run
            else:  # from `lifting` on it may be either way, until it is `lifted`
                expected.pop(response, None)
                if what == "lifted":
                    lifted.add(response)
        plane = await start(tmp_path)
        now = {each.id for each in held(plane)}
        assert set(expected) <= now
        assert not lifted & now
        for response in random.Random(3).sample(sorted(expected), 3):
            assert code(await plane.act(expected[response], "send")) is DenyCode.POLICY
        await plane.close()
    assert len(expected) > 10
    assert lifted
