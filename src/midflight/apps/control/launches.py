"""Operations of the launcher: which process is a run's, and how the run is doing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.apps.control.runs import NamedRun
from midflight.domain.value import Value
from midflight.services.launches import LaunchStatus


class NewLaunch(Input):
    """A process that the caller started for run `id`, and that waits to be let go."""

    id: str
    pid: int


class Launched(Value):
    """What a launched process is told.

    `spiffe_endpoint` is the address of the Workload API, or empty where there is none.
    """

    run: str
    workload: str
    process: str
    mcp_url: str
    spiffe_endpoint: str


class LaunchVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._launches = plane.launches
        self._mcp_url = f"{plane.settings.public_url}/mcp"
        self._endpoint = plane.workload_endpoint

    async def launch(self, given: NewLaunch, operator: Operator) -> Launched:
        """Note the process of a run."""
        made = await self._launches.launch(
            given.id, pid=given.pid, launcher=operator.process, author=operator.author
        )
        return Launched(
            run=made.run,
            workload=made.workload,
            process=made.process,
            mcp_url=self._mcp_url,
            spiffe_endpoint=self._endpoint,
        )

    async def follow(self, given: NamedRun, operator: Operator) -> LaunchStatus:
        """How a run is doing, and what revokes it."""
        del operator
        return await self._launches.status(given.id)

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="POST",
                path="/v1/runs/{id}/launch",
                summary="Name the process that the caller started for a run.",
                input=NewLaunch,
                answer=Launched,
                act=self.launch,
                socket_only=True,
            ),
            Operation(
                method="GET",
                path="/v1/runs/{id}/launch",
                summary="Whether a run is open, and the revocation that covers it.",
                input=NamedRun,
                answer=LaunchStatus,
                act=self.follow,
            ),
        )


__all__ = ["LaunchVerbs", "Launched", "NewLaunch"]
