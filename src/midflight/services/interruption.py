"""Interruption: the revocation set, what is in flight, and cutting it.

Order of one revocation (interruption.md): denied in this process's memory and cut at once; appended
durably; told to every replica; acknowledged. If the append fails the scope stays denied here and
the receipt says so. Everything here runs on one event loop, so "at once" needs no lock: whoever
looks after `revoke` was entered sees it.

It is not the guard (which asks it) and not the adapters (which make a flight cuttable).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterable, Sequence
from typing import Any

from midflight.domain.errors import Conflict, Interrupted, MidflightError, NotFound
from midflight.domain.identity import Author
from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.records import Impact, Revoked
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.value import Value
from midflight.services.flights import Flight, FlightStatus, Touch
from midflight.services.ports.clock import Clock
from midflight.services.ports.fabric import Fabric
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store

TOPIC = "revocations"
SNAPSHOT = "revocations-recorded-v1"


class Receipt(Value):
    """What a revocation or a lift did.

    Attributes:
        revocation: the entry itself.
        impact: what had already happened in the scope, and what was cut.
        durable: whether the entry is on disk and every replica has it.
        note: what to know if it is not.
        record: record id of the impact.
    """

    revocation: Revocation
    impact: Impact
    durable: bool
    note: str = ""
    record: str = ""


class Reached(Value):
    """What else a scope reaches, as those know it who hold it; see `Impact`."""

    runs: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    labels: Labels = BOTTOM


Survey = Callable[[Scope, Collection[str]], Reached]
"""What a scope reaches, and the runs that are known to have acted in it. No I/O: it is asked
between the denial and the cuts."""


class Interruption:
    """The revocation set and the registry of flights of one process."""

    def __init__(self, *, store: Store, fabric: Fabric, recorder: Recorder, clock: Clock) -> None:
        """`start` must be called before the first action."""
        self._store = store
        self._fabric = fabric
        self._recorder = recorder
        self.clock = clock
        self._applied = 0
        self._active: dict[tuple[ScopeKind, str], dict[str, Revocation]] = {}
        self._flights: set[Flight] = set()
        self._streams = 0
        self._touches: dict[str, Touch] = {}
        self._listeners: list[Callable[[Revocation], None]] = []
        self._lift_listeners: list[Callable[[Revocation], None]] = []
        self._survey: Survey = lambda _scope, acted: Reached(runs=tuple(sorted(acted)))

    async def start(self) -> None:
        """Apply every revocation in the store, then follow the log.

        What others appended while nobody ran (`midflight panic`) is recorded now.
        """
        kept = await self._store.get_snapshot(SNAPSHOT)
        for stored in await self._store.revocations(after=0):
            self._applied = stored.position
            impact = self._apply(stored.revocation)
            if kept is not None and stored.position > int(kept):
                self._note(stored.revocation, impact)
        await self._keep_position()
        await self._fabric.subscribe(TOPIC, self._told)

    async def follow(self) -> None:
        """Apply and record what others have appended to the log since.

        Asked for every second, so that whoever can write to the store stops everything though this
        process answers nobody. `StoreUnavailable` if the log cannot be read.
        """
        began = self._applied
        for stored in await self._store.revocations(after=began):
            self._applied = stored.position
            known = self._knows(stored.revocation)
            impact = self._apply(stored.revocation)
            if not known:
                self._note(stored.revocation, impact)
        if self._applied != began:
            await self._keep_position()

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Call `listener` for each revocation that takes effect, after the flights are cut."""
        self._listeners.append(listener)

    def on_lifted(self, listener: Callable[[Revocation], None]) -> None:
        """Call `listener` for each entry that ends a revocation which was in force here."""
        self._lift_listeners.append(listener)

    def survey_with(self, survey: Survey) -> None:
        """Ask this what else a scope reaches, for impact records."""
        self._survey = survey

    # Looking

    def preview(self, scope: Scope) -> Impact:
        """What revoking a scope would cut now, and what it would find done. Changes nothing.

        Raises:
            Conflict: it is no scope.
        """
        _check(scope)
        return self._impact("", scope, self._hit(scope), self._reached(scope))

    def covering(self, scopes: Iterable[tuple[ScopeKind, str]]) -> Revocation | None:
        """The revocation that covers any of the scopes now, or None. O(1) each."""
        if not self._active:
            return None
        now = self.clock.now()
        for scope in scopes:
            for revocation in self._active.get(scope, {}).values():
                if revocation.until is None or revocation.until > now:
                    return revocation
        return None

    def revocation_of(self, run: str) -> Revocation | None:
        """The revocation of this very run that is in force, or None."""
        return self.covering(((ScopeKind.RUN, run),))

    def listing(self) -> Sequence[Revocation]:
        """Revocations in force, oldest first."""
        now = self.clock.now()
        found = [
            revocation
            for entries in self._active.values()
            for revocation in entries.values()
            if revocation.until is None or revocation.until > now
        ]
        return sorted(found, key=lambda revocation: revocation.at)

    @property
    def in_flight(self) -> int:
        """How many actions are in flight; streams that carry none are not counted."""
        return len(self._flights) - self._streams

    def flights(self) -> Sequence[FlightStatus]:
        """What is in flight, oldest first."""
        now = self.clock.monotonic()
        return sorted(
            (flight.status(now) for flight in self._flights), key=lambda status: -status.age_s
        )

    # The registry of flights

    def take_off(self, flight: Flight) -> None:
        """Enter a flight.

        Raises:
            Interrupted: its scope is revoked; it has not entered.
        """
        revocation = self.covering(flight.scopes)
        if revocation is not None:
            raise refusal(revocation)
        self._flights.add(flight)
        self._streams += not flight.record

    def leave(self, flight: Flight) -> None:
        """Leave the registry without a trace: for streams that carry no action."""
        if flight in self._flights:
            self._flights.discard(flight)
            self._streams -= not flight.record

    def land(self, flight: Flight) -> None:
        """Leave the registry, and remember what the run has done, for impact records."""
        self._flights.discard(flight)
        touch = self._touches.get(flight.run)
        if touch is None:
            if len(self._touches) >= 100_000:  # bound: the oldest run is forgotten first
                del self._touches[next(iter(self._touches))]
            touch = self._touches[flight.run] = Touch(flight)
        touch.add(flight)

    def run_ended(self, run: str, why: Interrupted) -> None:
        """The run is over: cut what of it is still in flight, and forget what it did."""
        for flight in [flight for flight in self._flights if flight.run == run]:
            flight.cut(why)
        self._touches.pop(run, None)

    def cut(self, hit: Callable[[Flight], bool], why: Interrupted) -> tuple[str, ...]:
        """Cut what is in flight and `hit`, and revoke nothing; record ids of what was cut.

        For what ends by itself: streams that carry no action stay.
        """
        found = [flight for flight in self._flights if flight.record and hit(flight)]
        for flight in found:
            flight.cut(why)
        return tuple(flight.record for flight in found)

    # Verbs

    async def revoke(
        self, scope: Scope, *, reason: str, author: Author, until: float | None = None
    ) -> Receipt:
        """Revoke a scope: deny what is new, cut what is running, say what had left.

        Args:
            scope: what to revoke; `everything` takes no id, all others need one.
            reason: why, in words; it is shown to the caller that is cut.
            author: who says so.
            until: Unix seconds when it ends by itself.
        """
        return await self.strike(scope, reason=reason, author=author, until=until)

    def strike(
        self, scope: Scope, *, reason: str, author: Author, until: float | None = None
    ) -> Coroutine[Any, Any, Receipt]:
        """As `revoke`, denied and cut when this returns; what it returns makes it durable.

        For whoever finds something in the middle of an action, which must not leave any more.

        Raises:
            Conflict: it is no scope, or there is no reason.
        """
        _check(scope)
        if not reason.strip():
            raise Conflict("A revocation needs a reason.", hint="Add --reason.")
        revocation = Revocation(
            id=f"rev_{self.clock.token()}",
            scope=scope,
            reason=reason.strip(),
            author=author.name,
            proof=author.proof,
            at=self.clock.now(),
            until=until,
        )
        return self._settle(revocation, self._apply(revocation))

    async def keep(self, revocation: Revocation) -> None:
        """Append what is in force here and the store did not take. `StoreUnavailable` again."""
        await self._append(revocation)

    async def lift(self, revocation_id: str, *, reason: str, author: Author) -> Receipt:
        """End a revocation by a new entry; the old one stays in the log."""
        found = next((r for r in self.listing() if r.id == revocation_id), None)
        if found is None:
            raise NotFound(
                f"No revocation {revocation_id} is in force.",
                hint="midflight revocation list shows those that are.",
            )
        if found.scope.kind is ScopeKind.RUN:
            raise Conflict(
                "A run that was revoked has ended; its revocation is not lifted.",
                hint="Open a new run.",
            )
        lifting = Revocation(
            id=f"rev_{self.clock.token()}",
            scope=found.scope,
            reason=reason.strip() or "lifted",
            author=author.name,
            proof=author.proof,
            at=self.clock.now(),
            lifts=found.id,
        )
        # The other way round than revoking: durable first, since a lift that is lost must deny.
        await self._append(lifting)
        return await self._settle(lifting, self._apply(lifting), appended=True)

    # Inside

    async def _append(self, revocation: Revocation) -> None:
        position = await self._store.append_revocation(revocation)
        await self._fabric.publish(TOPIC, position)

    async def _settle(
        self, revocation: Revocation, impact: Impact, *, appended: bool = False
    ) -> Receipt:
        durable, note = True, ""
        if not appended:
            try:
                await self._append(revocation)
            except MidflightError as error:
                durable = False
                note = (
                    f"In force in this process only: {error.message} "
                    "It ends with the process unless you repeat it."
                )
        for record in (_record(revocation), impact):
            try:
                ticket = self._recorder.append(record)
                await ticket.durable()
            except MidflightError as error:
                note = f"{note} The ledger did not take it: {error.message}".strip()
                return Receipt(revocation=revocation, impact=impact, durable=durable, note=note)
        return Receipt(
            revocation=revocation, impact=impact, durable=durable, note=note, record=ticket.id
        )

    async def _told(self, _position: int) -> None:
        await self.follow()

    async def _keep_position(self) -> None:
        await self._store.put_snapshot(SNAPSHOT, b"%d" % self._applied)

    def _knows(self, revocation: Revocation) -> bool:
        """Whether an entry has been applied here; what it lifts is in force no longer, then."""
        entries = self._active.get((revocation.scope.kind, revocation.scope.id), {})
        if revocation.lifts is not None:
            return revocation.lifts not in entries
        return revocation.id in entries

    def _note(self, revocation: Revocation, impact: Impact) -> None:
        """Record an entry of somebody else, and what it cut here. It is in force either way."""
        for record in (_record(revocation), impact):
            with contextlib.suppress(MidflightError):
                self._recorder.append(record)

    def _apply(self, revocation: Revocation) -> Impact:
        """Put an entry into force. Idempotent: the log may bring again what was applied here."""
        began = self.clock.monotonic()
        key = (revocation.scope.kind, revocation.scope.id)
        entries = self._active.setdefault(key, {})
        if revocation.lifts is not None:
            gone = entries.pop(revocation.lifts, None)
            if not entries:
                del self._active[key]
            for listener in self._lift_listeners if gone is not None else ():
                listener(revocation)
            return self._impact(revocation.id, revocation.scope, [], Reached(), since=began)
        if revocation.id in entries:
            return self._impact(revocation.id, revocation.scope, [], Reached(), since=began)
        entries[revocation.id] = revocation
        hit = self._hit(revocation.scope)
        for flight in hit:
            flight.cut(refusal(revocation))
        # Before the listeners, who end what it reaches.
        reached = self._reached(revocation.scope)
        for listener in self._listeners:
            listener(revocation)
        return self._impact(revocation.id, revocation.scope, hit, reached, since=began)

    def _hit(self, scope: Scope) -> list[Flight]:
        key = (scope.kind, scope.id)
        return [flight for flight in self._flights if key in flight.scopes]

    def _reached(self, scope: Scope) -> Reached:
        key = (scope.kind, scope.id)
        acted = {run for run, touch in self._touches.items() if key in touch.scopes}
        return self._survey(scope, acted | {flight.run for flight in self._hit(scope)})

    def _impact(
        self,
        revocation: str,
        scope: Scope,
        hit: list[Flight],
        reached: Reached,
        *,
        since: float | None = None,
    ) -> Impact:
        key = (scope.kind, scope.id)
        bytes_out: dict[str, int] = {}
        completed = 0
        for flight in hit:
            bytes_out[flight.upstream] = bytes_out.get(flight.upstream, 0) + flight.sent
        for touch in self._touches.values():
            if key in touch.scopes:
                for upstream, done, sent in touch.within(*key):
                    completed += done
                    bytes_out[upstream] = bytes_out.get(upstream, 0) + sent
        return Impact(
            at=self.clock.now(),
            revocation=revocation,
            scope=scope,
            cut=tuple(flight.record for flight in hit if flight.record),
            completed=completed,
            bytes_out=bytes_out,
            unknown=tuple(flight.record for flight in hit if flight.sent),
            took_us=0 if since is None else int((self.clock.monotonic() - since) * 1e6),
            runs=reached.runs,
            leases=reached.leases,
            labels=reached.labels.described() if reached.runs else "",
        )


def _check(scope: Scope) -> None:
    if (scope.kind is ScopeKind.EVERYTHING) == bool(scope.id):
        raise Conflict(
            f"A revocation of {scope.kind.value} "
            + ("takes no id." if scope.id else "needs an id."),
            hint="For example: midflight revoke run RUN_ID --reason R",
        )


def refusal(revocation: Revocation) -> Interrupted:
    """What a caller is told whose scope is revoked."""
    return Interrupted(
        f"Revoked ({revocation.scope.kind.value}) by {revocation.author}: {revocation.reason}",
        revocation=revocation.id,
        hint="Nothing of this scope passes until the revocation is lifted or ends.",
    )


def _record(revocation: Revocation) -> Revoked:
    return Revoked(
        at=revocation.at,
        revocation=revocation.id,
        scope=revocation.scope,
        reason=revocation.reason,
        author=revocation.author,
        proof=revocation.proof,
        until=revocation.until,
        lifts=revocation.lifts,
    )


__all__ = ["TOPIC", "Interruption", "Reached", "Receipt", "Survey", "refusal"]
