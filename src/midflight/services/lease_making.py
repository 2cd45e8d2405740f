"""Making leases: one at a time for each slot, written down first, held last.

Row and record of the intent, durable; then the backend; then the row is `active`, on record; then
its secret is in the book. Whatever goes wrong on the way ends as a lease to be revoked, since the
backend may have made it. It asks nobody whether (`lease_asking.py`). Above: `broker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from midflight.domain.errors import Conflict, MidflightError, Misconfigured, Unavailable
from midflight.domain.identity import Workload
from midflight.domain.lease import Credential, Lease, LeaseState, external_name
from midflight.domain.run import Run
from midflight.domain.scrubbing import MIN_LENGTH
from midflight.services.credentials import Credentials
from midflight.services.lease_book import MARGIN_S, Entry, Held, Key, LeaseBook, Slot
from midflight.services.lease_ending import MIDFLIGHT, LeaseEnding, limited
from midflight.services.lease_rendering import PUBLIC_FIELDS
from midflight.services.lease_retiring import LeaseRetiring, taken_back
from midflight.services.ports.clock import Clock
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.lease_store import LeaseStore

May: TypeAlias = Callable[[], None]
"""Raises if the lease may not be made (any more). Asked in the turn in which it is in the book."""


class LeaseMaking:
    """See the module."""

    def __init__(
        self,
        *,
        book: LeaseBook,
        store: LeaseStore,
        credentials: Credentials,
        ending: LeaseEnding,
        retiring: LeaseRetiring,
        clock: Clock,
        holder: str,
    ) -> None:
        """Shares its parts with the broker."""
        self._book = book
        self._store = store
        self._credentials = credentials
        self._ending = ending
        self._retiring = retiring
        self._clock = clock
        self._holder = holder
        self._replaced: list[Callable[[Lease, Held], None]] = []

    def on_replaced(self, listener: Callable[[Lease, Held], None]) -> None:
        """Call `listener` with the old lease and the new one that is handed out from now on."""
        self._replaced.append(listener)

    async def next(
        self, slot: Slot, key: Key, run: Run, workload: Workload, known: Credential, *, may: May
    ) -> Entry:
        """What comes of the one task that makes the next lease of a slot."""
        task = slot.task or self.begin(slot, key, run, workload, known, may=may)
        # Shielded: others wait for it as well, and a row without its end would be left.
        return await asyncio.shield(task)

    def begin(
        self, slot: Slot, key: Key, run: Run, workload: Workload, known: Credential, *, may: May
    ) -> asyncio.Task[Entry]:
        """The task that makes the next lease of a slot, begun now."""
        # In this turn, so that of many who ask in it no more get one than the run may hold.
        entered = self._book.begun(run.id)
        task = self._retiring.aside(
            self._get(slot, key, run, workload, known, may=may, entered=entered)
        )
        slot.task = task

        def settle(_: asyncio.Task[Entry]) -> None:
            entered()
            slot.task = None
            self._book.settle(key)

        task.add_done_callback(settle)
        return task

    async def _get(
        self,
        slot: Slot,
        key: Key,
        run: Run,
        workload: Workload,
        known: Credential,
        *,
        may: May,
        entered: Callable[[], None],
    ) -> Entry:
        old = slot.entry
        if old is not None and await self._renew(old):
            return old
        entry = await self._make(key, run, workload, known, may=may, entered=entered)
        slot.entry = entry
        if old is not None and not old.is_gone and entry.secret is not None:
            old.is_replaced = True
            held = Held(lease=entry.lease, secret=entry.secret, credential=entry.credential)
            for listener in self._replaced:
                listener(old.lease, held)
            if old.uses <= 0:
                self._retiring.aside(
                    self._retiring.end(self._retiring.drop([old]), MIDFLIGHT, "replaced")
                )
        return entry

    async def _renew(self, entry: Entry) -> bool:
        """Make it last longer. False if it cannot: then another takes its place."""
        lease, began = entry.lease, self._clock.monotonic()
        left = entry.ends - began
        expires_at = min(int(self._clock.now()) + entry.credential.ttl_s, lease.max_expires_at)
        if expires_at - lease.expires_at < MARGIN_S or left <= 0:
            return False
        backend = self._credentials.backend(lease.credential)
        try:
            ends_at = await limited(backend.renew(lease, expires_at=expires_at), lease.credential)
            ends_at = min(ends_at, lease.max_expires_at)
            stored = await self._store.renew_lease(
                lease.id, before=lease.expires_at, expires_at=ends_at
            )
        except Conflict:
            return False
        if not stored or entry.is_gone or entry.secret is None:
            # It was revoked meanwhile, and the backend may have heard of that before of this.
            if not entry.is_gone:  # by somebody else: then it is handed out no more here either
                self._retiring.drop([entry])
            await limited(backend.revoke(lease), lease.credential)
            raise taken_back(lease)
        after = msgspec.structs.replace(lease, expires_at=ends_at)
        await self._ending.record(after, reason="renewed")
        life = left + (ends_at - lease.expires_at)
        entry.give(after, entry.secret, fresh=began + life * 2 / 3, ends=began + life)
        return True

    async def _make(
        self,
        key: Key,
        run: Run,
        workload: Workload,
        known: Credential,
        *,
        may: May,
        entered: Callable[[], None],
    ) -> Entry:
        now, began = int(self._clock.now()), self._clock.monotonic()
        lease_id = f"lease_{self._clock.token()}"
        most = min(now + known.max_ttl_s, run.expires_at)
        lease = Lease(
            id=lease_id,
            credential=known.name,
            backend=known.backend,
            external=external_name(lease_id),
            run=run.id,
            workload=workload.id,
            parent=run.parent or "",
            scopes=key[2],
            state=LeaseState.INTENT,
            created_at=now,
            expires_at=min(now + known.ttl_s, most),
            max_expires_at=most,
        )
        entry = Entry(key, lease, run=run, owner=workload.owner, credential=known, began=began)
        # It was asked before the last wait. What is revoked from this turn on finds it in the book.
        may()
        self._book.add(entry)
        entered()
        try:
            await self._issue(entry, began=began)
        except BaseException as error:
            entry.is_making = False
            self._book.take_out(entry)
            self._retiring.aside(self._retiring.tell_store([lease.id], MIDFLIGHT, _why(error)))
            raise
        return entry

    async def _issue(self, entry: Entry, *, began: float) -> None:
        lease = entry.lease
        await self._store.create_lease(lease, holder=self._holder)
        await self._ending.record(lease)
        self._look(entry)
        issued = await self._issued(lease)
        self._look(entry)
        ends_at = lease.expires_at
        if issued.secret.expires_at is not None:
            ends_at = min(ends_at, issued.secret.expires_at)
        if not await self._store.activate_lease(lease.id, handle=issued.handle, expires_at=ends_at):
            raise taken_back(lease)
        active = msgspec.structs.replace(
            lease, state=LeaseState.ACTIVE, handle=issued.handle, expires_at=ends_at
        )
        await self._ending.record(active)
        self._look(entry)
        life = float(ends_at - lease.created_at)
        entry.give(active, issued.secret, fresh=began + life * 2 / 3, ends=began + life)
        entry.is_making = False

    async def _issued(self, lease: Lease) -> Issued:
        """What the backend makes. It may say anything, and break over what it was told."""
        backend = self._credentials.backend(lease.credential)
        try:
            issued = await limited(backend.issue(lease), lease.credential)
        except MidflightError:
            raise
        except Exception as error:  # noqa: BLE001 -- a bug, or a server that lies: it ends as a lease
            # No traceback: its frames hold secrets.
            raise Unavailable(
                f"The backend of credential {lease.credential} failed ({type(error).__name__}).",
                hint=f"midflight credential test {lease.credential} tries to reach it.",
            ) from None
        secret = issued.secret.fields.items()
        if any(
            len(text) >= MIN_LENGTH and text in issued.handle
            for name, text in secret
            if name not in PUBLIC_FIELDS
        ):
            # It would be stored, and shown to operators.
            raise Misconfigured(
                f"The backend of credential {lease.credential} names a lease by its secret.",
                hint="Look at who answers there.",
            )
        return issued

    def _look(self, entry: Entry) -> None:
        if entry.is_gone:
            raise taken_back(entry.lease)


def _why(error: BaseException) -> str:
    return error.message if isinstance(error, MidflightError) else type(error).__name__


__all__ = ["LeaseMaking", "May"]
