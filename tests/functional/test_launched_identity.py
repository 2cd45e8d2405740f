"""Whom attestation takes a launched process for; the plane runs in this process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import WORKLOAD, RunningPlane, running_plane

from midflight.adapters.attestation.proc_files import stat_of
from midflight.domain.attestation import Attested, Process
from midflight.domain.errors import Conflict
from midflight.domain.identity import Author

# Starts a child, says both numbers, and waits for its input to end.
PARENT = (
    "import os, subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
    "print(child.pid, flush=True); sys.stdin.read(); child.communicate()"
)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as made:
        made.register()
        yield made


@pytest.fixture
def parent() -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    started = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert started.stdout is not None
    yield started, int(started.stdout.readline())
    started.communicate()


def attested(plane: RunningPlane, pid: int) -> Attested:
    stat = stat_of(pid)
    assert stat is not None
    process = Process(pid=pid, uid=os.geteuid(), gid=os.getegid(), start=f"{pid}@{stat.started}")
    return plane.do(lambda: plane.plane.attesting.attest(process))


def run_selectors(found: Attested) -> list[str]:
    return [str(selector) for selector in found.selectors if selector.type == "launcher"]


def test_the_process_and_its_descendants_have_the_run_and_others_do_not(
    plane: RunningPlane, parent: Any
) -> None:
    started, child = parent
    run = plane.open_run()
    plane.client.post(f"/v1/runs/{run}/launch", pid=started.pid)
    for pid in (started.pid, child):
        found = attested(plane, pid)
        assert run_selectors(found) == [f"launcher:run:{run}"]
        (entry,) = plane.plane.attesting.entries(found)
        assert (entry.spiffe_id, entry.run) == (WORKLOAD, run)
    assert run_selectors(attested(plane, os.getpid())) == []
    plane.client.post(f"/v1/runs/{run}/close", reason="done")
    assert list(plane.plane.attesting.entries(found)) == []
    assert list(plane.plane.attesting.entries(attested(plane, child))) == []


def test_who_outlives_its_run_is_nobody_else_by_its_user(plane: RunningPlane, parent: Any) -> None:
    started, child = parent
    run = plane.open_run()
    plane.client.post("/v1/entries", spiffe_id=WORKLOAD, selectors=[f"unix:uid:{os.geteuid()}"])
    plane.client.post(f"/v1/runs/{run}/launch", pid=started.pid)
    plane.client.post(f"/v1/runs/{run}/close", reason="done")
    for pid in (started.pid, child):
        found = attested(plane, pid)
        assert run_selectors(found) == ["launcher:detached"]
        assert list(plane.plane.attesting.entries(found)) == []
    assert plane.plane.launches.pids() == {started.pid}
    started.communicate()
    plane.do(plane.plane.launches.sweep)
    assert plane.plane.launches.pids() == frozenset()
    assert plane.do(plane.plane.parts.store.list_launches) == []


def test_a_run_is_for_one_process_and_a_process_for_one_run(
    plane: RunningPlane, parent: Any
) -> None:
    started, child = parent
    run = plane.open_run()
    plane.client.post(f"/v1/runs/{run}/launch", pid=started.pid)
    with pytest.raises(Conflict):
        plane.client.post(f"/v1/runs/{run}/launch", pid=child)
    with pytest.raises(Conflict):
        plane.client.post(f"/v1/runs/{plane.open_run()}/launch", pid=started.pid)
    (record,) = [r for r in plane.records("changed") if r["what"].startswith("run.launch")]
    assert record["details"]["process"].startswith(f"{started.pid}@")


def test_a_run_that_ends_while_its_process_is_named_leaves_no_entry(
    plane: RunningPlane, parent: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, _ = parent
    run = plane.open_run()
    store = plane.plane.parts.store
    put = store.put_launch

    async def slowly(launch: Any) -> None:
        await put(launch)
        await plane.plane.runs.close_run(run, author=Author(name="somebody", proof="test"))

    monkeypatch.setattr(store, "put_launch", slowly)
    with pytest.raises(Conflict):
        plane.client.post(f"/v1/runs/{run}/launch", pid=started.pid)
    assert run_selectors(attested(plane, started.pid)) == ["launcher:detached"]
    assert not [entry for entry in plane.plane.registration.list() if entry.run == run]


def test_entries_and_join_tokens_are_handled_over_the_control_api(plane: RunningPlane) -> None:
    made = plane.client.post(
        "/v1/entries", spiffe_id=WORKLOAD, selectors=["unix:uid:4242", "unix:cwd:/opt"]
    )
    assert made["problem"] is None
    plane.client.post("/v1/workloads/disable", id=WORKLOAD)
    assert "disabled" in plane.client.get(f"/v1/entries/{made['id']}")["problem"]
    plane.client.post("/v1/entries/remove", id=made["id"])
    assert plane.client.get("/v1/entries") == []
    token = plane.client.post("/v1/join-tokens", spiffe_id=WORKLOAD)
    listed = plane.client.get("/v1/join-tokens")
    assert [one["id"] for one in listed] == [token["id"]]
    assert token["token"] not in str(listed)
    plane.client.post("/v1/join-tokens/remove", id=token["id"])
    assert plane.client.get("/v1/join-tokens") == []
