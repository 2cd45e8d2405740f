"""Operations on owners' lists of known counterparties.

Putting somebody on a list vouches for him, so it takes an operator who answers for the owner.
Taking somebody off takes any operator.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.traits import Role
from midflight.services.counterparties import CounterpartyStatus


class WantedCounterparties(Input):
    """Whose list."""

    owner: str | None = None


class NewCounterparty(Input):
    """A value to know for `for_s` seconds."""

    owner: str
    value: str
    role: Role
    for_s: int


class FormerCounterparty(Input):
    """A value to know no more, or the key of its entry."""

    owner: str
    value: str


class CounterpartyVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._counterparties = plane.counterparties
        self._desk = plane.approval_desk

    async def list_counterparties(
        self, given: WantedCounterparties, operator: Operator
    ) -> Sequence[CounterpartyStatus]:
        """Entries that have not ended."""
        del operator
        return await self._counterparties.list(given.owner)

    async def add_counterparty(
        self, given: NewCounterparty, operator: Operator
    ) -> CounterpartyStatus:
        """Put one on a list."""
        self._desk.check_owner(operator.author, given.owner)
        (added,) = await self._counterparties.add(
            given.owner, [(given.role, given.value)], for_s=given.for_s, author=operator.author
        )
        return added

    async def remove_counterparty(
        self, given: FormerCounterparty, operator: Operator
    ) -> dict[str, str]:
        """Take one off a list."""
        key = await self._counterparties.remove(given.owner, given.value, author=operator.author)
        return {"owner": given.owner, "key": key}

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/counterparties",
                summary="Known counterparties by owner.",
                input=WantedCounterparties,
                answer=list[CounterpartyStatus],
                act=self.list_counterparties,
            ),
            Operation(
                method="POST",
                path="/v1/counterparties",
                summary="Know a counterparty for a time.",
                input=NewCounterparty,
                answer=CounterpartyStatus,
                act=self.add_counterparty,
            ),
            Operation(
                method="POST",
                path="/v1/counterparties/remove",
                summary="Know a counterparty no more.",
                input=FormerCounterparty,
                answer=dict[str, str],
                act=self.remove_counterparty,
            ),
        )


__all__ = ["CounterpartyVerbs", "FormerCounterparty", "NewCounterparty", "WantedCounterparties"]
