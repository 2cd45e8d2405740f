"""Operations on policies: which set is active, activating a change, explaining a decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.value import Value
from midflight.services.policy import NO_VERSION, Report
from midflight.services.shadowing import ShadowSummary, summarize


class ActiveSet(Value):
    """The active policy sets, by the digests of their canonical forms.

    `observe` is that for workloads in mode observe, `none` if there is none.
    """

    version: str
    observe: str = NO_VERSION


class WantedShadow(Input):
    """Whose shadows, and since when (Unix seconds)."""

    workload: str | None = None
    since: float = 0.0


class PolicyVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._policies = plane.policies
        self._observing = plane.observing
        self._ledger = plane.ledger

    async def show_policies(self, given: Empty, operator: Operator) -> ActiveSet:
        """The active set."""
        del given, operator
        return self._active()

    async def activate_policies(self, given: Empty, operator: Operator) -> ActiveSet:
        """Activate what is in the policy directory."""
        del given
        await self._policies.activate(operator.author)
        await self._observing.activate(operator.author, if_any=True)
        return self._active()

    async def check_policies(self, given: Empty, operator: Operator) -> Report:
        """Check what is in the policy directory against the registered tools."""
        del given, operator
        return await self._policies.check()

    async def show_shadow(self, given: WantedShadow, operator: Operator) -> ShadowSummary:
        """What the standard set would have said to workloads that are only observed."""
        del operator
        await self._ledger.flush()
        return await summarize(self._ledger, since=given.since, workload=given.workload)

    def _active(self) -> ActiveSet:
        return ActiveSet(version=self._policies.version, observe=self._observing.version)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/policies",
                summary="The active policy set.",
                input=Empty,
                answer=ActiveSet,
                act=self.show_policies,
            ),
            Operation(
                method="GET",
                path="/v1/policies/shadow",
                summary="What would have been decided for workloads that are only observed.",
                input=WantedShadow,
                answer=ShadowSummary,
                act=self.show_shadow,
            ),
            Operation(
                method="POST",
                path="/v1/policies/check",
                summary="Check what is in the policy directory; changes nothing.",
                input=Empty,
                answer=Report,
                act=self.check_policies,
            ),
            Operation(
                method="POST",
                path="/v1/policies/activate",
                summary="Activate what is in the policy directory; a bad set leaves the old one.",
                input=Empty,
                answer=ActiveSet,
                act=self.activate_policies,
            ),
        )


__all__ = ["ActiveSet", "PolicyVerbs", "WantedShadow"]
