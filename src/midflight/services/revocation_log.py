"""The log of revocations as one process reads and writes it.

Entries are appended durably, told to every replica, and read back in order; what the store did not
take is owed to it and appended as soon as it listens. How far the ledger has the entries is kept in
the store, so that a start records what nobody did: an entry counts as recorded once its records are
on disk, and after a crash it may be recorded twice and never not at all.

It does not know what an entry does (`interruption.py`, above).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Sequence
from typing import Protocol

from midflight.domain.errors import Conflict, MidflightError
from midflight.domain.records import Observed
from midflight.domain.revocation import Revocation
from midflight.services.ports.clock import Clock
from midflight.services.ports.fabric import Fabric, Handler
from midflight.services.ports.recorder import Recorder, Ticket
from midflight.services.ports.store import Store, StoredRevocation

TOPIC = "revocations"
SNAPSHOT = "revocations-recorded-v1"


class Apply(Protocol):
    """Puts an entry into force when it is called; what it returns says what was recorded."""

    def __call__(self, revocation: Revocation, *, note: bool) -> Awaitable[Sequence[Ticket]]:
        """Record it only if `note` says so, and nothing had put it into force before."""
        ...


class RevocationLog:
    """See the module."""

    def __init__(self, *, store: Store, fabric: Fabric, recorder: Recorder, clock: Clock) -> None:
        """Shares its parts with `Interruption`."""
        self._store = store
        self._fabric = fabric
        self._recorder = recorder
        self._clock = clock
        self._applied = 0
        self._owed: dict[str, Revocation] = {}
        # Made here, and not yet on record: at most a handful.
        self._unsettled: set[str] = set()
        self._following = asyncio.Lock()

    async def start(self, apply: Apply) -> None:
        """Read all of it. `StoreUnavailable` if it cannot be read, so nothing is served."""
        kept = await self._store.get_snapshot(SNAPSHOT)
        await self._read(apply, await self._store.revocations(after=0), kept=kept)
        await self._keep_position()

    async def subscribe(self, handler: Handler) -> None:
        """Call `handler` when the log has grown."""
        await self._fabric.subscribe(TOPIC, handler)

    async def follow(self, apply: Apply) -> None:
        """Read what is new. `StoreUnavailable` if it cannot be read."""
        async with self._following:
            found = await self._store.revocations(after=self._applied)
            if found:
                await self._read(apply, found, kept=b"0")
                await self._keep_position()

    def is_on_record(self, revocation: Revocation) -> bool:
        """Whether nothing is left to be recorded of an entry that is in force here."""
        return revocation.id not in self._unsettled

    async def owe(self, revocation: Revocation) -> None:
        """Append an entry that is in force here already, now or as soon as the store listens.

        Raises:
            StoreUnavailable: not yet.
        """
        self._unsettled.add(revocation.id)
        self._owed[revocation.id] = revocation
        await self.append(revocation)

    async def append_lift(self, lifting: Revocation) -> None:
        """Append an entry that takes effect when it is in the log. `StoreUnavailable` if not."""
        self._unsettled.add(lifting.id)
        try:
            await self.append(lifting)
        except BaseException:
            # Should it be in the log after all, whoever reads it there records it.
            self._unsettled.discard(lifting.id)
            raise

    async def append(self, revocation: Revocation) -> None:
        """Append an entry and tell everybody; all of them have applied it when this returns."""
        try:
            position = await self._store.append_revocation(revocation)
        except Conflict:
            # It was taken, though the answer was lost.
            position = self._applied + 1
        self._owed.pop(revocation.id, None)
        if revocation.lifts is not None:
            self._owed.pop(revocation.lifts, None)
        await self._fabric.publish(TOPIC, position)

    async def repay(self) -> None:
        """Append what is owed. What the store does not take stays owed."""
        for revocation in list(self._owed.values()):
            try:
                await self.append(revocation)
            except MidflightError:
                return
            with contextlib.suppress(MidflightError):
                self._recorder.append(
                    Observed(
                        at=self._clock.now(),
                        what="revocation.durable",
                        subject=revocation.id,
                        details={"scope": str(revocation.scope)},
                    )
                )

    async def settled(self, revocation: Revocation) -> None:
        """The records of an entry that was made here are on disk."""
        self._unsettled.discard(revocation.id)
        with contextlib.suppress(MidflightError):  # then the next start records it again
            await self._keep_position()

    # Inside

    async def _read(
        self, apply: Apply, entries: Sequence[StoredRevocation], *, kept: bytes | None
    ) -> None:
        """Put all of them into force in this turn, wait for what they cut, and record them."""
        recording: list[tuple[str, Awaitable[Sequence[Ticket]]]] = []
        for stored in entries:
            self._applied = stored.position
            entry = stored.revocation
            # Whoever made it here records it. Nothing is recorded of what is older than the ledger.
            note = kept is not None and stored.position > int(kept)
            note = note and entry.id not in self._unsettled
            recording.append((entry.id, apply(entry, note=note)))
        for entry_id, recorded in recording:
            try:
                for ticket in await recorded:
                    await ticket.durable()
            except MidflightError:
                # It is in force all the same; the next start records it.
                self._unsettled.add(entry_id)

    async def _keep_position(self) -> None:
        if not self._unsettled:
            await self._store.put_snapshot(SNAPSHOT, b"%d" % self._applied)


__all__ = ["SNAPSHOT", "TOPIC", "Apply", "RevocationLog"]
