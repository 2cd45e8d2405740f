"""What is kept of tasks that upstreams work on: enough to cancel them after a crash."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.upstream_task import UpstreamTask


class TaskStore(Protocol):
    """Every method is atomic. `StoreUnavailable` when the store is away."""

    async def put_task(self, task: UpstreamTask) -> None:
        """Keep a task. The one of the same run, upstream and id stays as it is."""
        ...

    async def drop_task(self, task: UpstreamTask) -> None:
        """Forget a task, by run, upstream and id. Dropping one that is not kept does nothing."""
        ...

    async def list_tasks(self) -> Sequence[UpstreamTask]:
        """All that are kept, the oldest first."""
        ...


__all__ = ["TaskStore"]
