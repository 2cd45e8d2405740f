"""Tasks at upstreams in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy import delete, select
from sqlalchemy.dialects.sqlite import insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import upstream_tasks as table
from midflight.domain.upstream_task import UpstreamTask


class SqliteTasks:
    """See the module, and `services/ports/task_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_task(self, task: UpstreamTask) -> None:
        """Keep a task."""
        body = msgspec.json.encode(task).decode()
        statement = (
            insert(table)
            .values(run=task.run, upstream=task.upstream, task=task.task_id, body=body)
            .on_conflict_do_nothing(index_elements=["run", "upstream", "task"])
        )
        await self._writer.run(lambda connection: connection.execute(statement))

    async def drop_task(self, task: UpstreamTask) -> None:
        """Forget a task."""
        statement = delete(table).where(
            table.c.run == task.run,
            table.c.upstream == task.upstream,
            table.c.task == task.task_id,
        )
        await self._writer.run(lambda connection: connection.execute(statement))

    async def list_tasks(self) -> Sequence[UpstreamTask]:
        """All that are kept."""
        statement = select(table.c.body).order_by(table.c.seq)
        bodies = await self._reader.run(
            lambda connection: connection.execute(statement).scalars().all()
        )
        return [msgspec.json.decode(body, type=UpstreamTask) for body in bodies]


__all__ = ["SqliteTasks"]
