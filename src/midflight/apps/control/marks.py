"""Operations on marks: what untrusted runs have written into upstreams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.value import Value
from midflight.services.ports.flow_store import Marked


class WantedMarks(Input):
    """Of which upstream."""

    upstream: str | None = None


class ClearedMarks(Input):
    """Marks to forget: of an upstream, or those that one run made there."""

    upstream: str
    run: str | None = None


class Cleared(Value):
    """How many marks were forgotten."""

    upstream: str
    marks: int


class MarkVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._marks = plane.marks

    async def list_marks(self, given: WantedMarks, operator: Operator) -> Sequence[Marked]:
        """By upstream and run."""
        del operator
        return await self._marks.made(given.upstream)

    async def clear_marks(self, given: ClearedMarks, operator: Operator) -> Cleared:
        """Forget them: somebody has looked at what was written."""
        count = await self._marks.clear(given.upstream, run=given.run, author=operator.author)
        return Cleared(upstream=given.upstream, marks=count)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/marks",
                summary="What untrusted runs have written, by upstream and run.",
                input=WantedMarks,
                answer=list[Marked],
                act=self.list_marks,
            ),
            Operation(
                method="POST",
                path="/v1/marks/clear",
                summary="Forget marks, having looked at what was written.",
                input=ClearedMarks,
                answer=Cleared,
                act=self.clear_marks,
            ),
        )


__all__ = ["MarkVerbs"]
