"""Wiring of responses: what follows from findings, and what operators do about it."""

from __future__ import annotations

from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.policy import Policies
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.response_desk import ResponseDesk
from midflight.services.responses import Responses
from midflight.services.runs import Runs


class Responding:
    """Responses and their desk, over the parts of one plane."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        interruption: Interruption,
        runs: Runs,
        inventory: Inventory,
        clock: Clock,
        telemetry: Telemetry,
        policies: Policies | None = None,
    ) -> None:
        """Wire it; nothing is started. `policies` says what the rules are, and when they change."""
        self.responses = Responses(
            store=store,
            recorder=recorder,
            interruption=interruption,
            runs=runs,
            inventory=inventory,
            clock=clock,
            telemetry=telemetry,
        )
        self.desk = ResponseDesk(
            responses=self.responses,
            interruption=interruption,
            inventory=inventory,
            store=store,
            clock=clock,
        )
        if policies is not None:
            policies.respond_by(self.responses.use)


__all__ = ["Responding"]
