"""Writing where another run has: when its writing is looked at, one's own does not become clean."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flow_kit import mails, office

from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio

INTENT = "Write the summary of my mails into notes.md."


async def untrusted(made: Any, intent: str = INTENT) -> str:
    run = await made.open(intent)
    await made.passes(run, "read_mail")
    return run


async def is_untrusted_after_reading(made: Any, name: str) -> bool:
    reader = await made.open("Read notes.md.")
    await made.passes(reader, "read_document", name=name)
    stored = await made.plane.store.get_run(reader)
    return stored.labels.untrusted


@pytest.mark.parametrize("restart", [False, True], ids=["running", "restarted"])
async def test_what_two_runs_wrote_is_not_cleared_for_one(restart: bool) -> None:
    async with office(read_mail=mails("Hello."), documents={"notes.md": "x"}) as made:
        first, second = await untrusted(made), await untrusted(made)
        await made.passes(first, "write_document", name="notes.md", text="Hello.")
        if restart:
            await made.plane.marks.start()
        await made.passes(second, "write_document", name="notes.md", text="Hello.")
        await made.plane.marks.add("one", ["other.md"], run=first)
        await made.plane.marks.clear("one", author=OPERATOR, run=first)
        assert await is_untrusted_after_reading(made, "notes.md")
        await made.plane.marks.start()
        assert await is_untrusted_after_reading(made, "notes.md")
        await made.plane.marks.clear("one", author=OPERATOR)
        assert not await is_untrusted_after_reading(made, "notes.md")


async def test_what_is_written_while_marks_are_cleared_stays_marked() -> None:
    async with office(read_mail=mails("Hello."), documents={"notes.md": "x"}) as made:
        marks, store = made.plane.marks, made.plane.store
        await marks.add("one", ["old.md"], run="run_old")
        listed = store.list_marks

        async def slow() -> Any:
            found = await listed()
            for _ in range(20):
                await asyncio.sleep(0)
            return found

        store.list_marks = slow
        clearing = asyncio.create_task(marks.clear("one", author=OPERATOR))
        while await store.marked("one"):
            await asyncio.sleep(0)
        await marks.add("one", ["notes.md"], run="run_new")
        await clearing
        assert await is_untrusted_after_reading(made, "notes.md")
