"""A credential for Midflight's own requests, where an upstream shows its lists to nobody without.

Off unless settings say so for an upstream (`lists_with`): no run stands behind these requests and
no policy is asked, so an operator has to have said it twice, there and when the credential was
added. The lease is written down before it is made, like any other; its run and workload are empty.
Above: `catalogue.py`. Below: backends, `lease_ending.py`, `injection.py`, which places it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeAlias

import msgspec

from midflight.domain.errors import MidflightError, UpstreamUnavailable
from midflight.domain.lease import Credential, Lease, LeaseState, Placement, external_name
from midflight.domain.revocation import ScopeKind
from midflight.domain.value import Discreet
from midflight.services.credentials import Credentials
from midflight.services.fetching import CatalogueFlight
from midflight.services.interruption import Interruption
from midflight.services.lease_ending import CLAIM_S, LeaseEnding, limited
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.lease_store import LeaseStore
from midflight.services.ports.leases import Held
from midflight.services.ports.upstream import Flight
from midflight.services.receipts import refusal

Attach: TypeAlias = Callable[[str, str, Sequence[Held]], Attachment]
"""(upstream, run, leases) → what is placed; and what it holds is taken out of what comes back."""

_PLACED = frozenset({Placement.HEADER, Placement.QUERY, Placement.DPOP, Placement.SIGV4})
_STALE = 2 / 3
"""Part of a lease's life after which the next list is fetched with another one."""


class _Lent(Discreet):
    shown = ("held",)

    held: Held
    attachment: Attachment
    fresh: float


class CatalogueLending:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        credentials: Credentials,
        store: LeaseStore,
        ending: LeaseEnding,
        interruption: Interruption,
        clock: Clock,
        holder: str,
        attach: Attach,
        gone: Callable[[Lease], None],
        names: Mapping[str, str],
    ) -> None:
        """`names` gives credentials by upstream; `gone` hears of leases that end."""
        self._credentials, self._store, self._ending = credentials, store, ending
        self._interruption, self._clock, self._holder = interruption, clock, holder
        self._attach, self._gone, self._names = attach, gone, names
        self._lent: dict[str, _Lent] = {}
        self._locks = {name: asyncio.Lock() for name in names}

    @asynccontextmanager
    async def lent(self, upstream: str) -> AsyncGenerator[tuple[Attachment, Flight]]:
        """What own requests to an upstream carry, and what is looked at before each leaves.

        Raises:
            UpstreamUnavailable: it needs a credential and none is to be had, or it is revoked.
        """
        lock = self._locks.get(upstream)
        if lock is None:
            yield NOTHING, CatalogueFlight()
            return
        async with lock:
            flight = _LentFlight(self._covering(upstream))
            flight.look()
            one = self._lent.get(upstream)
            if one is None or not await self._may_serve(one):
                await self._end(upstream)
                one = self._lent[upstream] = await self._make(upstream)
                flight.look()
        yield one.attachment, flight

    async def sweep(self) -> None:
        """End what is over, was ended elsewhere, or is revoked. Every few seconds."""
        for upstream in list(self._lent):
            async with self._locks[upstream]:
                one = self._lent.get(upstream)
                if one is not None and not await self._may_last(upstream, one):
                    await self._end(upstream)

    async def close(self) -> None:
        """End what is lent."""
        for upstream in list(self._lent):
            async with self._locks[upstream]:
                await self._end(upstream)

    # Inside

    def _covering(self, upstream: str) -> Callable[[], None]:
        def look() -> None:
            revocation = self._interruption.covering(
                [
                    (ScopeKind.EVERYTHING, ""),
                    (ScopeKind.UPSTREAM, upstream),
                    (ScopeKind.CREDENTIAL, self._names[upstream]),
                ]
            )
            if revocation is not None:
                why = refusal(revocation)
                raise UpstreamUnavailable(
                    f"{upstream} is not asked for its lists: {why.message}", hint=why.hint
                )

        return look

    async def _may_serve(self, one: _Lent) -> bool:
        return one.fresh > self._clock.monotonic() and await self._is_active(one)

    async def _may_last(self, upstream: str, one: _Lent) -> bool:
        try:
            self._covering(upstream)()
        except MidflightError:
            return False
        is_current = self._credentials.find(self._names[upstream]) == one.held.credential
        ends = one.held.lease.expires_at > self._clock.now()
        return is_current and ends and await self._is_active(one)

    async def _is_active(self, one: _Lent) -> bool:
        stored = await self._store.get_lease(one.held.lease.id)
        return stored is not None and stored.state is LeaseState.ACTIVE

    def _known(self, upstream: str) -> Credential:
        name = self._names[upstream]
        known = self._credentials.find(name)
        problem = ""
        if known is None:
            problem = "does not exist"
        elif upstream not in known.upstreams:
            problem = f"is not for {upstream}"
        elif not known.injections or any(r.placement not in _PLACED for r in known.injections):
            problem = "is not placed into requests alone"
        elif self._credentials.is_closed(name):
            problem = "is being replaced"
        if known is None or problem:
            raise UpstreamUnavailable(
                f"{upstream} is to be listed with credential {name}, which {problem}.",
                hint=f"midflight credential add {name} --upstream {upstream} --inject header:…",
            )
        return known

    async def _make(self, upstream: str) -> _Lent:
        known = self._known(upstream)
        now, began = int(self._clock.now()), self._clock.monotonic()
        lease_id = f"lease_{self._clock.token()}"
        lease = Lease(
            id=lease_id,
            credential=known.name,
            backend=known.backend,
            external=external_name(lease_id),
            run="",
            workload="",
            scopes=known.scopes,
            state=LeaseState.INTENT,
            created_at=now,
            expires_at=now + known.ttl_s,
            max_expires_at=now + known.max_ttl_s,
        )
        try:
            held = await self._issue(lease, known)
            attachment = self._attach(upstream, "", [held])
        except BaseException as error:
            await self._tell([lease.id])
            if isinstance(error, MidflightError) and not isinstance(error, UpstreamUnavailable):
                raise UpstreamUnavailable(
                    f"{upstream} is not listed, since credential {known.name} was not leased: "
                    f"{error.message}",
                    hint=error.hint,
                ) from None
            raise
        life = held.lease.expires_at - now
        return _Lent(held=held, attachment=attachment, fresh=began + life * _STALE)

    async def _issue(self, lease: Lease, known: Credential) -> Held:
        """The order of every lease: its row, the backend, its row again, then its use."""
        await self._store.create_lease(lease, holder=self._holder)
        await self._ending.record(lease, reason="lists")
        backend = self._credentials.backend(known.name)
        issued = await limited(backend.issue(lease), known.name)
        ends_at = min(lease.expires_at, issued.secret.expires_at or lease.expires_at)
        stored = await self._store.activate_lease(
            lease.id, handle=issued.handle, expires_at=ends_at
        )
        if not stored:
            raise UpstreamUnavailable(f"A lease of {known.name} was taken back as it was made.")
        active = msgspec.structs.replace(
            lease, state=LeaseState.ACTIVE, handle=issued.handle, expires_at=ends_at
        )
        await self._ending.record(active, reason="lists")
        return Held(lease=active, secret=issued.secret, credential=known)

    async def _end(self, upstream: str) -> None:
        one = self._lent.pop(upstream, None)
        if one is not None:
            self._gone(one.held.lease)
            await self._tell([one.held.lease.id])

    async def _tell(self, ids: Sequence[str]) -> None:
        now = int(self._clock.now())
        moved = await self._store.begin_revoking(ids, now=now, until=now + CLAIM_S)
        for each in moved:
            self._ending.note(each, reason="lists")
        await self._ending.end_all(moved)


class _LentFlight(CatalogueFlight):
    """A flight of the catalogue that a revocation of the credential stops at its next write."""

    def __init__(self, covering: Callable[[], None]) -> None:
        self._covering = covering

    def look(self) -> None:
        """Raise `UpstreamUnavailable` if it may not be used any more."""
        self._covering()


__all__ = ["Attach", "CatalogueLending"]
