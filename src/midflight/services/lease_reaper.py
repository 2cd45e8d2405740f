"""The reaper: ends what is due, whoever left it behind, and finds what has no row at all.

At start it takes over what another process of this store left (its secrets are lost with it), and
from then on what has expired, what could not be revoked before, and names at the backends that no
lease accounts for. It hands out nothing. Below: `lease_ending.py`. Above: `broker.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from midflight.domain.errors import MidflightError
from midflight.domain.lease import NAME_PREFIX, Lease
from midflight.domain.records import Observed
from midflight.services.credentials import Credentials
from midflight.services.lease_ending import CLAIM_S, PATIENCE_S, LeaseEnding, limited
from midflight.services.ports.clock import Clock
from midflight.services.ports.lease_store import LeaseStore
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

log = structlog.get_logger(__name__)

AT_ONCE = 500
"""Leases claimed at a time; what is claimed is tried before its claim ends."""
ORPHANS_EVERY_S = 300.0
GRACE_S = 240.0
"""How long a name must have had no lease before it is ended: longer than any call takes."""
MAX_NAMES = 10_000
"""Names of one backend that are looked at in a pass: it may list what it likes."""
KEPT_S = 30 * 86_400
"""How long a revoked lease is remembered. One that is not revoked is never forgotten."""


class LeaseReaper:
    """See the module."""

    def __init__(
        self,
        *,
        store: LeaseStore,
        credentials: Credentials,
        ending: LeaseEnding,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
        holder: str,
    ) -> None:
        """`holder` names this process; leases of any other are due."""
        self._store = store
        self._credentials = credentials
        self._ending = ending
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._holder = holder
        self._orphans: dict[tuple[str, str], float] = {}
        self._next_look = 0.0
        self._claimed: list[Callable[[Sequence[Lease]], None]] = []
        self.stuck = 0
        """How many leases somebody must look at, when it was looked last."""

    def on_claimed(self, listener: Callable[[Sequence[Lease]], None]) -> None:
        """Call `listener` with leases that the store has just said are `revoking`."""
        self._claimed.append(listener)

    async def reap(self) -> int:
        """Try to end everything that is due, once; how many are gone now."""
        gone, patience = 0, self._ending.patience()
        while True:
            now = int(self._clock.now())
            due = await self._store.claim_due(
                now=now, until=now + CLAIM_S, holder=self._holder, limit=AT_ONCE
            )
            for listener in self._claimed:
                listener(due)
            for lease in due:
                if not lease.attempts and not lease.error:  # else it is on record already
                    self._ending.note(lease, reason="due")
            gone += await self._ending.end_all(due, patience=patience)
            if len(due) < AT_ONCE:
                return gone

    async def sweep(self) -> None:
        """What is done every few seconds: reap, look for orphans now and then, set the alarm."""
        await self.reap()
        if self._clock.monotonic() >= self._next_look:
            self._next_look = self._clock.monotonic() + ORPHANS_EVERY_S
            await self.end_orphans()
            now = int(self._clock.now())
            await self._store.forget_revoked(before=now - KEPT_S, limit=AT_ONCE)
        await self.alarm()

    async def alarm(self) -> int:
        """Say how many leases are stuck, as a gauge; the number."""
        self.stuck = len(await self._store.list_leases(stuck=True))
        self._telemetry.gauge("leases_stuck", self.stuck)
        return self.stuck

    async def end_orphans(self) -> int:
        """End names at backends that have had no unrevoked lease for `GRACE_S`; how many.

        A lease is written down before its credential is made, so a name without one is left over:
        from a call that was given up and went through later, or from a store that was restored.
        """
        known = [credential.name for credential in self._credentials.list()]
        ended = await asyncio.gather(*(self._end_orphans_of(name) for name in known))
        self._orphans = {key: since for key, since in self._orphans.items() if key[0] in set(known)}
        return sum(ended)

    async def _end_orphans_of(self, credential: str) -> int:
        ended = 0
        try:
            async with asyncio.timeout(PATIENCE_S):
                for name in await self._lonely(credential):
                    backend = self._credentials.backend(credential)
                    await limited(backend.discard(name), credential)
                    self._orphans.pop((credential, name), None)
                    ended += 1
                    self._tell(credential, name)
        except (MidflightError, TimeoutError) as error:
            why = str(error) or "it takes too long"
            log.warning("orphans_not_looked_for", credential=credential, why=why)
        except Exception as error:  # noqa: BLE001 -- a bug in one backend must not hide the others'
            # No traceback: its frames hold secrets.
            kind = type(error).__name__
            log.warning("lease_backend_broke", credential=credential, error=kind)
        return ended

    async def _lonely(self, credential: str) -> Sequence[str]:
        """Names that have had no unrevoked lease for `GRACE_S`; those that have not are noted."""
        backend = self._credentials.backend(credential)
        listed = await limited(backend.names(), credential)
        names = [name for name in listed if name.startswith(NAME_PREFIX)][:MAX_NAMES]
        # In this order: what is made between the two has its lease by then.
        lonely = set(names) - await self._store.unrevoked_names(names)
        now = self._clock.monotonic()
        for key in [key for key in self._orphans if key[0] == credential]:
            if key[1] not in lonely:
                del self._orphans[key]
        since = {name: self._orphans.setdefault((credential, name), now) for name in lonely}
        return sorted(name for name, at in since.items() if now - at >= GRACE_S)

    def _tell(self, credential: str, name: str) -> None:
        self._telemetry.count("lease_orphans_ended")
        log.warning("lease_orphan_ended", credential=credential, external=name)
        self._recorder.append(
            Observed(
                at=self._clock.now(),
                what="lease.orphan",
                subject=credential,
                details={"external": name},
            )
        )


__all__ = ["GRACE_S", "KEPT_S", "ORPHANS_EVERY_S", "LeaseReaper"]
