"""Operations on monitors: what they count now, and setting one back to zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Empty, Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.value import Value
from midflight.services.monitors import MonitorStatus


class NamedMonitor(Input):
    """Which monitor."""

    name: str


class MonitorReset(Value):
    """The monitor that counts from zero now."""

    name: str


class MonitorVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._monitors = plane.monitors
        self._history = plane.monitor_history

    async def list_monitors(self, given: Empty, operator: Operator) -> Sequence[MonitorStatus]:
        """Every declared monitor with its values."""
        del given, operator
        return self._monitors.status()

    async def reset_monitor(self, given: NamedMonitor, operator: Operator) -> MonitorReset:
        """Let a monitor count from zero."""
        await self._history.reset(given.name, operator.author)
        return MonitorReset(name=given.name)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="GET",
                path="/v1/monitors",
                summary="Every declared monitor, with its largest values.",
                input=Empty,
                answer=list[MonitorStatus],
                act=self.list_monitors,
            ),
            Operation(
                method="POST",
                path="/v1/monitors/{name}/reset",
                summary="Let a monitor count from zero, for everybody.",
                input=NamedMonitor,
                answer=MonitorReset,
                act=self.reset_monitor,
            ),
        )


__all__ = ["MonitorReset", "MonitorVerbs", "NamedMonitor"]
