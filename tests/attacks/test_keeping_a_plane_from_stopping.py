"""An agent that keeps a plane from stopping, by what it does in the moment of the stop.

Whatever people are to be told wakes the task that tells them: a question that an agent has filed,
a finding about it. A plane that is stopped in that very moment stops all the same.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from midflight.apps.compose import Plane
from midflight.apps.compose_parts import parts
from midflight.apps.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("turns", range(6))
async def test_a_plane_stops_though_somebody_is_to_be_told_something(
    turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`turns` of the event loop lie between what wakes the task and the end of it."""
    settings = Settings(state={"directory": tmp_path / "state"})
    plane = Plane(settings, parts(settings))
    close = plane.lending.close

    async def stirring() -> None:  # what is closed right before
        await close()
        plane.escalating.escalation.ended("apr_1", "answered, or over")
        for _ in range(turns):
            await asyncio.sleep(0)

    monkeypatch.setattr(plane.lending, "close", stirring)
    before = asyncio.all_tasks()
    async with asyncio.timeout(20):
        async with plane.running():
            pass
    assert asyncio.all_tasks() == before
