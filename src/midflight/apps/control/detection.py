"""Operations on what detectors know and say: baselines and findings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.finding import Strength
from midflight.services.baselines import Baseline
from midflight.services.findings import MAX_FINDINGS, Findings, Wanted, findings


class BaselineOf(Input):
    """Whose baseline: a SPIFFE ID."""

    workload: str


class AcceptedRun(Input):
    """Which run."""

    run: str


class WantedFindings(Input):
    """Which findings; `since` is Unix seconds, `strength` the least, 1 (weak) to 3 (strong)."""

    workload: str | None = None
    run: str | None = None
    detector: str | None = None
    strength: Annotated[int, msgspec.Meta(ge=1, le=3)] = 1
    since: float = 0.0
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_FINDINGS)] = 100


class DetectionVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._baselines = plane.watching.baselines
        self._ledger = plane.ledger

    async def show_baseline(self, given: BaselineOf, operator: Operator) -> Baseline:
        """What is usual for a workload."""
        del operator
        return self._baselines.show(given.workload)

    async def forget_baseline(self, given: BaselineOf, operator: Operator) -> BaselineOf:
        """Let a workload be learned anew."""
        await self._baselines.forget(given.workload, operator.author)
        return given

    async def accept_run(self, given: AcceptedRun, operator: Operator) -> BaselineOf:
        """Learn from a run although something was found in it; whose it was."""
        return BaselineOf(workload=await self._baselines.accept(given.run, operator.author))

    async def list_findings(self, given: WantedFindings, operator: Operator) -> Findings:
        """The last findings, newest first."""
        del operator
        wanted = Wanted(
            workload=given.workload,
            run=given.run,
            detector=given.detector,
            strength=Strength(given.strength),
            since=given.since,
            count=given.count,
        )
        return await findings(self._ledger, wanted)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/baseline",
                summary="What is usual for a workload, as its ended runs have shown.",
                input=BaselineOf,
                answer=Baseline,
                act=self.show_baseline,
            ),
            Operation(
                method="POST",
                path="/v1/baseline/forget",
                summary="Let what is usual for a workload be learned anew.",
                input=BaselineOf,
                answer=BaselineOf,
                act=self.forget_baseline,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/baseline/accept",
                summary="Learn from an ended run although something was found in it.",
                input=AcceptedRun,
                answer=BaselineOf,
                act=self.accept_run,
                socket_only=True,
            ),
            Operation(
                method="GET",
                path="/v1/findings",
                summary="The last findings, newest first.",
                input=WantedFindings,
                answer=Findings,
                act=self.list_findings,
            ),
        )


__all__ = ["AcceptedRun", "BaselineOf", "DetectionVerbs", "WantedFindings"]
