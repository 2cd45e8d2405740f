"""A client that polls its approved task many times at once, to have its action out of reach.

One of the polls begins the action. It stays the task's: the client hears what comes of it, and who
cancels the task cancels it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bare_client import modern
from waiting_kit import POLLS_TASKS, WaitingGateway, send, waiting_gateway

pytestmark = pytest.mark.anyio

SLOW: dict[str, Any] = {"name": "slow", "arguments": {"tag": "mine"}}


def together(waiting: WaitingGateway, polls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have so many polls find the task not begun, before the first of them begins it."""
    waits = waiting.plane.waiting[1]._waits
    rebuilt, found, all_have = waits.rebuilt, [0], asyncio.Event()

    async def held_back(*words: Any) -> Any:
        made = await rebuilt(*words)
        found[0] += 1
        if found[0] == polls:
            all_have.set()
        await all_have.wait()
        return made

    monkeypatch.setattr(waits, "rebuilt", held_back)


@pytest.mark.parametrize("polls", [2, 3, 7])
async def test_what_a_poll_began_is_cancelled_however_many_polled(
    polls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await send(client, POLLS_TASKS, **SLOW))["result"]["taskId"]
        await waiting.approve()
        together(waiting, polls, monkeypatch)
        poll = [send(client, POLLS_TASKS, "tasks/get", taskId=task) for _ in range(polls)]
        said = await asyncio.gather(*poll)
        assert [each["result"]["status"] for each in said] == ["working"] * polls
        await waiting.served.slow_started.wait()
        await send(client, POLLS_TASKS, "tasks/cancel", taskId=task)
        await waiting.served.until_cancelled("mine")
        last = await send(client, POLLS_TASKS, "tasks/get", taskId=task)
        assert last["result"]["status"] == "cancelled"
        assert waiting.served.calls == ["slow"]
