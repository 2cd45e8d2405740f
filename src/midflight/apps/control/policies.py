"""Operations on policies: which set is active, activating a change, explaining a decision."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.value import Value
from midflight.services.policy import Report


class ActiveSet(Value):
    """The active policy set, by the digest of its canonical form."""

    version: str


class PolicyVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._policies = plane.policies

    async def show_policies(self, given: Empty, operator: Operator) -> ActiveSet:
        """The active set."""
        del given, operator
        return ActiveSet(version=self._policies.version)

    async def activate_policies(self, given: Empty, operator: Operator) -> ActiveSet:
        """Activate what is in the policy directory."""
        del given
        await self._policies.activate(operator.author)
        return ActiveSet(version=self._policies.version)

    async def check_policies(self, given: Empty, operator: Operator) -> Report:
        """Check what is in the policy directory against the registered tools."""
        del given, operator
        return await self._policies.check()

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


__all__ = ["ActiveSet", "PolicyVerbs"]
