"""A process is killed with SIGKILL around telling: the next one goes on, under the same id.

The child lives on a SQLite store and its channel writes what it is told into a file of its own, so
that what left before the kill is known.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from escalation_kit import CONTACTS, OLIVIA, Told
from mortal_kit import killed
from notify_kit import ListChannel
from store_kit import with_schema

from midflight.adapters.clock import SystemClock
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.notice import Notice, NoticeState
from midflight.services.ports.notify import Message

MOMENTS = {
    "before it is written down": 0,
    "before it is told": 0,
    "after it was told": 1,
    "after that was written down": 1,
}


class Dies(SqliteStore):
    """A store whose process is killed around a change."""

    moment = ""
    changes = 0

    async def change_notices(self, changed: Sequence[Notice]) -> bool:
        self.changes += 1
        if self.moment == "before it is written down":
            die()
        done = await super().change_notices(changed)
        if self.moment == "after that was written down" and self.changes == 2:
            die()
        return done


class Journal(ListChannel):
    """A channel that writes into a file what it is told."""

    def __init__(self, name: str, folder: Path, moment: str) -> None:
        super().__init__(name)
        self._file = folder / "journal"
        self._moment = moment

    async def tell(self, message: Message) -> None:
        if self._moment == "before it is told":
            die()
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([self.name, message.id, message.telling.value]) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if self._moment == "after it was told":
            die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def plane_on(folder: Path, moment: str = "", clock: Any = None) -> Told:
    store = Dies(folder / "midflight.sqlite3")
    store.moment = moment
    names = [name for contact in CONTACTS.values() for name in contact.channels]
    return Told(
        store=store,
        clock=clock or SystemClock(),
        channels=[Journal(name, folder, moment) for name in names],
    )


async def tell_and_die(folder: Path, moment: str) -> None:
    """What the child does."""
    plane = plane_on(folder, moment)
    await plane.store.open()
    await plane.file()
    await plane.telling.tick()


def journal(folder: Path) -> list[list[str]]:
    path = folder / "journal"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_process_is_gone_on_from(tmp_path: Path, moment: str) -> None:
    asyncio.run(killed(__file__, str(with_schema(tmp_path)), moment))
    assert len(journal(tmp_path)) == MOMENTS[moment]

    async def comes_back() -> None:
        class Later(SystemClock):
            ahead = 0.0

            def now(self) -> float:
                return super().now() + self.ahead

            def monotonic(self) -> float:
                return super().monotonic() + self.ahead

        clock = Later()
        plane = plane_on(tmp_path, clock=clock)
        await plane.store.open()
        await plane.telling.start()
        await plane.telling.tick()
        told = [entry for entry in journal(tmp_path) if entry[2] == "trigger"]
        # At least once, and whatever came twice came under one id.
        assert {entry[0] for entry in told} == {"ann-chat"}
        assert len({entry[1] for entry in told}) == 1
        assert len(told) == (2 if moment == "after it was told" else 1)
        clock.ahead = 301
        await plane.telling.tick()
        assert [entry[0] for entry in journal(tmp_path)][-1] == "pager"
        await plane.escalation.acknowledge("apr_1", author=OLIVIA)
        clock.ahead = 100_000
        before = len(journal(tmp_path))
        await plane.store.close()
        # And once more: what somebody has stays so.
        again = plane_on(tmp_path, clock=clock)
        await again.store.open()
        await again.telling.tick()
        assert len(journal(tmp_path)) == before
        assert (await again.about()).state is NoticeState.ACKNOWLEDGED
        await again.store.close()

    asyncio.run(comes_back())


if __name__ == "__main__":
    asyncio.run(tell_and_die(Path(sys.argv[1]), sys.argv[2]))
