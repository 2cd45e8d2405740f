"""A plane is killed with SIGKILL around the use of a yes: whatever is lost, it acts at most once.

The child lives on a SQLite store and says what its upstream received in a file of its own, so that
what left before the kill is known. Three moments: before the use is committed, after it and before
the action leaves, and when the upstream has it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from approval_kit import OWNER, AskingPlane
from store_kit import with_schema

from midflight.adapters.clock import SystemClock
from midflight.adapters.store.sqlite import SqliteStore
from midflight.services.guard import Performed, Refused

TO = {"to": "bob@x.org"}


class Dies(SqliteStore):
    """A store whose process is killed before or after a yes is used up."""

    moment = ""

    async def use_approval(self, approval_id: str, *, now: int) -> bool:
        if self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        used = await super().use_approval(approval_id, now=now)
        if self.moment == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return used


def plane_on(folder: Path, moment: str = "") -> AskingPlane:
    store = Dies(folder / "midflight.sqlite3")
    store.moment = moment
    plane = AskingPlane(store=store, clock=SystemClock())

    async def send(action: Any, flight: Any, sink: Any) -> Any:
        from midflight.services.ports.upstream import Reply  # noqa: PLC0415

        with (folder / "journal").open("a", encoding="utf-8") as file:
            file.write("sent\n")
            file.flush()
            os.fsync(file.fileno())
        if moment == "upstream":
            os.kill(os.getpid(), signal.SIGKILL)
        return Reply(result={"content": []})

    plane.upstream.scripts["send"] = send
    return plane


async def approve_and_die(folder: Path, moment: str) -> None:
    """What the child does: ask, be approved, act."""
    plane = plane_on(folder, moment)
    run = await plane.begin()
    approval = await plane.ask(run, **TO)
    await plane.desk.approve(approval, author=OWNER)
    (folder / "run").write_text(f"{run} {approval}", encoding="utf-8")
    await plane.act(run, **TO)


@pytest.mark.parametrize(
    ("moment", "left", "state"),
    [("before", 0, "approved"), ("after", 0, "used"), ("upstream", 1, "used")],
)
def test_a_yes_is_used_at_most_once_over_a_crash(
    tmp_path: Path, moment: str, left: int, state: str
) -> None:
    code = (
        "import asyncio, sys, pathlib; sys.path[:0] = sys.argv[1].split(':');"
        "import test_approval_crash as t;"
        "asyncio.run(t.approve_and_die(pathlib.Path(sys.argv[2]), sys.argv[3]))"
    )
    here = Path(__file__).parent
    paths = f"{here}:{here.parent / 'kit'}"
    done = subprocess.run(
        [sys.executable, "-c", code, paths, str(with_schema(tmp_path)), moment],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    run, approval = (tmp_path / "run").read_text(encoding="utf-8").split()
    journal = tmp_path / "journal"

    def sent() -> int:
        return len(journal.read_text(encoding="utf-8").split()) if journal.exists() else 0

    async def comes_back() -> None:
        plane = plane_on(tmp_path)
        await plane.start(register=False)
        assert await plane.state(approval) == state
        assert sent() == left
        outcomes = await asyncio.gather(*(plane.act(run, **TO) for _ in range(5)))
        passed = [o for o in outcomes if isinstance(o, Performed)]
        # What was not used up before the crash is still good, for one; what was, is gone.
        assert len(passed) == (1 if moment == "before" else 0)
        assert all(isinstance(o, Performed | Refused) for o in outcomes)
        assert sent() == (1 if moment == "before" else left)
        assert await plane.state(approval) == "used"
        await plane.close()

    asyncio.run(comes_back())
