"""Wiring of what watches and answers: detection and what follows from it.

One part a line, each in a `compose_*.py` of its own once it needs more than that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from midflight.apps.compose_detectors import sequence_rules
from midflight.apps.settings import Settings
from midflight.domain.identity import Workload
from midflight.domain.run import RunState
from midflight.services.detection import Detection
from midflight.services.detectors.elsewhere import Elsewhere
from midflight.services.detectors.plain import Plain
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry
from midflight.services.suspicion import Suspicion
from midflight.services.telling import Findings


class Watching:
    """What watches one plane."""

    def __init__(
        self,
        settings: Settings,
        *,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        current: Callable[[str], Workload | None],
    ) -> None:
        """Wire it; nothing is started. `current` gives a workload as it is registered now."""
        self.settings = settings
        self.plain = Plain(
            sequence_rules(settings.policy.directory),
            elsewhere=Elsewhere(one_place=settings.elsewhere.one_place),
        )
        self.detection = Detection(
            self.plain.all, recorder=recorder, clock=clock, telemetry=telemetry
        )
        self.suspicion: Suspicion | None = None
        """Looks at results for instructions, where the settings ask for it."""
        self.findings = Findings(self.detection, clock=clock, current=current)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        try:
            yield
        finally:
            if self.suspicion is not None:
                await self.suspicion.close()

    async def sweep(self) -> None:
        """Every few seconds: what is due by now."""

    def run_ended(self, run: str, _state: RunState) -> None:
        """Let go of what is kept for a run."""
        self.detection.run_ended(run)


__all__ = ["Watching"]
