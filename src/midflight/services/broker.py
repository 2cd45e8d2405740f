"""The broker: credentials for runs, that live minutes and of which no crash loses one.

The order of one lease: policy; its row and record, durable; the backend makes it; its row is
`active`; only then is its secret held, in memory alone, and handed to whoever injects it. The order
of its end: nobody gets it or may use it any more, in the same turn; its row is `revoking`; the
backend is told until it listens. What a crash leaves between two steps has a row, and the reaper
ends it at the next start. Native expiry at the backend is the floor under all of it.

It places nothing (`injection`). Below: `lease_asking.py`, `lease_book.py`, `lease_ending.py`,
`lease_reaper.py`, `credentials.py`. Above: the guard, the control API.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from midflight.domain.decision import Deny, DenyCode
from midflight.domain.errors import Conflict, MidflightError
from midflight.domain.finding import Sighting, Strength
from midflight.domain.identity import Author, Workload
from midflight.domain.lease import DECOY, Credential, Lease, LeaseState
from midflight.domain.question import Source
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.run import RunState
from midflight.domain.traits import Traits
from midflight.services.credentials import Credentials
from midflight.services.flights import FlightKind, FlightStatus
from midflight.services.lease_asking import LeaseAsking
from midflight.services.lease_book import MARGIN_S, Held, Key, LeaseBook
from midflight.services.lease_ending import CLAIM_S, MIDFLIGHT, LeaseEnding
from midflight.services.lease_making import LeaseMaking
from midflight.services.lease_reaper import LeaseReaper
from midflight.services.lease_retiring import LeaseRetiring, covered, not_made, taken_back
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.store import Store
from midflight.services.refusing import deny
from midflight.services.telling import Tell

log = structlog.get_logger(__name__)

START_S = 20.0
"""How long a start waits for backends that have leases to end; the rest is tried again later."""
CLOSE_S = 10.0

AT_THE_GUARD = Source(point="action", proof="")


class Broker:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        store: Store,
        credentials: Credentials,
        asking: LeaseAsking,
        ending: LeaseEnding,
        reaper: LeaseReaper,
        clock: Clock,
        holder: str,
    ) -> None:
        """`holder` names this process among those that have used the store."""
        self._store = store
        self.credentials = credentials
        self._asking = asking
        self._ending = ending
        self._reaper = reaper
        self._clock = clock
        self._is_open = False
        self._book = LeaseBook()
        self._retiring = LeaseRetiring(book=self._book, store=store, ending=ending, clock=clock)
        self._making = LeaseMaking(
            book=self._book,
            store=store,
            credentials=credentials,
            ending=ending,
            retiring=self._retiring,
            clock=clock,
            holder=holder,
        )

        reaper.on_claimed(self._claimed)
        self._tell: Tell | None = None

    def tell(self, tell: Tell) -> None:
        """Say through this that a decoy was asked for."""
        self._tell = tell

    def _claimed(self, leases: Sequence[Lease]) -> None:
        """The store has them in `revoking`, whatever this process's clock says."""
        held = [self._book.get(lease.id) for lease in leases]
        self._retiring.drop([entry for entry in held if entry is not None])

    async def start(self) -> None:
        """Know the credentials, and end what others left behind before anything is served.

        Raises:
            StoreUnavailable: it cannot be known what there is to end.
        """
        await self.credentials.start()
        try:
            async with asyncio.timeout(START_S):
                await self._reaper.reap()
        except TimeoutError:
            log.warning("leases_left_at_start", why="backends are slow; tried again later")
        await self._reaper.alarm()
        self._is_open = True

    async def close(self) -> None:
        """End all leases of this process: their secrets are lost with it."""
        self._is_open = False
        with contextlib.suppress(TimeoutError, MidflightError):
            async with asyncio.timeout(CLOSE_S):
                held = self._retiring.deny(lambda _: True)
                await self._retiring.end(held, MIDFLIGHT, "Midflight stops")
                await self._retiring.settle()
        await self._retiring.stop()
        await self.credentials.close()

    def _nothing(self, live: LiveRun, credential: Credential, upstream: str) -> Deny:
        """Of a decoy nothing is lent, and who asks is found; nor of anything after the end."""
        if credential.backend != DECOY:
            return deny(DenyCode.OVERLOADED, "stopping", "Midflight is stopping.", "Try again.")
        if self._tell is not None:
            self._tell(
                "canary",
                Sighting(
                    strength=Strength.STRONG,
                    usual="nobody has a reason to lease it",
                    seen=f"the planted credential {credential.name} was asked for",
                    after=1,
                ),
                workload=live.run.workload,
                run=live.run.id,
                upstream=upstream,
                name=credential.name,
            )
        return deny(
            DenyCode.CANARY,
            "canary",
            f"Credential {credential.name} lends nothing.",
            "Whoever planted it wants to know how the run came by it.",
        )

    # For the guard

    def on_gone(self, listener: Callable[[Lease], None]) -> None:
        """Call `listener` in the turn in which a lease may no longer be used."""
        self._retiring.on_gone(listener)

    def on_replaced(self, listener: Callable[[Lease, Held], None]) -> None:
        """Call `listener` with the old lease and the new one that is handed out from now on."""
        self._making.on_replaced(listener)

    def credentials_for(self, upstream: str) -> Sequence[Credential]:
        """The credentials that are for an upstream, by name. From memory."""
        return self.credentials.bound_to(upstream)

    async def lease_for(
        self,
        live: LiveRun,
        workload: Workload,
        credential: str,
        *,
        upstream: str,
        traits: Traits,
        scopes: Sequence[str] | None = None,
        source: Source = AT_THE_GUARD,
    ) -> Held | Deny:
        """A lease for one use in a run, or why there is none.

        Policy is asked every time; the lease itself is shared by all uses of the same scopes in the
        run, renewed after two thirds of its life, and replaced when it cannot be renewed.

        Args:
            live: the run, in which an action has been permitted.
            workload: that of the run.
            credential: name of its source.
            upstream: where the action goes.
            traits: of the action.
            scopes: how wide; None for as wide as the credential and the run allow.
            source: where it is asked for.

        Raises:
            Unavailable: the backend, the store or the ledger does not answer.
            Misconfigured: the backend will never work as it is configured.
            Interrupted: it was revoked while it was being made.
        """
        known = self.credentials.find(credential)
        if known is None:
            return deny(
                DenyCode.UNKNOWN_TARGET,
                "no-credential",
                f"There is no credential {credential}.",
                "midflight credential list shows them.",
            )
        if known.backend == DECOY or not self._is_open:
            return self._nothing(live, known, upstream)
        revocability = self.credentials.backend(credential).revocability
        granted = self._asking.ask(
            live,
            workload,
            known,
            revocability=revocability,
            upstream=upstream,
            traits=traits,
            scopes=scopes,
            source=source,
        )
        if isinstance(granted, Deny):
            return granted
        may = partial(self._may, live, workload, known, upstream)
        key: Key = (live.run.id, credential, granted)
        slot = self._book.slot(key)
        now = self._clock.monotonic()
        entry = slot.entry
        if entry is None or entry.ends - MARGIN_S <= now:
            if slot.task is None and not self._book.has_room(live.run.id):
                self._book.settle(key)
                return deny(
                    DenyCode.OVERLOADED,
                    "too-many-leases",
                    f"Run {live.run.id} holds as many leases as a run may.",
                    "Delegate a part of the work, or end what is not needed.",
                )
            entry = await self._making.next(slot, key, live.run, workload, known, may=may)
            again = self._asking.look(live, workload, known, upstream=upstream)
            if again is not None:
                return again
        elif entry.fresh <= now and slot.task is None:
            self._making.begin(slot, key, live.run, workload, known, may=may)
        if entry.is_gone or entry.secret is None:
            raise taken_back(entry.lease)
        entry.uses += 1
        return Held(lease=entry.lease, secret=entry.secret, credential=entry.credential)

    def _may(self, live: LiveRun, workload: Workload, known: Credential, upstream: str) -> None:
        """Raise if the lease may not be made any more. Policy has been asked."""
        gone = self._asking.look(live, workload, known, upstream=upstream)
        is_open = self._is_open and not self.credentials.is_closed(known.name)
        if gone is not None or not is_open:
            raise not_made(known.name)

    def done(self, held: Held) -> None:
        """One use is over. The last use of a lease that was replaced takes the lease with it."""
        entry = self._book.get(held.lease.id)
        if entry is None:
            return
        entry.uses -= 1
        if entry.is_replaced and entry.uses <= 0:
            self._retiring.aside(
                self._retiring.end(self._retiring.drop([entry]), MIDFLIGHT, "replaced")
            )

    def check(self, held: Held) -> None:
        """Raise `Interrupted` if the lease may no longer be used. For the turn that writes."""
        entry = self._book.get(held.lease.id)
        if entry is None or entry.is_gone or entry.ends <= self._clock.monotonic():
            raise taken_back(held.lease)

    # Ends

    def within(self, scope: Scope) -> Sequence[str]:
        """Leases that this process holds in a scope, by id. No I/O."""
        wanted = covered(scope.kind, scope.id)
        return sorted(entry.lease.id for entry in self._book.matching(wanted))

    def lent(self) -> Sequence[FlightStatus]:
        """The leases in use, as what is in flight is shown. No I/O."""
        now = self._clock.monotonic()
        return [
            FlightStatus(
                record=entry.lease.id,
                run=entry.lease.run,
                workload=entry.lease.workload,
                upstream=entry.lease.backend,
                name=entry.lease.credential,
                age_s=now - entry.began,
                bytes_out=0,
                bytes_in=0,
                kind=FlightKind.LEASE,
            )
            for entry in self._book
            if not entry.is_gone
        ]

    def revoked(self, revocation: Revocation) -> None:
        """A revocation took effect: deny in this turn, and end what it covers beside it."""
        if revocation.lifts is None:
            author = Author(name=revocation.author, proof=revocation.proof)
            hit = self._retiring.deny(covered(revocation.scope.kind, revocation.scope.id))
            if hit:
                self._retiring.aside(self._retiring.end(hit, author, revocation.reason))

    def run_ended(self, run: str, state: RunState) -> None:
        """A run is over: so are its leases, and those of all that descend from it."""
        hit = self._retiring.deny(covered(ScopeKind.RUN, run))
        if hit:
            self._retiring.aside(self._retiring.end(hit, MIDFLIGHT, f"run {state.value}"))

    async def revoke(
        self,
        *,
        author: Author,
        lease: str | None = None,
        run: str | None = None,
        credential: str | None = None,
        reason: str = "",
    ) -> Sequence[Lease]:
        """End leases, whether this process holds them or not; how they are afterwards.

        Exactly one of `lease`, `run` and `credential` is given.

        Raises:
            NotFound: there is no such credential.
            Conflict: none or several were given, or there is no such lease.
        """
        if [lease, run, credential].count(None) != 2:
            raise Conflict("Name a lease, a run or a credential, and one of them only.")
        if credential is not None:
            self.credentials.get(credential)
        held = self._retiring.deny(
            lambda entry: (
                entry.lease.id == lease
                or entry.lease.credential == credential
                or run in entry.run.lineage
            )
        )
        ids = {entry.lease.id for entry in held}
        await self._retiring.end(held, author, reason)
        unrevoked = [s for s in LeaseState if s is not LeaseState.REVOKED]
        if lease is not None:
            found = await self._store.get_lease(lease)
            if found is None:
                raise Conflict(f"There is no lease {lease}.", hint="midflight lease list")
            stored = [found]
        else:
            stored = await self._store.list_leases(
                run=run, credential=credential, states=unrevoked, limit=1_000_000
            )
        left = [each for each in stored if each.id not in ids and each.state in unrevoked]
        now = int(self._clock.now())
        moved = await self._store.begin_revoking(
            [each.id for each in left], now=now, until=now + CLAIM_S
        )
        await self._ending.note_all(moved, author=author, reason=reason)
        tried = {each.id: each for each in left} | {each.id: each for each in moved}
        await self._ending.end_all(
            (each for each in tried.values() if each.state is LeaseState.REVOKING), author=author
        )
        ids |= tried.keys() if lease is None else {lease}
        after = [await self._store.get_lease(each) for each in sorted(ids)]
        return [each for each in after if each is not None]

    async def sweep(self) -> None:
        """What is done every few seconds. Raises what the store raises, after all was tried."""
        now = self._clock.monotonic()
        over = self._retiring.deny(lambda entry: not entry.is_making and entry.ends <= now)
        await self._retiring.tell_rest()
        await self._retiring.end(over, MIDFLIGHT, "expired")
        await self._reaper.sweep()

    async def settle(self) -> None:
        """Wait for everything that is under way beside."""
        await self._retiring.settle()

    async def find(self, lease: str) -> Lease | None:
        """A lease by id, from the store."""
        return await self._store.get_lease(lease)

    async def list(
        self,
        *,
        run: str | None = None,
        credential: str | None = None,
        state: LeaseState | None = None,
    ) -> Sequence[Lease]:
        """Leases, newest first; all that are not revoked if no state is asked for."""
        states = [known for known in LeaseState if known is not LeaseState.REVOKED]
        return await self._store.list_leases(
            run=run, credential=credential, states=states if state is None else [state]
        )

    @property
    def stuck(self) -> int:
        """How many leases somebody must look at, when it was looked last."""
        return self._reaper.stuck

    @property
    def held(self) -> int:
        """How many leases this process holds."""
        return len(self._book)


__all__ = ["AT_THE_GUARD", "Broker", "Held"]
