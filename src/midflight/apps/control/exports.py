"""Operations on exports: where each collector has got to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.services.export import ExportStatus


class ExportVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._exporting = plane.watching.exporting

    async def list_exports(self, given: Empty, operator: Operator) -> Sequence[ExportStatus]:
        """In the order of the settings."""
        del given, operator
        return await self._exporting.listing()

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/exports",
                summary="Collectors of events: how far each has got, and what fails.",
                input=Empty,
                answer=list[ExportStatus],
                act=self.list_exports,
            ),
        )


__all__ = ["ExportVerbs"]
