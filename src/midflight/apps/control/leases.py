"""Operations on leases: what is lent to whom, and taking it back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import NotFound
from midflight.domain.lease import Lease, LeaseState


class WantedLeases(Input):
    """Which leases; all that are not revoked without anything."""

    run: str | None = None
    credential: str | None = None
    state: LeaseState | None = None


class NamedLease(Input):
    """A lease by id."""

    id: str


class EndedLeases(Input):
    """Which leases to end: of exactly one lease, run or credential; and why."""

    lease: str | None = None
    run: str | None = None
    credential: str | None = None
    reason: str = ""


class LeaseVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._broker = plane.broker

    async def list_leases(self, given: WantedLeases, operator: Operator) -> Sequence[Lease]:
        """Leases, newest first; never what was lent."""
        del operator
        return await self._broker.list(
            run=given.run, credential=given.credential, state=given.state
        )

    async def show_lease(self, given: NamedLease, operator: Operator) -> Lease:
        """One lease."""
        del operator
        found = await self._broker.find(given.id)
        if found is None:
            raise NotFound(
                f"There is no lease {given.id}.", hint="midflight lease list shows them."
            )
        return found

    async def revoke_leases(self, given: EndedLeases, operator: Operator) -> Sequence[Lease]:
        """End leases; how they are afterwards. One that is not `revoked` is tried again."""
        return await self._broker.revoke(
            author=operator.author,
            lease=given.lease,
            run=given.run,
            credential=given.credential,
            reason=given.reason,
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/leases",
                summary="Leases, newest first, without what was lent.",
                input=WantedLeases,
                answer=list[Lease],
                act=self.list_leases,
            ),
            Operation(
                method="GET",
                path="/v1/leases/{id}",
                summary="One lease.",
                input=NamedLease,
                answer=Lease,
                act=self.show_lease,
            ),
            Operation(
                method="POST",
                path="/v1/leases/revoke",
                summary="End the leases of a lease id, a run or a credential.",
                input=EndedLeases,
                answer=list[Lease],
                act=self.revoke_leases,
            ),
        )


__all__ = ["EndedLeases", "LeaseVerbs", "NamedLease", "WantedLeases"]
