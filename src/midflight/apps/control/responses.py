"""Operations on responses: what holds because of findings, setting one by hand, lifting one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.response import Level
from midflight.domain.response_rules import HOUR, Holds
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.response_desk import HeldResponse, ResponseAnswer


class NamedResponse(Input):
    """A response by id."""

    id: str


class NewResponse(Input):
    """A response by hand. `id` is that of the run or workload; `for_s` are seconds."""

    scope: Holds
    id: str
    level: Level
    reason: str
    for_s: int = HOUR
    risk: int = 0


class LiftedResponse(Input):
    """A response to end, and why."""

    id: str
    reason: str


class ResponseVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._desk = plane.watching.response_desk

    async def list_responses(self, given: Empty, operator: Operator) -> Sequence[HeldResponse]:
        """What is in force, oldest first."""
        del given, operator
        return self._desk.listing()

    async def show_response(self, given: NamedResponse, operator: Operator) -> HeldResponse:
        """One that is in force."""
        del operator
        return self._desk.show(given.id)

    async def add_response(self, given: NewResponse, operator: Operator) -> ResponseAnswer:
        """Hold a run or a workload."""
        return await self._desk.add(
            Scope(kind=ScopeKind(given.scope.value), id=given.id),
            given.level,
            reason=given.reason,
            author=operator.author,
            for_s=given.for_s,
            risk=given.risk,
        )

    async def lift_response(self, given: LiftedResponse, operator: Operator) -> ResponseAnswer:
        """End one by a new entry."""
        return await self._desk.lift(given.id, reason=given.reason, author=operator.author)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/responses",
                summary="Responses in force, oldest first.",
                input=Empty,
                answer=list[HeldResponse],
                act=self.list_responses,
            ),
            Operation(
                method="GET",
                path="/v1/responses/{id}",
                summary="A response in force.",
                input=NamedResponse,
                answer=HeldResponse,
                act=self.show_response,
            ),
            Operation(
                method="POST",
                path="/v1/responses",
                summary="Hold a run or a workload by hand; it ends by itself.",
                input=NewResponse,
                answer=ResponseAnswer,
                act=self.add_response,
            ),
            Operation(
                method="POST",
                path="/v1/responses/{id}/lift",
                summary="End a response by a new entry.",
                input=LiftedResponse,
                answer=ResponseAnswer,
                act=self.lift_response,
                socket_only=True,
            ),
        )


__all__ = ["LiftedResponse", "NamedResponse", "NewResponse", "ResponseVerbs"]
