"""Operations on accounts of approvers. All that changes one takes the control socket."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.approver import ApproverStatus
from midflight.domain.value import Discreet


class NewApprover(Input):
    """An account to make."""

    name: str
    groups: tuple[str, ...] = ()


class ChangedApprover(Input):
    """What to change of an account; what is left out stays."""

    name: str
    groups: tuple[str, ...] | None = None
    disabled: bool | None = None


class NamedApprover(Input):
    """An account by name."""

    name: str


class Enrolled(Discreet):
    """Leave to enrol. The code is handed out once and kept nowhere."""

    shown = ("name", "expires_at")

    name: str
    code: str
    url: str
    expires_at: int


class ApproverVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._accounts = plane.approvers.accounts
        self._url = f"{plane.settings.public_url}/approve/enroll"

    async def add_approver(self, given: NewApprover, operator: Operator) -> ApproverStatus:
        """Make one."""
        return await self._accounts.add(given.name, operator.author, groups=given.groups)

    async def list_approvers(self, given: Empty, operator: Operator) -> Sequence[ApproverStatus]:
        """All of them."""
        del given, operator
        return await self._accounts.list()

    async def change_approver(self, given: ChangedApprover, operator: Operator) -> ApproverStatus:
        """Change one."""
        return await self._accounts.change(
            given.name, operator.author, groups=given.groups, disabled=given.disabled
        )

    async def reset_approver(self, given: NamedApprover, operator: Operator) -> ApproverStatus:
        """Forget its factors."""
        return await self._accounts.reset(given.name, operator.author)

    async def enroll_approver(self, given: NamedApprover, operator: Operator) -> Enrolled:
        """Give leave to enrol."""
        made = await self._accounts.enroll(given.name, operator.author)
        return Enrolled(
            name=made.approver, code=made.code, url=self._url, expires_at=made.expires_at
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/approvers",
                summary="Accounts of approvers, by name.",
                input=Empty,
                answer=list[ApproverStatus],
                act=self.list_approvers,
            ),
            Operation(
                method="POST",
                path="/v1/approvers",
                summary="Make an account. Nobody can sign in to it before it is enrolled.",
                input=NewApprover,
                answer=ApproverStatus,
                act=self.add_approver,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/approvers/change",
                summary="Change an account's groups, or let nobody sign in.",
                input=ChangedApprover,
                answer=ApproverStatus,
                act=self.change_approver,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/approvers/reset",
                summary="Forget every passkey and the codes of an account.",
                input=NamedApprover,
                answer=ApproverStatus,
                act=self.reset_approver,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/approvers/enroll",
                summary="Leave to enrol, once. The answer holds the only copy of the code.",
                input=NamedApprover,
                answer=Enrolled,
                act=self.enroll_approver,
                socket_only=True,
            ),
        )


__all__ = [
    "ApproverVerbs",
    "ChangedApprover",
    "Enrolled",
    "NamedApprover",
    "NewApprover",
]
