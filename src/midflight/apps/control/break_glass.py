"""Operations on break-glass. Opening and reviewing take the socket, where the kernel says who."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.break_glass import BreakGlass


class Opening(Input):
    """For which workload, why, and for how many seconds."""

    workload: str
    reason: str
    for_s: int


class WantedOpenings(Input):
    """Which openings: those that are open or wait for a review, all, or those left too long."""

    every: bool = False
    overdue: bool = False


class NamedOpening(Input):
    """An opening by id."""

    id: str


class Review(Input):
    """An opening that somebody has looked at, and what was found."""

    id: str
    note: str


class BreakGlassVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._glass = plane.escalating.glass
        self._accounts = plane.parts.store

    async def open_it(self, given: Opening, operator: Operator) -> BreakGlass:
        """Open it."""
        account = await self._accounts.get_approver(operator.author.name)
        return await self._glass.open(
            given.workload,
            reason=given.reason,
            for_s=given.for_s,
            author=operator.author,
            member_of=() if account is None else account.groups,
        )

    async def list_openings(
        self, given: WantedOpenings, operator: Operator
    ) -> Sequence[BreakGlass]:
        """Openings, newest first."""
        del operator
        if given.overdue:
            return await self._glass.overdue()
        return await self._glass.list(settled=given.every)

    async def close_it(self, given: NamedOpening, operator: Operator) -> BreakGlass:
        """End it before its time."""
        return await self._glass.close(given.id, author=operator.author)

    async def review_it(self, given: Review, operator: Operator) -> BreakGlass:
        """Say what was found."""
        return await self._glass.review(given.id, note=given.note, author=operator.author)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/break-glass",
                summary="Openings that are open or wait for their review.",
                input=WantedOpenings,
                answer=list[BreakGlass],
                act=self.list_openings,
            ),
            Operation(
                method="POST",
                path="/v1/break-glass",
                summary="For a time, let pass what people would be asked about; on the socket.",
                input=Opening,
                answer=BreakGlass,
                act=self.open_it,
                socket_only=True,
            ),
            Operation(
                method="POST",
                path="/v1/break-glass/{id}/close",
                summary="End it before its time.",
                input=NamedOpening,
                answer=BreakGlass,
                act=self.close_it,
            ),
            Operation(
                method="POST",
                path="/v1/break-glass/{id}/review",
                summary="Say what was found; not who opened it; on the socket.",
                input=Review,
                answer=BreakGlass,
                act=self.review_it,
                socket_only=True,
            ),
        )


__all__ = ["BreakGlassVerbs", "NamedOpening", "Opening", "Review", "WantedOpenings"]
