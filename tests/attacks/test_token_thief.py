"""A thief of a token who wants more of it than its minutes."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from midflight.apps.gateway.sinks import ModernSink, ResponseWriter
from midflight.services.listing import Seat
from midflight.testing import MemoryPlane, ScriptedUpstream, caller

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(("left", "over"), [(0, True), (600, False)])
async def test_a_stream_ends_with_the_token_that_opened_it(left: int, over: bool) -> None:
    plane = MemoryPlane(upstream=ScriptedUpstream("one", []))
    await plane.start()
    expires = int(plane.clock.now()) + left
    seat = await plane.listing.seat(msgspec.structs.replace(caller(), expires_at=expires))
    assert isinstance(seat, Seat)
    ended: list[bool] = []
    stream = plane.listing.stream(seat, name="listen", ended=lambda: ended.append(True))
    for _ in range(5):
        await asyncio.sleep(0)
    assert bool(ended) is over
    stream.close()
    assert plane.interruption.flights() == []


async def test_an_upstream_that_talks_while_its_question_waits_breaks_nothing() -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        assert not (sent and not sent[-1].get("more_body", True)), "spoke behind the end"
        sent.append(message)

    sink = ModernSink(ResponseWriter(send), {})
    await sink.writer.finish(b'{"resultType":"input_required"}')
    await sink.notify("notifications/progress", {"progressToken": 1, "progress": 1})
    assert len(sent) == 2
