"""Wiring of what watches and answers: detection and what follows from it.

One part a line, each in a `compose_*.py` of its own once it needs more than that.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Protocol

import structlog

from midflight.apps.compose_detectors import sequence_rules
from midflight.apps.compose_export import Exporting
from midflight.apps.compose_responses import Responding
from midflight.apps.settings import Settings
from midflight.domain.errors import MidflightError
from midflight.domain.identity import Workload
from midflight.domain.run import RunState
from midflight.services.baselines import Baselines
from midflight.services.detection import Detection
from midflight.services.detectors.elsewhere import Elsewhere
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.standard import standard
from midflight.services.ledger import Ledger
from midflight.services.ports.clock import Clock
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.suspicion import Suspicion
from midflight.services.telling import Findings

log = structlog.get_logger(__name__)


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
        self,
        settings: Settings,
        *,
        ledger: Ledger,
        store: Store,
        clock: Clock,
        telemetry: Telemetry,
        responding: Responding,
        current: Callable[[str], Workload | None],
    ) -> None:
        """Wire it; nothing is started. `current` gives a workload as it is registered now."""
        self.settings = settings
        self.plain = Plain(
            sequence_rules(settings.policy.directory),
            elsewhere=Elsewhere(one_place=settings.elsewhere.one_place),
        )
        detectors = (*standard(), *self.plain.all)
        self.detection = Detection(detectors, recorder=ledger, clock=clock, telemetry=telemetry)
        self.suspicion: Suspicion | None = None
        """Looks at results for instructions, where the settings ask for it."""
        self.findings = Findings(self.detection, clock=clock, current=current)
        self.responses, self.response_desk = responding.responses, responding.desk
        self.detection.respond_with(self.responses.found)
        self.baselines = Baselines(detectors, store=store, recorder=ledger, clock=clock)
        self.detection.respond_with(self.baselines.found)
        self.exporting = Exporting(
            settings.export, ledger=ledger, store=store, clock=clock, telemetry=telemetry
        )
        self._parts: list[Part] = [self.exporting]

    def along(self, part: Part) -> None:
        """Have a part run along; before `running`."""
        self._parts.append(part)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start it, after the interruption and before the first action; stop it after the last."""
        async with AsyncExitStack() as undo:
            await self.responses.start()
            undo.push_async_callback(self.responses.close)
            await self.baselines.start()
            undo.push_async_callback(self._keep_baselines)
            undo.push_async_callback(self._settle)
            for part in self._parts:
                await undo.enter_async_context(part.running())
            yield

    async def sweep(self) -> None:
        """Every few seconds: what is due by now."""
        await self.responses.sweep()
        await self.baselines.sweep()
        for part in self._parts:
            await part.sweep()

    def run_ended(self, run: str, state: RunState) -> None:
        """Let go of what is kept for a run."""
        self.baselines.run_ends(run, state)
        self.detection.run_ended(run)

    async def _settle(self) -> None:
        if self.suspicion is not None:
            await self.suspicion.close()

    async def _keep_baselines(self) -> None:
        try:
            await self.baselines.save()
        except MidflightError as error:  # they are learned anew
            log.warning("baselines_not_kept", why=error.message)


__all__ = ["Watching"]
