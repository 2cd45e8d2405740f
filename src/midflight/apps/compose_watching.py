"""Wiring of what watches and answers: detection and what follows from it.

One part a line, each in a `compose_*.py` of its own once it needs more than that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

from midflight.apps.settings import Settings
from midflight.domain.run import RunState
from midflight.services.detection import Detection
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry


class Part(Protocol):
    """Something that runs along with what watches."""

    def running(self) -> AbstractAsyncContextManager[None]:
        """From before the first action until after the last."""
        ...

    async def sweep(self) -> None:
        """Every few seconds."""
        ...


class Watching:
    """What watches one plane."""

    def __init__(
        self, settings: Settings, *, recorder: Recorder, clock: Clock, telemetry: Telemetry
    ) -> None:
        """Wire it; nothing is started."""
        self.settings = settings
        self.detection = Detection(recorder=recorder, clock=clock, telemetry=telemetry)
        self._parts: list[Part] = []

    def along(self, part: Part) -> None:
        """Have a part run along; before `running`."""
        self._parts.append(part)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        async with AsyncExitStack() as undo:
            for part in self._parts:
                await undo.enter_async_context(part.running())
            yield

    async def sweep(self) -> None:
        """Every few seconds: what is due by now."""
        for part in self._parts:
            await part.sweep()

    def run_ended(self, run: str, _state: RunState) -> None:
        """Let go of what is kept for a run."""
        self.detection.run_ended(run)


__all__ = ["Watching"]
