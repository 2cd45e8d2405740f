"""Wiring of what watches and answers: detection and what follows from it.

One part a line, each in a `compose_*.py` of its own once it needs more than that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from midflight.apps.compose_responses import Responding
from midflight.apps.settings import Settings
from midflight.domain.run import RunState
from midflight.services.detection import Detection
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry


class Watching:
    """What watches one plane."""

    def __init__(
        self,
        settings: Settings,
        *,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        responding: Responding,
    ) -> None:
        """Wire it; nothing is started."""
        self.settings = settings
        self.detection = Detection(recorder=recorder, clock=clock, telemetry=telemetry)
        self.responses, self.response_desk = responding.responses, responding.desk
        self.detection.respond_with(self.responses.found)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        await self.responses.start()
        try:
            yield
        finally:
            await self.responses.close()

    async def sweep(self) -> None:
        """Every few seconds: what is due by now."""
        await self.responses.sweep()

    def run_ended(self, run: str, _state: RunState) -> None:
        """Let go of what is kept for a run."""
        self.detection.run_ended(run)


__all__ = ["Watching"]
