"""A plane is killed while break-glass is opened: it is open and everybody hears, or it is not."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from glass_kit import GlassPlane
from mortal_kit import killed
from store_kit import with_schema

from midflight.adapters.clock import SystemClock
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.break_glass import BreakGlass
from midflight.domain.notice import Notice, NoticeKind
from midflight.testing import WORKLOAD


class Dies(SqliteStore):
    """A store whose process is killed around a step of opening."""

    moment = ""

    async def put_break_glass(self, entry: BreakGlass) -> None:
        self.die("before it is stored")
        await super().put_break_glass(entry)
        self.die("after it was stored")

    async def add_notice(self, notice: Notice) -> bool:
        self.die("before anybody is to be told")
        return await super().add_notice(notice)

    def die(self, moment: str) -> None:
        if self.moment == moment:
            os.kill(os.getpid(), signal.SIGKILL)


def plane_on(folder: Path, moment: str = "") -> GlassPlane:
    store = Dies(folder / "midflight.sqlite3")
    store.moment = moment
    return GlassPlane(store=store, clock=SystemClock())


async def open_and_die(folder: Path, moment: str) -> None:
    """What the child does."""
    plane = plane_on(folder, moment)
    await plane.begin()
    await plane.break_open()


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("before it is stored", False),
        ("after it was stored", True),
        ("before anybody is to be told", True),
    ],
)
def test_it_is_open_and_everybody_is_told_or_it_is_not(
    tmp_path: Path, moment: str, is_open: bool
) -> None:
    asyncio.run(killed(__file__, str(with_schema(tmp_path)), moment))

    async def comes_back() -> None:
        plane = plane_on(tmp_path)
        await plane.start(register=False)
        assert bool(plane.glass.lets_pass(WORKLOAD)) is is_open
        waiting = await plane.escalation.open_notices()
        assert [each.kind for each in waiting] == [NoticeKind.BREAK_GLASS] * is_open
        for _ in range(3):
            await plane.telling.tick()
        told = [len(channel.opened) for channel in plane.channels.values()]
        assert told == [int(is_open)] * 3
        await plane.close()

    asyncio.run(comes_back())


if __name__ == "__main__":
    asyncio.run(open_and_die(Path(sys.argv[1]), sys.argv[2]))
