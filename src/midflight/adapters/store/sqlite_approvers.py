"""Approvers in SQLite: a part of `sqlite.py`.

What counts once is spent by one conditional statement of the writer's lane, whose transaction holds
SQLite's one write lock: of two processes that are shown the same code, one gets it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError

from midflight.adapters.store.lane import Lane
from midflight.adapters.store.rows import Row, decode_text, read_value, write_text
from midflight.adapters.store.schema_approvers import (
    approver_enrolments,
    approver_passkeys,
    approvers,
    backchannel_requests,
)
from midflight.domain.approver import Approver, BackchannelRequest, Enrolment, Passkey
from midflight.domain.errors import Conflict, NotFound


class SqliteApprovers:
    """See the module, and `services/ports/approver_store.py` for what the methods promise."""

    _writer: Lane
    _reader: Lane

    async def add_approver(self, approver: Approver) -> None:
        """Store an account. `Conflict` if its name exists."""
        row = msgspec.structs.asdict(approver) | {"groups": write_text(approver.groups)}

        def add(connection: Connection) -> None:
            try:
                connection.execute(insert(approvers), row)
            except IntegrityError:
                raise Conflict(
                    f"Approver {approver.name} exists.", hint="midflight approver list shows them."
                ) from None

        await self._writer.run(add)

    async def get_approver(self, name: str) -> Approver | None:
        """An account by name."""
        return await self._reader.run(lambda connection: _find(connection, name))

    async def list_approvers(self) -> Sequence[Approver]:
        """All accounts, by name."""
        statement = select(approvers).order_by(approvers.c.name)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [_read(row) for row in found]

    async def change_approver(
        self, name: str, *, groups: tuple[str, ...] | None = None, disabled: bool | None = None
    ) -> Approver:
        """Change what is given and count `epoch` up. `NotFound` if there is none."""
        changes: dict[str, Any] = {}
        if groups is not None:
            changes["groups"] = write_text(groups)
        if disabled is not None:
            changes["disabled"] = disabled
        return await self._writer.run(lambda connection: _change(connection, name, changes))

    async def reset_approver(self, name: str) -> Approver:
        """Forget all its factors and enrolments, and count `epoch` up. `NotFound` as above."""

        def reset(connection: Connection) -> Approver:
            after = _change(connection, name, {"totp": None, "totp_step": -1})
            for table in (approver_passkeys, approver_enrolments):
                connection.execute(delete(table).where(table.c.approver == name))
            return after

        return await self._writer.run(reset)

    async def set_totp(self, name: str, sealed: str, *, step: int) -> None:
        """Keep the secret of its codes, in place of another; codes up to `step` are spent."""
        statement = (
            update(approvers).where(approvers.c.name == name).values(totp=sealed, totp_step=step)
        )

        def keep(connection: Connection) -> None:
            if connection.execute(statement).rowcount != 1:
                raise _missing(name)

        await self._writer.run(keep)

    async def use_totp(self, name: str, sealed: str, *, step: int) -> bool:
        """Spend the code of a time step: True once, and for no step before one that was spent."""
        statement = (
            update(approvers)
            .where(
                approvers.c.name == name,
                approvers.c.disabled.is_(False),
                approvers.c.totp == sealed,
                approvers.c.totp_step < step,
            )
            .values(totp_step=step)
        )
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )

    async def add_passkey(self, passkey: Passkey, *, limit: int) -> None:
        """Store a passkey of an account."""
        table, row = approver_passkeys, msgspec.structs.asdict(passkey)
        own = select(func.count()).select_from(table).where(table.c.approver == passkey.approver)

        def add(connection: Connection) -> None:
            if _find(connection, passkey.approver) is None:
                raise _missing(passkey.approver)
            if connection.execute(select(table).where(table.c.id == passkey.id)).first():
                raise Conflict("This passkey is enrolled already.")
            if connection.execute(own).scalar_one() >= limit:
                raise Conflict(f"{passkey.approver} has {limit} passkeys already.")
            connection.execute(insert(table), row)

        await self._writer.run(add)

    async def get_passkey(self, passkey_id: str) -> Passkey | None:
        """A passkey by id."""
        statement = select(approver_passkeys).where(approver_passkeys.c.id == passkey_id)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().first()
        )
        return None if found is None else read_value(_plain(found), Passkey)

    async def list_passkeys(self, approver: str) -> Sequence[Passkey]:
        """The passkeys of an account, oldest first."""
        table = approver_passkeys
        statement = (
            select(table).where(table.c.approver == approver).order_by(table.c.added_at, table.c.id)
        )
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [read_value(_plain(row), Passkey) for row in found]

    async def count_passkey(self, passkey_id: str, *, before: int, after: int) -> bool:
        """Move its counter from `before` to `after`. False if it does not stand there any more."""
        table = approver_passkeys
        statement = (
            update(table)
            .where(table.c.id == passkey_id, table.c.count == before)
            .values({"count": after})
        )
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )

    async def put_enrolment(self, enrolment: Enrolment) -> None:
        """Store an enrolment, in place of any other of that account."""
        table, row = approver_enrolments, msgspec.structs.asdict(enrolment)

        def put(connection: Connection) -> None:
            if _find(connection, enrolment.approver) is None:
                raise _missing(enrolment.approver)
            connection.execute(delete(table).where(table.c.approver == enrolment.approver))
            connection.execute(insert(table), row)

        await self._writer.run(put)

    async def take_enrolment(self, digest: str, *, now: int) -> str | None:
        """Whose enrolment it is, once and before its end; it is forgotten."""
        table = approver_enrolments
        statement = (
            delete(table)
            .where(table.c.digest == digest)
            .returning(table.c.approver, table.c.expires_at)
        )
        found = await self._writer.run(lambda connection: connection.execute(statement).first())
        return None if found is None or found.expires_at <= now else str(found.approver)

    async def put_backchannel(self, request: BackchannelRequest) -> None:
        """Store a question at a provider, or replace it by id."""
        row = msgspec.structs.asdict(request)
        statement = sqlite_insert(backchannel_requests).values(row)
        statement = statement.on_conflict_do_update(
            index_elements=[backchannel_requests.c.id], set_=row
        )
        await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def list_backchannel(self) -> Sequence[BackchannelRequest]:
        """All of them, oldest first."""
        table = backchannel_requests
        statement = select(table).order_by(table.c.asked_at, table.c.id)
        found = await self._reader.run(
            lambda connection: connection.execute(statement).mappings().all()
        )
        return [read_value(_plain(row), BackchannelRequest) for row in found]

    async def delete_backchannel(self, request_id: str) -> bool:
        """Forget one: True once."""
        statement = delete(backchannel_requests).where(backchannel_requests.c.id == request_id)
        return (
            await self._writer.run(lambda connection: connection.execute(statement).rowcount) == 1
        )


def _find(connection: Connection, name: str) -> Approver | None:
    row = connection.execute(select(approvers).where(approvers.c.name == name)).mappings().first()
    return None if row is None else _read(row)


def _change(connection: Connection, name: str, changes: dict[str, Any]) -> Approver:
    statement = (
        update(approvers)
        .where(approvers.c.name == name)
        .values(epoch=approvers.c.epoch + 1, **changes)
        .returning(approvers)
    )
    row = connection.execute(statement).mappings().first()
    if row is None:
        raise _missing(name)
    return _read(row)


def _read(row: Row) -> Approver:
    return read_value(_plain(row) | {"groups": decode_text(row["groups"])}, Approver)


def _plain(row: Row) -> dict[str, Any]:
    return {str(key): value for key, value in row.items()}


def _missing(name: str) -> NotFound:
    return NotFound(f"There is no approver {name}.", hint="midflight approver list shows them.")


__all__ = ["SqliteApprovers"]
