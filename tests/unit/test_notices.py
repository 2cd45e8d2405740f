"""Lists that change by an operator's hand are told to those who listen, once for many changes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.apps.gateway.notices import Notices
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.testing import OPERATOR, MemoryPlane, ScriptedUpstream

pytestmark = pytest.mark.anyio


async def nothing(*_: object) -> Any:
    """Nothing is fetched and nothing joined here."""


async def test_pinning_many_tools_is_one_notice() -> None:
    names = [f"tool_{number}" for number in range(5)]
    upstream = ScriptedUpstream(
        "one", [{"name": name, "inputSchema": {"type": "object"}} for name in names]
    )
    plane = MemoryPlane(upstream=upstream)
    notices = Notices(refresh=nothing, observe=nothing)
    plane.catalogue.on_changed(notices.changed)
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def listener(upstream_name: str, method: str, params: dict[str, Any]) -> None:
        assert params == {}
        heard.put_nowait((upstream_name, method))

    notices.listen("run_1", listener)
    await plane.start()
    assert await heard.get() == ("one", "notifications/tools/list_changed")  # they are served
    for name in names:
        await plane.pin(name, Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))
    await plane.catalogue.unpin("one", names[0], author=OPERATOR, kind=PinnedKind.TOOL)
    assert await heard.get() == ("one", "notifications/tools/list_changed")
    assert heard.empty()
    await notices.close()
    await plane.close()
