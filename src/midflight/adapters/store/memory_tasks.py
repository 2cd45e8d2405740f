"""Tasks at upstreams in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.upstream_task import UpstreamTask


class MemoryTasks(MemoryPart):
    """See the module, and `services/ports/task_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[tuple[str, str, str], UpstreamTask] = {}

    async def put_task(self, task: UpstreamTask) -> None:
        """Keep a task."""
        self._check_open()
        self._tasks.setdefault((task.run, task.upstream, task.task_id), task)

    async def drop_task(self, task: UpstreamTask) -> None:
        """Forget a task."""
        self._check_open()
        self._tasks.pop((task.run, task.upstream, task.task_id), None)

    async def list_tasks(self) -> Sequence[UpstreamTask]:
        """All that are kept."""
        self._check_open()
        return list(self._tasks.values())


__all__ = ["MemoryTasks"]
