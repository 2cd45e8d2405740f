"""Credentials and leases in SQLite: a part of `sqlite.py`.

What looks and changes does both in one transaction of the writer's lane, which holds SQLite's one
write lock from its first statement: two processes never end one lease at the same time.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import (
    ColumnElement,
    Connection,
    CursorResult,
    Executable,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store import lease_rows as rows
from midflight.adapters.store.lane import Lane
from midflight.adapters.store.schema import credentials, leases, sealed_secrets
from midflight.domain.errors import Conflict
from midflight.domain.lease import TRANSITIONS, Credential, Lease, LeaseState
from midflight.services.ports.lease_store import MAX_WAIT_S, SealedSecret

AT_ONCE = 500
"""Leases that one statement names: databases bound the number of parameters."""

_ALIVE = (LeaseState.INTENT.value, LeaseState.ACTIVE.value)
_UNREVOKED = leases.c.state != LeaseState.REVOKED.value


def _may_become(state: LeaseState) -> ColumnElement[bool]:
    before = [known.value for known, after in TRANSITIONS.items() if state in after]
    return leases.c.state.in_(before)


# Of one lease at a time, and of thousands when a plane stops. Written once: to write one takes a
# millisecond of the event loop, to run it hardly anything, and that in the lane's thread.
_FINISH = (
    update(leases)
    .where(leases.c.id == bindparam("lease"), _may_become(LeaseState.REVOKED))
    .values(state=LeaseState.REVOKED.value, error="", stuck=False)
)
_ACTIVATE = (
    update(leases)
    .where(leases.c.id == bindparam("lease"), _may_become(LeaseState.ACTIVE))
    .values(
        state=LeaseState.ACTIVE.value,
        handle=bindparam("new_handle"),
        expires_at=bindparam("new_end"),
    )
)
_FAIL = (
    update(leases)
    .where(
        leases.c.id == bindparam("lease"),
        leases.c.state == LeaseState.REVOKING.value,
        leases.c.attempts <= bindparam("new_attempts"),
    )
    .values(
        attempts=bindparam("new_attempts"),
        next_try_at=bindparam("new_try"),
        error=bindparam("new_error"),
        stuck=or_(leases.c.stuck, bindparam("is_stuck")),
    )
)
_CREATE = insert(leases)
_KNOWN = select(exists(select(literal(1)).where(credentials.c.name == bindparam("name"))))
_LEASE = select(leases).where(leases.c.id == bindparam("lease"))


class SqliteLeases:
    """See the module, and `services/ports/lease_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def put_credential(self, credential: Credential, *, replace: bool = False) -> None:
        """Keep a credential. `Conflict` if its name exists and is not to be replaced."""
        row = rows.credential_row(credential)
        statement = sqlite_insert(credentials).values(row)
        statement = (
            statement.on_conflict_do_update(index_elements=["name"], set_=row)
            if replace
            else statement.on_conflict_do_nothing()
        )
        if not await self._changed_leases(statement):
            raise Conflict(f"Credential {credential.name} exists.")

    async def delete_credential(self, name: str) -> bool:
        """Forget a credential. `Conflict` while a lease of it is not revoked."""
        left = select(exists(select(leases.c.seq).where(leases.c.credential == name, _UNREVOKED)))
        statement = delete(credentials).where(credentials.c.name == name)

        def forget(connection: Connection) -> bool:
            if connection.execute(left).scalar_one():
                raise Conflict(f"Leases of credential {name} are not revoked.")
            return connection.execute(statement).rowcount > 0

        return await self._writer.run(forget)

    async def list_credentials(self) -> Sequence[Credential]:
        """All credentials, by name."""
        statement = select(credentials).order_by(credentials.c.name)
        found = await self._reader.run(lambda c: c.execute(statement).mappings().all())
        return [rows.read_credential(row) for row in found]

    async def put_sealed_secret(self, secret: SealedSecret) -> None:
        """Keep a sealed secret. `Conflict` if its id exists."""
        statement = sqlite_insert(sealed_secrets).values(rows.sealed_row(secret))
        if not await self._changed_leases(statement.on_conflict_do_nothing()):
            raise Conflict(f"Sealed secret {secret.id} exists.")

    async def get_sealed_secret(self, secret_id: str) -> SealedSecret | None:
        """A sealed secret, or None."""
        statement = select(sealed_secrets).where(sealed_secrets.c.id == secret_id)
        row = await self._reader.run(lambda c: c.execute(statement).mappings().one_or_none())
        return None if row is None else rows.read_sealed(row)

    async def delete_sealed_secret(self, secret_id: str) -> bool:
        """Forget a sealed secret. False if there was none."""
        return await self._changed_leases(
            delete(sealed_secrets).where(sealed_secrets.c.id == secret_id)
        )

    async def create_lease(self, lease: Lease, *, holder: str) -> None:
        """Write down an intent. `Conflict` if it exists, or its credential does not."""
        row = {**rows.lease_row(lease), "holder": holder}

        def create(connection: Connection) -> None:
            if not connection.execute(_KNOWN, {"name": lease.credential}).scalar_one():
                raise Conflict(f"There is no credential {lease.credential}.")
            try:
                connection.execute(_CREATE, row)
            except IntegrityError:
                raise Conflict(f"Lease {lease.id} or its external name exists.") from None

        await self._writer.run(create)

    async def activate_lease(self, lease_id: str, *, handle: str, expires_at: int) -> bool:
        """`intent` → `active`. False if it is no intent (any more)."""
        given = {"lease": lease_id, "new_handle": handle, "new_end": expires_at}
        return await self._changed_leases(_ACTIVATE, given)

    async def renew_lease(self, lease_id: str, *, before: int, expires_at: int) -> bool:
        """Move the end of an active lease that ends at `before`."""
        is_it = and_(
            leases.c.id == lease_id,
            leases.c.state == LeaseState.ACTIVE.value,
            leases.c.expires_at == before,
        )
        bound = select(leases.c.max_expires_at).where(is_it)
        statement = update(leases).where(is_it).values(expires_at=expires_at)

        def renew(connection: Connection) -> bool:
            most = connection.execute(bound).scalar_one_or_none()
            if most is not None and expires_at > most:
                raise Conflict(f"Lease {lease_id} must end at {most}.")
            return connection.execute(statement).rowcount > 0

        return await self._writer.run(renew)

    async def begin_revoking(
        self, lease_ids: Collection[str], *, now: int, until: int
    ) -> Sequence[Lease]:
        """`intent` or `active` → `revoking`; those that were moved."""
        del now
        wanted = sorted(lease_ids)
        moved: list[Lease] = []
        for at in range(0, len(wanted), AT_ONCE):
            condition = and_(
                leases.c.id.in_(wanted[at : at + AT_ONCE]), _may_become(LeaseState.REVOKING)
            )
            moved += await self._revoking_leases(condition, until=until)
        return moved

    async def claim_due(self, *, now: int, until: int, holder: str, limit: int) -> Sequence[Lease]:
        """Leases that are to be ended, given to this caller alone."""
        is_due = or_(
            and_(_UNREVOKED, leases.c.holder != holder),
            and_(
                leases.c.state == LeaseState.REVOKING.value,
                or_(leases.c.next_try_at <= now, leases.c.next_try_at > now + MAX_WAIT_S),
            ),
            and_(leases.c.state.in_(_ALIVE), leases.c.expires_at <= now),
        )
        first = (
            select(leases.c.seq)
            .where(is_due)
            .order_by(leases.c.next_try_at, leases.c.seq)
            .limit(max(0, limit))
        )
        return await self._revoking_leases(leases.c.seq.in_(first), until=until, holder=holder)

    async def finish_lease(self, lease_id: str) -> bool:
        """`revoking` → `revoked`. False if it was not `revoking`."""
        return await self._changed_leases(_FINISH, {"lease": lease_id})

    async def fail_revoking(
        self, lease_id: str, *, attempts: int, next_try_at: int, error: str, stuck: bool
    ) -> bool:
        """Note that a try failed."""
        given = {
            "lease": lease_id,
            "new_attempts": attempts,
            "new_try": next_try_at,
            "new_error": error,
            "is_stuck": stuck,
        }
        return await self._changed_leases(_FAIL, given)

    async def get_lease(self, lease_id: str) -> Lease | None:
        """A lease by id."""
        row = await self._reader.run(
            lambda c: c.execute(_LEASE, {"lease": lease_id}).mappings().one_or_none()
        )
        return None if row is None else rows.read_lease(row)

    async def list_leases(
        self,
        *,
        run: str | None = None,
        credential: str | None = None,
        states: Collection[LeaseState] | None = None,
        stuck: bool | None = None,
        limit: int = 1000,
    ) -> Sequence[Lease]:
        """Leases, newest first, at most `limit`."""
        statement = select(leases).order_by(leases.c.seq.desc()).limit(max(0, limit))
        if run is not None:
            statement = statement.where(leases.c.run == run)
        if credential is not None:
            statement = statement.where(leases.c.credential == credential)
        if states is not None:
            statement = statement.where(leases.c.state.in_([state.value for state in states]))
        if stuck is not None:
            statement = statement.where(leases.c.stuck.is_(stuck))
        found = await self._reader.run(lambda c: c.execute(statement).mappings().all())
        return [rows.read_lease(row) for row in found]

    async def unrevoked_names(self, externals: Collection[str]) -> frozenset[str]:
        """Which of these external names have a lease that is not revoked."""
        wanted = sorted(externals)
        found: set[str] = set()
        for at in range(0, len(wanted), AT_ONCE):
            statement = select(leases.c.external).where(
                leases.c.external.in_(wanted[at : at + AT_ONCE]), _UNREVOKED
            )
            # The writer's lane: an intent that was just written down must be seen.
            found.update(
                await self._writer.run(lambda c, s=statement: c.execute(s).scalars().all())
            )
        return frozenset(found)

    async def count_leases(self) -> dict[LeaseState, int]:
        """How many there are in each state."""
        statement = select(leases.c.state, func.count()).group_by(leases.c.state)
        found = await self._reader.run(lambda c: c.execute(statement).all())
        return {LeaseState(state): number for state, number in found}

    async def forget_revoked(self, *, before: int, limit: int) -> int:
        """Delete leases that are `revoked` and ended before; how many."""
        gone = (
            select(leases.c.seq)
            .where(leases.c.state == LeaseState.REVOKED.value, leases.c.expires_at < before)
            .order_by(leases.c.seq)
            .limit(max(0, limit))
        )
        statement = delete(leases).where(leases.c.seq.in_(gone))
        return await self._writer.run(lambda c: c.execute(statement).rowcount)

    async def _revoking_leases(
        self, condition: ColumnElement[bool], *, until: int, holder: str | None = None
    ) -> Sequence[Lease]:
        statement = (
            update(leases)
            .where(condition)
            .values(state=LeaseState.REVOKING.value, next_try_at=until)
            .returning(leases)
        )
        if holder is not None:
            statement = statement.values(holder=holder)
        found = await self._writer.run(lambda c: c.execute(statement).mappings().all())
        return [rows.read_lease(row) for row in found]

    async def _changed_leases(
        self, statement: Executable, given: Mapping[str, object] | None = None
    ) -> bool:
        return await self._writer.run(lambda c: _rowcount(c, statement, given)) > 0


def _rowcount(
    connection: Connection, statement: Executable, given: Mapping[str, object] | None
) -> int:
    result = connection.execute(statement, given)
    assert isinstance(result, CursorResult)
    return result.rowcount


__all__ = ["SqliteLeases"]
