"""Operations on approvals: seeing what is asked, and answering it.

Who answers is who the control API has established; a body cannot name anybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.approval import ApprovalState
from midflight.services.approval_desk import ApprovalStatus


class WantedApprovals(Input):
    """Which requests to list."""

    run: str | None = None
    state: ApprovalState | None = None


class NamedApproval(Input):
    """A request by id."""

    id: str


class Yes(Input):
    """A request to approve, and for how many seconds the owner's list keeps its counterparties."""

    id: str
    remember_s: int = 0


class ApprovalVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._desk = plane.approval_desk

    async def list_approvals(
        self, given: WantedApprovals, operator: Operator
    ) -> Sequence[ApprovalStatus]:
        """Requests, newest first, without their arguments."""
        del operator
        return await self._desk.list(run=given.run, state=given.state)

    async def show_approval(self, given: NamedApproval, operator: Operator) -> ApprovalStatus:
        """One request with its arguments."""
        del operator
        return await self._desk.show(given.id)

    async def approve(self, given: Yes, operator: Operator) -> ApprovalStatus:
        """Agree."""
        return await self._desk.approve(
            given.id, author=operator.author, remember_s=given.remember_s
        )

    async def refuse(self, given: NamedApproval, operator: Operator) -> ApprovalStatus:
        """Refuse."""
        return await self._desk.refuse(given.id, author=operator.author)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/approvals",
                summary="Requests for approval, newest first.",
                input=WantedApprovals,
                answer=list[ApprovalStatus],
                act=self.list_approvals,
            ),
            Operation(
                method="GET",
                path="/v1/approvals/{id}",
                summary="One request, with the judged arguments.",
                input=NamedApproval,
                answer=ApprovalStatus,
                act=self.show_approval,
            ),
            Operation(
                method="POST",
                path="/v1/approvals/{id}/approve",
                summary="Approve this very action, once.",
                input=Yes,
                answer=ApprovalStatus,
                act=self.approve,
            ),
            Operation(
                method="POST",
                path="/v1/approvals/{id}/refuse",
                summary="Refuse this very action.",
                input=NamedApproval,
                answer=ApprovalStatus,
                act=self.refuse,
            ),
        )


__all__ = ["ApprovalVerbs", "NamedApproval", "WantedApprovals", "Yes"]
