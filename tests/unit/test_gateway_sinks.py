"""What of an upstream's notifications goes on to a modern client."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.apps.gateway.sinks import LOGGED, ModernSink, ResponseWriter

pytestmark = pytest.mark.anyio


class Wire:
    def __init__(self) -> None:
        self.body = b""

    async def send(self, message: dict[str, Any]) -> None:
        self.body += message.get("body", b"")


@pytest.mark.parametrize(
    ("wanted", "said", "passes"),
    [(None, "error", False), ("warning", "error", True), ("warning", "info", False)],
)
async def test_a_modern_client_hears_only_the_logs_that_its_request_asked_for(
    wanted: str | None, said: str, passes: bool
) -> None:
    wire = Wire()
    sink = ModernSink(ResponseWriter(wire.send), {}, level=wanted)
    await sink.notify(LOGGED, {"level": said, "data": "x"})
    assert (b"notifications/message" in wire.body) is passes


async def test_progress_is_no_log() -> None:
    wire = Wire()
    sink = ModernSink(ResponseWriter(wire.send), {})
    await sink.notify("notifications/progress", {"progressToken": 1, "progress": 1})
    assert b"notifications/progress" in wire.body
