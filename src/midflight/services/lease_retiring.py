"""Retiring leases of this process: unusable in this turn, `revoking` in the store, gone at the end.

What the store does not take is denied here all the same and told to it again. What is still being
made is left to who makes it: its backend is told when there is nothing any more that could come
after. Below: `lease_book.py`, `lease_ending.py`. Above: `lease_making.py`, `broker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

import structlog

from midflight.domain.errors import Interrupted, MidflightError
from midflight.domain.identity import Author, trust_domain
from midflight.domain.lease import Lease, LeaseState
from midflight.domain.revocation import ScopeKind
from midflight.services.lease_book import Entry, LeaseBook
from midflight.services.lease_ending import CLAIM_S, LeaseEnding
from midflight.services.ports.clock import Clock
from midflight.services.ports.lease_store import LeaseStore

log = structlog.get_logger(__name__)
T = TypeVar("T")


class LeaseRetiring:
    """See the module."""

    def __init__(
        self, *, book: LeaseBook, store: LeaseStore, ending: LeaseEnding, clock: Clock
    ) -> None:
        """Shared by the broker and what makes leases for it."""
        self._book = book
        self._store = store
        self._ending = ending
        self._clock = clock
        self._unsaid: dict[str, tuple[Author, str]] = {}
        self._beside: set[asyncio.Task[Any]] = set()
        self._gone: list[Callable[[Lease], None]] = []

    def on_gone(self, listener: Callable[[Lease], None]) -> None:
        """Call `listener` in the turn in which a lease may no longer be used."""
        self._gone.append(listener)

    def deny(self, is_wanted: Callable[[Entry], bool]) -> list[Entry]:
        """Take out what a condition holds for, in this turn."""
        return self.drop(self._book.matching(is_wanted))

    def drop(self, entries: list[Entry]) -> list[Entry]:
        """Take these out, in this turn."""
        for entry in entries:
            self._book.take_out(entry)
        # All are out before anybody is told, so that no listener's bug lets one of them be used.
        for entry in entries:
            for listener in self._gone:
                listener(entry.lease)
        return entries

    async def end(self, entries: Iterable[Entry], author: Author, reason: str) -> None:
        """End what has been taken out. What is still being made is left to who makes it."""
        made: list[str] = []
        making: list[str] = []
        for entry in entries:
            (making if entry.is_making else made).append(entry.lease.id)
        await self.tell_store(making, author, reason, is_told=False)
        await self.tell_store(made, author, reason)

    async def tell_store(
        self, ids: Sequence[str], author: Author, reason: str, *, is_told: bool = True
    ) -> None:
        """Rows to `revoking`, and then the backends, if `is_told`."""
        if not ids:
            return
        now = int(self._clock.now())
        try:
            moved = await self._store.begin_revoking(ids, now=now, until=now + CLAIM_S)
            await self._ending.note_all(moved, author=author, reason=reason)
            if is_told:
                # A row that was moved while its credential was being made is in `moved` no more.
                known = {lease.id for lease in moved}
                others = [await self._store.get_lease(i) for i in ids if i not in known]
                waiting = [
                    lease
                    for lease in others
                    if lease is not None and lease.state is LeaseState.REVOKING
                ]
                await self._ending.end_all([*moved, *waiting], author=author)
        except MidflightError as error:
            # Denied here all the same; the store is told again, and the backend then.
            if is_told:
                self._unsaid.update(dict.fromkeys(ids, (author, reason)))
            log.warning("leases_not_revoked", leases=len(ids), why=error.message)

    async def tell_rest(self) -> None:
        """Tell the store what it did not take before."""
        unsaid, self._unsaid = self._unsaid, {}
        for lease_id, (author, reason) in unsaid.items():
            await self.tell_store([lease_id], author, reason)

    async def settle(self) -> None:
        """Wait for everything that is under way beside."""
        while self._beside:
            await asyncio.gather(*self._beside, return_exceptions=True)

    async def stop(self) -> None:
        """Wait for nothing any more."""
        for task in list(self._beside):
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)

    def aside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Do it beside whoever asks."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            why = error.message if isinstance(error, MidflightError) else type(error).__name__
            log.warning("lease_failed", why=why)


def covered(kind: ScopeKind, scope_id: str) -> Callable[[Entry], bool]:  # noqa: PLR0911 -- one a kind of scope
    """Which entries a revocation of this scope takes."""
    match kind:
        case ScopeKind.EVERYTHING:
            return lambda _: True
        case ScopeKind.RUN:
            return lambda entry: scope_id in entry.run.lineage
        case ScopeKind.WORKLOAD:
            return lambda entry: entry.lease.workload == scope_id
        case ScopeKind.OWNER:
            return lambda entry: entry.owner == scope_id
        case ScopeKind.UPSTREAM:
            return lambda entry: scope_id in entry.credential.upstreams
        case ScopeKind.CREDENTIAL:
            return lambda entry: entry.lease.credential == scope_id
        case ScopeKind.TRUST_DOMAIN:
            return lambda entry: trust_domain(entry.lease.workload) == scope_id
        case ScopeKind.TOOL | ScopeKind.TOKEN:
            return lambda _: False


def taken_back(lease: Lease) -> Interrupted:
    """What is told to who uses a lease that may not be used any more."""
    return Interrupted(
        f"The lease of {lease.credential} was taken back or has ended.",
        revocation="",
        hint="Try again: another is made if it may be.",
    )


def not_made(credential: str) -> Interrupted:
    """What is told to who waits for a lease that may not be made any more."""
    return Interrupted(
        f"A lease of {credential} may not be made any more.",
        revocation="",
        hint="It was revoked, or its run has ended, while it was waited for.",
    )


__all__ = ["LeaseRetiring", "covered", "not_made", "taken_back"]
