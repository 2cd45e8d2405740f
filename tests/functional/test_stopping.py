"""A plane that stops while clients hang at it in every way there is leaves nothing running."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bare_client import legacy, modern
from waiting_kit import OPENS_PAGES, POLLS_TASKS, send, waiting_gateway

import midflight
from midflight.apps.server.limits import Limits
from midflight.apps.settings_sections import Limits as Section

pytestmark = pytest.mark.anyio

OURS = str(Path(midflight.__file__).parent)
LISTS = {"toolsListChanged": True, "resourceSubscriptions": ["sample://greeting"]}
ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hi"}}


def ours() -> list[str]:
    """What runs of Midflight in this loop."""
    return [
        coroutine.__qualname__
        for task in asyncio.all_tasks()
        if (coroutine := task.get_coro()).cr_code.co_filename.startswith(OURS)
    ]


async def test_a_plane_that_stops_leaves_nothing_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(shutdown_s=0.01)  # nobody gets the time to end by himself
    monkeypatch.setattr(Section, "of_server", lambda _: limits)
    async with contextlib.AsyncExitStack() as clients:
        async with waiting_gateway(tmp_path) as waiting:
            new = await clients.enter_async_context(modern(waiting.gateway))
            old = await clients.enter_async_context(legacy(waiting.gateway, **OPENS_PAGES))
            listen = new.request("subscriptions/listen", notifications=LISTS)
            for client, asked in ((new, listen), (old, old.request("tools/call", **ECHO))):
                stream = await clients.enter_async_context(client.streaming(asked))
                assert await stream.next()
            await clients.enter_async_context(old.listening())
            waits = asyncio.ensure_future(new.call("echo", text="hi"))
            await waiting.entered()
            assert (await send(new, POLLS_TASKS, **ECHO))["result"]["taskId"]
            assert ours()
        assert ours() == []
        with pytest.raises(httpx2.HTTPError):
            await waits
