"""Operations on canaries: values that are planted to be found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.canary import Canary, CanaryShape
from midflight.domain.errors import NotFound
from midflight.domain.value import Discreet, Value


class NewCanary(Input):
    """A canary to mint. `domain` is where an address or a link of it points."""

    name: str
    shape: CanaryShape = CanaryShape.CREDENTIAL
    upstream: str = ""
    domain: str = "example.com"


class NamedCanary(Input):
    """A canary by name."""

    name: str


class KnownCanary(Value):
    """A canary as it is kept: what it looks like, and never its value."""

    name: str
    shape: CanaryShape
    upstream: str
    by: str
    at: int


class MintedCanary(Discreet):
    """A new canary. Its value is handed out once and kept nowhere."""

    shown = ("name", "shape")

    name: str
    shape: CanaryShape
    upstream: str
    value: str


class CanaryVerbs:
    """See the module."""

    def __init__(self, plane: Plane, *, upstreams: Sequence[str]) -> None:
        """`upstreams` are those of the settings."""
        self._canaries = plane.canaries
        self._upstreams = frozenset(upstreams)

    async def add_canary(self, given: NewCanary, operator: Operator) -> MintedCanary:
        """Mint one."""
        if given.upstream and given.upstream not in self._upstreams:
            raise NotFound(
                f"There is no upstream {given.upstream}.", hint="midflight tool list shows them."
            )
        made = await self._canaries.add(
            given.name,
            operator.author,
            shape=given.shape,
            upstream=given.upstream,
            domain=given.domain,
        )
        return MintedCanary(
            name=made.canary.name,
            shape=made.canary.shape,
            upstream=made.canary.upstream,
            value=made.value,
        )

    async def list_canaries(self, given: Empty, operator: Operator) -> Sequence[KnownCanary]:
        """All canaries, by name."""
        del given, operator
        return [_known(canary) for canary in await self._canaries.list()]

    async def remove_canary(self, given: NamedCanary, operator: Operator) -> NamedCanary:
        """Watch for one no longer."""
        await self._canaries.remove(given.name, operator.author)
        return given

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/canaries",
                summary="All canaries, without their values.",
                input=Empty,
                answer=list[KnownCanary],
                act=self.list_canaries,
            ),
            Operation(
                method="POST",
                path="/v1/canaries",
                summary="Mint a canary. The answer holds the only copy of its value.",
                input=NewCanary,
                answer=MintedCanary,
                act=self.add_canary,
            ),
            Operation(
                method="POST",
                path="/v1/canaries/remove",
                summary="Watch for a canary no longer.",
                input=NamedCanary,
                answer=NamedCanary,
                act=self.remove_canary,
                socket_only=True,
            ),
        )


def _known(canary: Canary) -> KnownCanary:
    return KnownCanary(
        name=canary.name,
        shape=canary.shape,
        upstream=canary.upstream,
        by=canary.by,
        at=canary.at,
    )


__all__ = ["CanaryVerbs", "KnownCanary", "MintedCanary", "NamedCanary", "NewCanary"]
