"""Several processes on one file, and a process that dies."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.labels import Confidentiality, Labels

pytestmark = pytest.mark.anyio

PROLOGUE = """
import asyncio, json, sys
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import Conflict
from midflight.domain.labels import BOTTOM, Confidentiality, Labels
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import Run

path, me = sys.argv[1:]

def revocation(number):
    return Revocation(id=f"rev_{me}_{number}", scope=Scope(kind=ScopeKind.EVERYTHING),
        reason="r", author="ada", proof="p", at=1.0)

RUN = Run(id="run_a", workload="w", intent=None, opened_by="o", opened_at=1, expires_at=2,
    idle_timeout=1, max_steps=100, salt="s")
"""

WORK_TOGETHER = """
async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    store = SqliteStore(path)
    await store.open()
    opened = True
    try:
        await store.create_run(RUN, labels=BOTTOM, labels_source="")
    except Conflict:
        opened = False
    mine = Labels(untrusted=me == "0", compartments=frozenset({me}),
        confidentiality=Confidentiality(int(me)))
    positions, steps, won = [], 0, []
    for number in range(20):
        positions.append(await store.append_revocation(revocation(number)))
        steps += await store.reserve_steps("run_a", 3)
        if await store.use_once("dpop", str(number), until=9, now=1):
            won.append(number)
    joined = await store.join_labels("run_a", mine, source=f"rec_{me}")
    await store.close()
    print(json.dumps({"opened": opened, "positions": positions, "steps": steps, "won": won,
        "covered": joined.covers(mine)}))

asyncio.run(main())
"""

REVOKE_FOR_EVER = """
async def main():
    store = SqliteStore(path)
    await store.open()
    number = 0
    while True:
        number += 1
        print(await store.append_revocation(revocation(number)), flush=True)

asyncio.run(main())
"""


def start(script: str, path: Path, me: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + script, str(path), str(me)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


async def test_processes_that_open_a_new_file_together_share_one_truth(tmp_path: Path) -> None:
    path = tmp_path / "midflight.db"
    workers = [start(WORK_TOGETHER, path, me) for me in range(3)]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    results = []
    for worker in workers:  # all are ready: now they race
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        results.append(json.loads(out))

    assert [result["opened"] for result in results].count(True) == 1
    assert sorted(n for result in results for n in result["positions"]) == list(range(1, 61))
    assert sum(result["steps"] for result in results) == 100
    assert sorted(n for result in results for n in result["won"]) == list(range(20))
    assert all(result["covered"] for result in results)
    store = SqliteStore(path)
    await store.open()
    stored = await store.get_run("run_a")
    await store.close()
    assert stored is not None
    assert stored.labels == Labels(
        untrusted=True,
        confidentiality=Confidentiality.SECRET,
        compartments=frozenset({"0", "1", "2"}),
    )
    assert sorted(stored.labels_source.split()) == ["rec_0", "rec_1", "rec_2"]


async def test_a_killed_process_loses_no_acknowledged_revocation(tmp_path: Path) -> None:
    path = tmp_path / "midflight.db"
    acknowledged = 0
    for me in range(2):
        worker = start(REVOKE_FOR_EVER, path, me)
        assert worker.stdout is not None
        for line in worker.stdout:
            acknowledged = int(line)
            if acknowledged % 40 == 0:
                break
        worker.kill()
        acknowledged = max([acknowledged, *map(int, worker.stdout.read().split("\n")[:-1])])
        worker.wait()
        worker.stdout.close()
        assert worker.stdin is not None
        worker.stdin.close()
        store = SqliteStore(path)
        await store.open()
        log = await store.revocations()
        await store.close()
        assert [entry.position for entry in log] == list(range(1, len(log) + 1))
        assert len(log) >= acknowledged > 0
