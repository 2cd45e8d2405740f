"""Flow state and marks in SQLite: a part of `sqlite.py`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import flow_effects, flow_marks, flows
from midflight.services.ports.flow_store import MAX_INDEX, SEVERAL, Marked, StoredFlow

_BY_RUN = select(flows).where(flows.c.run == bindparam("run_id"))
_INDEX = select(flows.c.index).where(flows.c.run == bindparam("run_id"))
_NEW_MARK = sqlite_insert(flow_marks)
_MARK = _NEW_MARK.on_conflict_do_update(
    index_elements=[flow_marks.c.upstream, flow_marks.c.key],
    set_={"run": SEVERAL},
    where=flow_marks.c.run != _NEW_MARK.excluded.run,
)
_NEW_COUNT = sqlite_insert(flow_effects)
_COUNT = _NEW_COUNT.on_conflict_do_update(
    index_elements=[flow_effects.c.run, flow_effects.c.upstream, flow_effects.c.tool],
    set_={"count": _NEW_COUNT.excluded.count},
)


class SqliteFlow:
    """See the module, and `services/ports/flow_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def add_flow(self, run_id: str, flow: StoredFlow) -> None:
        """Add to the flow state of a run: the index is appended to, the rest is replaced."""

        def add(connection: Connection) -> int:
            # One transaction of the writer's lane: nobody adds in between.
            before = connection.execute(_INDEX, {"run_id": run_id}).scalar_one_or_none() or b""
            row = {
                "run": run_id,
                "index": (before + flow.index)[-MAX_INDEX:],
                "phrase_seen": flow.phrase_seen,
            }
            statement = sqlite_insert(flows).values(row)
            statement = statement.on_conflict_do_update(index_elements=[flows.c.run], set_=row)
            return connection.execute(statement).rowcount

        await self._writer.run(add)

    async def get_flow(self, run_id: str) -> StoredFlow | None:
        """The flow state of a run, or None if none was stored."""
        found = await self._reader.run(
            lambda connection: connection.execute(_BY_RUN, {"run_id": run_id}).mappings().first()
        )
        if found is None:
            return None
        return StoredFlow(index=found["index"], phrase_seen=found["phrase_seen"])

    async def count_effects(self, run_id: str, upstream: str, tool: str, count: int) -> None:
        """Set how many effects of a tool a run has had; of several calls the last one holds."""
        row = {"run": run_id, "upstream": upstream, "tool": tool, "count": count}
        await self._writer.run(lambda connection: connection.execute(_COUNT, row).rowcount)

    async def effects(self, run_id: str) -> Sequence[tuple[str, str, int]]:
        """What `count_effects` has set: (upstream, tool, count), in order."""
        of = flow_effects.c
        statement = (
            select(of.upstream, of.tool, of.count)
            .where(of.run == run_id)
            .order_by(of.upstream, of.tool)
        )
        found = await self._reader.run(lambda connection: connection.execute(statement).all())
        return [(upstream, tool, count) for upstream, tool, count in found]

    async def delete_flow(self, run_id: str) -> None:
        """Forget the flow state of a run, and what effects it has had."""

        def forget(connection: Connection) -> int:
            connection.execute(delete(flow_effects).where(flow_effects.c.run == run_id))
            return connection.execute(delete(flows).where(flows.c.run == run_id)).rowcount

        await self._writer.run(forget)

    async def put_marks(self, upstream: str, keys: Sequence[str], *, run: str, at: int) -> None:
        """Mark keys of an upstream as written by an untrusted run; of two it is `SEVERAL`."""
        entries = [{"upstream": upstream, "key": key, "run": run, "at": at} for key in keys]
        if entries:
            await self._writer.run(lambda connection: connection.execute(_MARK, entries).rowcount)

    async def marked(self, upstream: str | None = None) -> Sequence[Marked]:
        """How many marks there are by upstream and the run that made them."""
        by = (flow_marks.c.upstream, flow_marks.c.run)
        statement = (
            select(*by, func.count().label("marks"), func.min(flow_marks.c.at).label("since"))
            .group_by(*by)
            .order_by(*by)
        )
        if upstream is not None:
            statement = statement.where(flow_marks.c.upstream == upstream)
        found = await self._reader.run(lambda connection: connection.execute(statement).all())
        return [
            Marked(upstream=name, run=run, marks=marks, since=since)
            for name, run, marks, since in found
        ]

    async def clear_marks(self, upstream: str, *, run: str | None = None) -> int:
        """Forget the marks of an upstream, or those that a run made; how many."""
        statement = delete(flow_marks).where(flow_marks.c.upstream == upstream)
        if run is not None:
            statement = statement.where(flow_marks.c.run == run)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def list_marks(self) -> Sequence[tuple[str, str]]:
        """All marks: (upstream, key)."""
        statement = select(flow_marks.c.upstream, flow_marks.c.key).order_by(
            flow_marks.c.upstream, flow_marks.c.key
        )
        found = await self._reader.run(lambda connection: connection.execute(statement).all())
        return [(upstream, key) for upstream, key in found]


__all__ = ["SqliteFlow"]
