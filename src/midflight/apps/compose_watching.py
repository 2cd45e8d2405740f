"""Wiring of what watches and answers: detection and what follows from it.

One part a line, each in a `compose_*.py` of its own once it needs more than that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from midflight.apps.settings import Settings
from midflight.domain.errors import MidflightError
from midflight.domain.run import RunState
from midflight.services.baselines import Baselines
from midflight.services.detection import Detection
from midflight.services.detectors.standard import standard
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry

log = structlog.get_logger(__name__)


class Watching:
    """What watches one plane."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Wire it; nothing is started."""
        self.settings = settings
        detectors = standard()
        self.detection = Detection(detectors, recorder=recorder, clock=clock, telemetry=telemetry)
        self.baselines = Baselines(detectors, store=store, recorder=recorder, clock=clock)
        self.detection.respond_with(self.baselines.found)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        await self.baselines.start()
        try:
            yield
        finally:
            try:
                await self.baselines.save()
            except MidflightError as error:  # they are learned anew
                log.warning("baselines_not_kept", why=error.message)

    async def sweep(self) -> None:
        """Every few seconds: what is due by now."""
        await self.baselines.sweep()

    def run_ended(self, run: str, state: RunState) -> None:
        """Let go of what is kept for a run."""
        self.baselines.run_ends(run, state)
        self.detection.run_ended(run)


__all__ = ["Watching"]
