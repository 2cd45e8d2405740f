"""Approvals and counterparties in SQLite: a part of `sqlite.py`.

What looks and changes does both in one transaction of the writer's lane, which holds SQLite's one
write lock from its first statement: two processes cannot both use a yes.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import (
    Connection,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store import approval_rows as rows
from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import approvals, counterparties, runs
from midflight.domain.approval import (
    LIVE,
    TRANSITIONS,
    Answer,
    ApprovalRequest,
    ApprovalState,
    answered,
)
from midflight.domain.counterparty import Counterparty
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.run import RunState

_LIVE = [state.value for state in ApprovalState if state in LIVE]
_BY_ID = select(approvals).where(approvals.c.id == bindparam("approval_id"))
_LAST = (
    select(approvals)
    .where(approvals.c.digest == bindparam("digest"))
    .order_by(approvals.c.seq.desc())
    .limit(1)
)
_PENDING = (
    select(func.count())
    .select_from(approvals)
    .where(
        approvals.c.run == bindparam("run"),
        approvals.c.state == ApprovalState.PENDING.value,
        approvals.c.expires_at > bindparam("now"),
    )
)
_RUN_IS_OPEN = exists(
    select(literal(1)).where(runs.c.id == approvals.c.run, runs.c.state == RunState.OPEN.value)
)


class SqliteApprovals:
    """See the module, and `services/ports/approval_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def file_approval(
        self, request: ApprovalRequest, *, max_pending: int, now: int
    ) -> ApprovalRequest | None:
        """Store it, or return what there is for its digest; None if there are too many."""
        row = rows.approval_row(request)

        def file(connection: Connection) -> ApprovalRequest | None:
            last = _one(connection, digest=request.digest)
            if last is not None and (last.is_live(now) or last.state is ApprovalState.REFUSED):
                return last
            pending = connection.execute(_PENDING, {"run": request.run, "now": now}).scalar_one()
            if pending >= max_pending:
                return None
            try:
                connection.execute(insert(approvals), row)
            except IntegrityError:
                raise Conflict(f"Approval {request.id} exists.") from None
            return request

        return await self._writer.run(file)

    async def get_approval(self, approval_id: str) -> ApprovalRequest | None:
        """A request by id."""
        return await self._reader.run(lambda connection: _one(connection, approval_id=approval_id))

    async def last_approval(self, digest: str) -> ApprovalRequest | None:
        """The request of a digest that was filed last."""
        return await self._reader.run(lambda connection: _one(connection, digest=digest))

    async def list_approvals(
        self, *, run: str | None = None, state: ApprovalState | None = None, limit: int = 1000
    ) -> Sequence[ApprovalRequest]:
        """Requests, newest first, at most `limit`."""
        statement = select(approvals).order_by(approvals.c.seq.desc()).limit(max(0, limit))
        if run is not None:
            statement = statement.where(approvals.c.run == run)
        if state is not None:
            statement = statement.where(approvals.c.state == state.value)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [rows.read_approval(row) for row in found]

    async def answer_approval(self, approval_id: str, answer: Answer) -> ApprovalRequest:
        """Apply an answer and return the request as it is then."""

        def apply(connection: Connection) -> ApprovalRequest:
            request = _one(connection, approval_id=approval_id)
            if request is None:
                raise NotFound(f"There is no approval {approval_id}.")
            state = connection.execute(
                select(runs.c.state).where(runs.c.id == request.run)
            ).scalar_one_or_none()
            if state != RunState.OPEN.value:
                raise Conflict(f"Run {request.run} has ended, so {approval_id} cannot be answered.")
            after = answered(request, answer)
            row = rows.approval_row(after)
            connection.execute(
                update(approvals)
                .where(approvals.c.id == approval_id)
                .values(state=row["state"], answers=row["answers"])
            )
            return after

        return await self._writer.run(apply)

    async def use_approval(self, approval_id: str, *, now: int) -> bool:
        """Move an approved, unexpired request of an open run to `used`: True exactly once."""
        statement = (
            update(approvals)
            .where(
                approvals.c.id == approval_id,
                approvals.c.state == ApprovalState.APPROVED.value,
                approvals.c.expires_at > now,
                _RUN_IS_OPEN,
            )
            .values(state=ApprovalState.USED.value)
        )
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )

    async def end_approval(self, approval_id: str, state: ApprovalState) -> bool:
        """Move a request to `void` or `expired`. False if its state does not allow it."""
        before = [old.value for old, after in TRANSITIONS.items() if state in after]
        statement = (
            update(approvals)
            .where(approvals.c.id == approval_id, approvals.c.state.in_(before))
            .values(state=state.value)
        )
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )

    async def expire_approvals(self, *, now: int) -> Sequence[ApprovalRequest]:
        """Move every live request whose time is over to `expired`; those moved."""
        statement = (
            update(approvals)
            .where(approvals.c.state.in_(_LIVE), approvals.c.expires_at <= now)
            .values(state=ApprovalState.EXPIRED.value)
            .returning(approvals)
        )
        found = await self._writer.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [rows.read_approval(row) for row in found]

    async def void_approvals(self, run: str) -> Sequence[ApprovalRequest]:
        """Move every live request of a run to `void`; those moved."""
        statement = (
            update(approvals)
            .where(approvals.c.state.in_(_LIVE), approvals.c.run == run)
            .values(state=ApprovalState.VOID.value)
            .returning(approvals)
        )
        found = await self._writer.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [rows.read_approval(row) for row in found]

    async def put_counterparty(self, counterparty: Counterparty) -> None:
        """Add an entry, replacing the one of that owner and key."""
        row = rows.counterparty_row(counterparty)
        statement = sqlite_insert(counterparties).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=[counterparties.c.owner, counterparties.c.key], set_=row
        )
        await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def list_counterparties(self, owner: str | None = None) -> Sequence[Counterparty]:
        """Entries by owner, then oldest first."""
        statement = select(counterparties).order_by(
            counterparties.c.owner, counterparties.c.added_at, counterparties.c.key
        )
        if owner is not None:
            statement = statement.where(counterparties.c.owner == owner)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [rows.read_counterparty(row) for row in found]

    async def delete_counterparty(self, owner: str, key: str) -> bool:
        """Remove an entry. False if there was none."""
        statement = delete(counterparties).where(
            counterparties.c.owner == owner, counterparties.c.key == key
        )
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )

    async def prune_counterparties(self, *, now: int) -> int:
        """Remove the entries that have ended; how many."""
        statement = delete(counterparties).where(counterparties.c.expires_at <= now)
        return await self._writer.run(lambda connection: connection.execute(statement).rowcount)


def _one(
    connection: Connection, *, approval_id: str = "", digest: str = ""
) -> ApprovalRequest | None:
    if approval_id:
        found = connection.execute(_BY_ID, {"approval_id": approval_id}).mappings().first()
    else:
        found = connection.execute(_LAST, {"digest": digest}).mappings().first()
    return None if found is None else rows.read_approval(found)


__all__ = ["SqliteApprovals"]
