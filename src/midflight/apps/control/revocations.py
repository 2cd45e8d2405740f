"""Operations that stop things: revoking, lifting, and what is in flight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Malformed
from midflight.domain.records import Impact
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.flights import FlightStatus
from midflight.services.receipts import Receipt


class NewScope(Input):
    """One thing to revoke; `everything` has no id, a tool's is `<upstream>/<name>`."""

    kind: ScopeKind
    id: str = ""


class NewRevocation(Input):
    """What to revoke, why, and until when (Unix seconds; None: until it is lifted)."""

    scope: NewScope
    reason: str
    until: float | None = None


class Preview(Input):
    """What a revocation would cover."""

    scope: NewScope


class Lifting(Input):
    """A revocation to end, and why."""

    id: str
    reason: str


class RevocationVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._interruption = plane.interruption
        self._clock = plane.clock

    async def list_revocations(self, given: Empty, operator: Operator) -> Sequence[Revocation]:
        """Revocations in force, oldest first."""
        del given, operator
        return self._interruption.listing()

    async def revoke(self, given: NewRevocation, operator: Operator) -> Receipt:
        """Deny what is new and cut what is running."""
        if given.until is not None and given.until <= self._clock.now():
            raise Malformed(
                "until is not in the future, so nothing would be revoked.",
                hint="Leave it out to revoke until it is lifted.",
            )
        return await self._interruption.revoke(
            Scope(kind=given.scope.kind, id=given.scope.id),
            reason=given.reason,
            author=operator.author,
            until=given.until,
        )

    async def preview(self, given: Preview, operator: Operator) -> Impact:
        """What a revocation would cut and find done, if it were made now."""
        del operator
        return self._interruption.preview(Scope(kind=given.scope.kind, id=given.scope.id))

    async def lift(self, given: Lifting, operator: Operator) -> Receipt:
        """End a revocation by a new entry."""
        if not given.reason.strip():
            raise Malformed("Lifting needs a reason.", hint="Add --reason.")
        return await self._interruption.lift(given.id, reason=given.reason, author=operator.author)

    async def list_flights(self, given: Empty, operator: Operator) -> Sequence[FlightStatus]:
        """All that goes on, oldest first: actions, streams, tasks at upstreams, leases in use."""
        del given, operator
        return self._interruption.flights()

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/revocations",
                summary="Revocations in force.",
                input=Empty,
                answer=list[Revocation],
                act=self.list_revocations,
            ),
            Operation(
                method="POST",
                path="/v1/revocations",
                summary="Revoke: deny what is new, cut what is running.",
                input=NewRevocation,
                answer=Receipt,
                act=self.revoke,
            ),
            Operation(
                method="POST",
                path="/v1/revocations/preview",
                summary="What a revocation would cut; nothing is changed.",
                input=Preview,
                answer=Impact,
                act=self.preview,
            ),
            Operation(
                method="POST",
                path="/v1/revocations/{id}/lift",
                summary="End a revocation by a new entry.",
                input=Lifting,
                answer=Receipt,
                act=self.lift,
                socket_only=True,
            ),
            Operation(
                method="GET",
                path="/v1/flights",
                summary="All that goes on: actions, streams, tasks at upstreams, leases in use.",
                input=Empty,
                answer=list[FlightStatus],
                act=self.list_flights,
            ),
        )


__all__ = ["Lifting", "NewRevocation", "Preview", "RevocationVerbs"]
