"""The store in one SQLite file: zero set-up, durable, shared by several processes.

Write-ahead log with `synchronous=FULL`: what a method has returned survives a power cut. Two lanes
(`lane.py`): one thread writes, in transactions that hold SQLite's one write lock from their first
statement, so that looking and changing is atomic across processes; one thread reads, and never
waits for a writer. PostgreSQL gets an adapter of its own over the same schema.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Insert,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store import rows
from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import (
    pins,
    revocations,
    runs,
    seal_keys,
    snapshots,
    workloads,
)
from midflight.adapters.store.sqlite_approvals import SqliteApprovals
from midflight.adapters.store.sqlite_approvers import SqliteApprovers
from midflight.adapters.store.sqlite_authorization import SqliteAuthorization
from midflight.adapters.store.sqlite_canaries import SqliteCanaries
from midflight.adapters.store.sqlite_escalation import SqliteEscalation
from midflight.adapters.store.sqlite_file import SqliteFile, empty_log
from midflight.adapters.store.sqlite_flow import SqliteFlow
from midflight.adapters.store.sqlite_held import SqliteHeld
from midflight.adapters.store.sqlite_leases import SqliteLeases
from midflight.adapters.store.sqlite_registration import SqliteRegistration
from midflight.adapters.store.sqlite_responses import SqliteResponses
from midflight.adapters.store.sqlite_ssf import SqliteSharedSignals
from midflight.adapters.store.sqlite_tasks import SqliteTasks
from midflight.adapters.store.sqlite_uses import SqliteUses
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.revocation import Revocation
from midflight.domain.run import TRANSITIONS, Run, RunState
from midflight.domain.tool import Pin, PinnedKind
from midflight.services.ports.store import StoredRevocation, StoredRun

PARENTS_AT_ONCE = 500
"""Runs whose children one statement asks for: databases bound the number of parameters."""

# Statements of the hot calls are built once: building one costs more than running it.
_NEW_RUN = insert(runs)
_NEW_SEAL_KEY = insert(seal_keys)
_SEAL_KEY = select(seal_keys.c.wrapped).where(seal_keys.c.id == bindparam("key_id"))
_RUN_BY_ID = select(runs).where(runs.c.id == bindparam("run_id"))
_LABELS = select(
    runs.c.untrusted, runs.c.confidentiality, runs.c.compartments, runs.c.labels_source
).where(runs.c.id == bindparam("run_id"))
_BUDGET = select(runs.c.max_steps - runs.c.steps_reserved).where(
    runs.c.id == bindparam("run_id"), runs.c.state == RunState.OPEN.value
)
_RESERVE = (
    update(runs)
    .where(runs.c.id == bindparam("run_id"))
    .values(steps_reserved=runs.c.steps_reserved + bindparam("granted"))
)


class SqliteStore(
    SqliteFlow,
    SqliteApprovals,
    SqliteApprovers,
    SqliteCanaries,
    SqliteHeld,
    SqliteLeases,
    SqliteRegistration,
    SqliteAuthorization,
    SqliteEscalation,
    SqliteResponses,
    SqliteSharedSignals,
    SqliteUses,
    SqliteTasks,
):
    """See the module, and `services/ports/store.py` for what the methods promise."""

    def __init__(self, path: Path | str) -> None:
        """`path` is made with mode 0600, its folder with 0700, when they are missing."""
        file = SqliteFile(Path(path))
        self._writer = Lane(file.connect_writer, name="midflight-store-writer")
        self._reader = Lane(file.connect_reader, name="midflight-store-reader")

    async def open(self) -> None:
        """Make or open the file and bring its schema up to date.

        Raises:
            StoreUnavailable: it cannot be made or read, or a newer Midflight wrote it.
        """
        try:
            await self._writer.start()
            await self._reader.start()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is queued and release the file."""
        await self._writer.stop()
        await self._reader.stop()

    # Registry

    async def put_workload(self, workload: Workload) -> None:
        """Register or replace a workload by id."""
        row = rows.workload_row(workload)
        statement = sqlite_insert(workloads).values(row)
        statement = statement.on_conflict_do_update(index_elements=[workloads.c.id], set_=row)
        await self._writer.run(lambda connection: _execute(connection, statement))

    async def get_workload(self, workload_id: str) -> Workload | None:
        """A workload by id."""
        found = await self._read(select(workloads).where(workloads.c.id == workload_id))
        return rows.read_workload(found[0]) if found else None

    async def list_workloads(self) -> Sequence[Workload]:
        """All workloads, by id."""
        found = await self._read(select(workloads).order_by(workloads.c.id))
        return [rows.read_workload(row) for row in found]

    # Runs

    async def create_run(self, run: Run, *, labels: Labels, labels_source: str) -> None:
        """Store a run in state `open`. `Conflict` if its id exists."""
        row = rows.run_row(run, labels=labels, labels_source=labels_source)
        await self._insert(_NEW_RUN, row, what=f"Run {run.id}")

    async def get_run(self, run_id: str) -> StoredRun | None:
        """A run by id."""
        found = await self._read(_RUN_BY_ID, {"run_id": run_id})
        return rows.read_run(found[0]) if found else None

    async def list_runs(
        self, *, workload: str | None = None, state: RunState | None = None, limit: int = 1000
    ) -> Sequence[StoredRun]:
        """Runs, newest first, at most `limit`."""
        statement = select(runs).order_by(runs.c.seq.desc()).limit(max(0, limit))
        if workload is not None:
            statement = statement.where(runs.c.workload == workload)
        if state is not None:
            statement = statement.where(runs.c.state == state.value)
        return [rows.read_run(row) for row in await self._read(statement)]

    async def last_run(self, workload: str) -> StoredRun | None:
        """The run of the workload that was opened last, whatever its state."""
        found = await self.list_runs(workload=workload, limit=1)
        return found[0] if found else None

    async def children(self, run_ids: Collection[str]) -> Sequence[StoredRun]:
        """Runs that were delegated by any of these, in the order of their opening."""
        wanted = list(run_ids)
        found: list[rows.Row] = []
        for at in range(0, len(wanted), PARENTS_AT_ONCE):
            some = wanted[at : at + PARENTS_AT_ONCE]
            found += await self._read(select(runs).where(runs.c.parent.in_(some)))
        return [rows.read_run(row) for row in sorted(found, key=lambda row: row["seq"])]

    async def set_intent(self, run_id: str, *, before: str, after: str) -> bool:
        """Replace the sealed intent of an open run; False if it is not open or not `before`."""
        statement = (
            update(runs)
            .where(
                runs.c.id == run_id,
                runs.c.state == RunState.OPEN.value,
                runs.c.intent == before,
            )
            .values(intent=after)
        )
        return await self._writer.run(lambda connection: _execute(connection, statement)) == 1

    async def end_run(self, run_id: str, state: RunState) -> bool:
        """Move an open run to a final state. False if it was not open: the first end stands."""
        before = [old.value for old, after in TRANSITIONS.items() if state in after]
        statement = (
            update(runs)
            .where(runs.c.id == run_id, runs.c.state.in_(before))
            .values(state=state.value)
        )
        return await self._writer.run(lambda connection: _execute(connection, statement)) == 1

    async def join_labels(self, run_id: str, labels: Labels, *, source: str) -> Labels:
        """Join labels into the run's and return the result. `NotFound` if there is no run.

        Labels only grow, so a committed value that already covers `labels` is an answer without
        the write lock and without a flush.
        """
        found = await self._read(_LABELS, {"run_id": run_id})
        if found:
            labels_now = rows.read_labels(found[0])
            if labels_now.covers(labels):
                return labels_now
        return await self._writer.run(lambda connection: _join(connection, run_id, labels, source))

    async def reserve_steps(self, run_id: str, count: int) -> int:
        """Reserve up to `count` steps of an open run; 0 for any other run."""

        def reserve(connection: Connection) -> int:
            left = connection.execute(_BUDGET, {"run_id": run_id}).scalar_one_or_none()
            granted = max(0, min(count, left or 0))
            if granted:
                connection.execute(_RESERVE, {"run_id": run_id, "granted": granted})
            return granted

        return await self._writer.run(reserve)

    # Pins

    async def put_pin(self, pin: Pin) -> None:
        """Pin a definition, replacing the pin of that upstream, kind and name."""
        row = rows.pin_row(pin)
        statement = sqlite_insert(pins).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=[pins.c.upstream, pins.c.kind, pins.c.name], set_=row
        )
        await self._writer.run(lambda connection: _execute(connection, statement))

    async def delete_pin(self, upstream: str, kind: PinnedKind, name: str) -> bool:
        """Remove a pin. False if there was none."""
        statement = delete(pins).where(
            pins.c.upstream == upstream, pins.c.kind == kind.value, pins.c.name == name
        )
        return await self._writer.run(lambda connection: _execute(connection, statement)) == 1

    async def list_pins(self, upstream: str | None = None) -> Sequence[Pin]:
        """All pins, by upstream, kind and name."""
        statement = select(pins).order_by(pins.c.upstream, pins.c.kind, pins.c.name)
        if upstream is not None:
            statement = statement.where(pins.c.upstream == upstream)
        return [rows.read_pin(row) for row in await self._read(statement)]

    # Revocations

    async def append_revocation(self, revocation: Revocation) -> int:
        """Append durably and return the position. `Conflict` if the id exists."""
        # The write lock is held from here to the commit, so the next position is nobody else's;
        # a rollback gives it back. That is what keeps the log without gaps.
        after_last = select(func.coalesce(func.max(revocations.c.position), 0) + 1)
        statement = (
            insert(revocations)
            .values(**rows.revocation_row(revocation), position=after_last.scalar_subquery())
            .returning(revocations.c.position)
        )

        def append(connection: Connection) -> int:
            try:
                return connection.execute(statement).scalar_one()
            except IntegrityError:
                raise Conflict(f"Revocation {revocation.id} exists.") from None

        return await self._writer.run(append)

    async def revocations(self, *, after: int = 0) -> Sequence[StoredRevocation]:
        """All entries behind a position, in order."""
        found = await self._read(
            select(revocations)
            .where(revocations.c.position > after)
            .order_by(revocations.c.position)
        )
        return [rows.read_revocation(row) for row in found]

    # Secrets that can be erased, snapshots, and single use

    async def put_seal_key(self, key_id: str, wrapped: bytes) -> None:
        """Store a wrapped sealing key. `Conflict` if the id exists."""
        row = {"id": key_id, "wrapped": wrapped}
        await self._insert(_NEW_SEAL_KEY, row, what=f"Sealing key {key_id}")

    async def get_seal_key(self, key_id: str) -> bytes | None:
        """A wrapped sealing key, or None if it never was or is erased."""
        found = await self._read(_SEAL_KEY, {"key_id": key_id})
        return found[0]["wrapped"] if found else None

    async def erase_seal_key(self, key_id: str) -> bool:
        """Forget a sealing key, and the salt and the words of the run of that id.

        The bytes are overwritten in the file, and the write-ahead log that still has them is
        emptied unless another process is reading it just then; in that case it is overwritten by
        later writes. Copies that a backup or the disk keeps are beyond this method.
        """
        bare = update(runs).where(runs.c.id == key_id).values(salt="", intent=None, delegated=None)
        forget = delete(seal_keys).where(seal_keys.c.id == key_id)

        def erase(connection: Connection) -> int:
            _execute(connection, bare)
            return _execute(connection, forget)

        erased = await self._writer.run(erase) == 1
        await self._writer.run(empty_log, is_apart=True)
        return erased

    async def put_snapshot(self, name: str, body: bytes) -> None:
        """Keep a service's snapshot, replacing the one of that name."""
        statement = sqlite_insert(snapshots).values(name=name, body=body)
        statement = statement.on_conflict_do_update(
            index_elements=[snapshots.c.name], set_={"body": body}
        )
        await self._writer.run(lambda connection: _execute(connection, statement))

    async def get_snapshot(self, name: str) -> bytes | None:
        """The snapshot of that name, or None."""
        found = await self._read(select(snapshots.c.body).where(snapshots.c.name == name))
        return found[0]["body"] if found else None

    # Inside

    async def _read(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> Sequence[rows.Row]:
        return await self._reader.run(
            lambda connection: connection.execute(statement, parameters).mappings().all()
        )

    async def _insert(self, statement: Insert, row: dict[str, Any], *, what: str) -> None:
        def add(connection: Connection) -> None:
            try:
                connection.execute(statement, row)
            except IntegrityError:
                raise Conflict(f"{what} exists.") from None

        await self._writer.run(add)


def _join(connection: Connection, run_id: str, labels: Labels, source: str) -> Labels:
    row = connection.execute(_LABELS, {"run_id": run_id}).mappings().first()
    if row is None:
        raise NotFound(f"There is no run {run_id}.")
    before = rows.read_labels(row)
    if before.covers(labels):
        return before
    joined = before.join(labels)
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            **rows.labels_row(joined),
            labels_source=rows.join_sources(row["labels_source"], source),
        )
    )
    return joined


def _execute(connection: Connection, statement: Executable) -> int:
    """Run a statement; how many rows it touched."""
    return connection.execute(statement).rowcount


__all__ = ["PARENTS_AT_ONCE", "SqliteStore"]
