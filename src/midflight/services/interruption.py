"""Interruption: the revocation set, what is in flight, and cutting it.

Order of one revocation (interruption.md): denied in this process's memory in the turn in which it
is asked for, with everything of it that is in flight; cut (`cutting.py`) while it is appended
durably and told to every replica; acknowledged. If the append fails the scope stays denied here,
the receipt says so, and the store is told again until it listens. Everything here runs on one event
loop, so "at once" needs no lock: whoever looks after `strike` was entered sees it.

It is not the guard (which asks it) and not the adapters (which make a flight cuttable). Below:
`revocation_set.py`, `cutting.py`, `tallies.py`, `revocation_log.py`, `receipts.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any, TypeVar

from midflight.domain.errors import (
    Conflict,
    Interrupted,
    MidflightError,
    NotFound,
    StoreUnavailable,
)
from midflight.domain.identity import Author
from midflight.domain.records import Impact
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.cutting import Batch, Cutting
from midflight.services.flight_registry import FlightRegistry
from midflight.services.flights import Flight, FlightStatus
from midflight.services.impact import Reached, Struck, Survey, recorded
from midflight.services.ports.clock import Clock
from midflight.services.ports.fabric import Fabric
from midflight.services.ports.recorder import Recorder, Ticket
from midflight.services.ports.store import Store
from midflight.services.receipts import Receipt, check, here_only, refusal
from midflight.services.revocation_log import TOPIC, RevocationLog
from midflight.services.revocation_set import RevocationSet
from midflight.services.tallies import Tallies

T = TypeVar("T")


class Interruption:
    """The revocation set and the registry of flights of one process."""

    def __init__(
        self,
        *,
        store: Store,
        fabric: Fabric,
        recorder: Recorder,
        clock: Clock,
        patience_s: float = 30.0,
    ) -> None:
        """`start` must be called before the first action.

        A store that is silent for `patience_s` has not taken a revocation as far as its receipt
        goes: whoever revokes is told that it is in force here alone, and need not wait.
        """
        self._recorder = recorder
        self.clock = clock
        self._in_force = RevocationSet(clock)
        self._log = RevocationLog(store=store, fabric=fabric, recorder=recorder, clock=clock)
        self.patience_s = patience_s
        """As said; another value holds for what comes after."""
        self._tallies = Tallies()
        self._cutting = Cutting(clock.monotonic)
        self._flights = FlightRegistry(cutting=self._cutting, tallies=self._tallies, clock=clock)
        self._listeners: list[Callable[[Revocation], None]] = []
        self._watchers: list[Callable[[Revocation], None]] = []
        self._survey: Survey = lambda _scope, acted: Reached(runs=tuple(sorted(acted)))
        self._beside: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Apply every revocation in the store, then follow the log.

        What others appended while nobody ran (`midflight panic`) is recorded now.
        """
        await self._log.start(self._applied)
        await self._log.subscribe(self._told)

    async def follow(self) -> None:
        """Apply and record what others have appended to the log since, and cut what it covers.

        Asked for every second, so that whoever can write to the store stops everything though this
        process answers nobody. The store is told what it has not taken, too. `StoreUnavailable` if
        the log cannot be read.
        """
        await self._log.repay()
        await self._log.follow(self._applied)

    def on_revoked(self, listener: Callable[[Revocation], None]) -> None:
        """Call `listener` for each revocation that takes effect, once all of it is denied."""
        self._listeners.append(listener)

    def watch(self, watcher: Callable[[Revocation], None]) -> None:
        """Call `watcher` for each entry that takes effect, lifts included, in the same turn."""
        self._watchers.append(watcher)

    def on_lifted(self, listener: Callable[[Revocation], None]) -> None:
        """Call `listener` for each entry that ends a revocation which was in force here."""
        self.watch(lambda entry: None if entry.lifts is None else listener(entry))

    def survey_with(self, survey: Survey) -> None:
        """Ask this what else a scope reaches, for impact records."""
        self._survey = survey

    def show_lent(self, lent: Callable[[], Sequence[FlightStatus]]) -> None:
        """Ask this for the leases in use, which are shown with what is in flight."""
        self._flights.show_lent(lent)

    # Looking

    def preview(self, scope: Scope) -> Impact:
        """What revoking a scope would cut now, and what it would find done. Changes nothing.

        Raises:
            Conflict: it is no scope.
        """
        check(scope)
        aboard = self._flights.within(scope)
        struck = Struck(
            Revocation(id="", scope=scope, reason="", author="", proof="", at=self.clock.now()),
            began=self.clock.monotonic(),
            batch=Batch(0, self.clock.monotonic),
            aboard=aboard,
            fresh=[flight for flight in aboard if flight.interrupted is None],
            done=self._tallies.within(scope),
            reached=self._survey(scope, self._acted(scope, aboard)),
        )
        return struck.impact(self.clock.now())

    def covering(self, scopes: Iterable[tuple[ScopeKind, str]]) -> Revocation | None:
        """The revocation that covers any of the scopes now, or None. O(1) each."""
        return self._in_force.covering(scopes)

    def revocation_of(self, run: str) -> Revocation | None:
        """The revocation of this very run that is in force, or None."""
        return self.covering(((ScopeKind.RUN, run),))

    def listing(self) -> Sequence[Revocation]:
        """Revocations in force, oldest first."""
        return self._in_force.listing()

    @property
    def in_flight(self) -> int:
        """How many actions are in flight; what carries none of its own is not counted."""
        return self._flights.in_flight

    def flights(self) -> Sequence[FlightStatus]:
        """All that goes on, oldest first: actions, streams, tasks at upstreams, leases in use."""
        return self._flights.statuses()

    # The registry of flights

    def take_off(self, flight: Flight) -> None:
        """Enter a flight.

        Raises:
            Interrupted: its scope is revoked; it has not entered.
        """
        revocation = self.covering(flight.scopes)
        if revocation is not None:
            raise refusal(revocation)
        self._flights.enter(flight)

    def leave(self, flight: Flight) -> None:
        """Leave the registry without a trace: for what carries no action."""
        self._flights.leave(flight)

    def land(self, flight: Flight) -> None:
        """Leave the registry, and remember what was done, for impact records."""
        self._flights.land(flight)

    def afterwards(self, work: Callable[[], object]) -> None:
        """Do what is left about a flight that was cut, when all others are cut too."""
        self._cutting.afterwards(work)

    def close(self) -> None:
        """Do what is left about all that was cut."""
        self._cutting.finish()

    def run_ended(self, run: str, why: Interrupted) -> None:
        """The run is over: cut what of it is still in flight."""
        self._flights.run_ended(run, why)

    def cut(self, hit: Callable[[Flight], bool], why: Interrupted) -> tuple[str, ...]:
        """Cut what is in flight and `hit`, and revoke nothing; record ids of what was cut.

        For what ends by itself: what carries no action stays, but for tasks at upstreams.
        """
        return self._flights.cut(hit, why)

    # Verbs

    async def revoke(
        self,
        scope: Scope,
        *,
        reason: str,
        author: Author,
        until: float | None = None,
        known_as: str = "",
    ) -> Receipt:
        """Revoke a scope: deny what is new, cut what is running, say what had left.

        Args:
            scope: what to revoke; `everything` takes no id, all others need one.
            reason: why, in words; it is shown to the caller that is cut.
            author: who says so.
            until: Unix seconds when it ends by itself.
            known_as: its id, for whoever may say the same again: one of this id that is there is
                made durable, and no other is added; one that was lifted stays lifted.
        """
        return await self.strike(
            scope, reason=reason, author=author, until=until, known_as=known_as
        )

    def strike(
        self,
        scope: Scope,
        *,
        reason: str,
        author: Author,
        until: float | None = None,
        known_as: str = "",
    ) -> Coroutine[Any, Any, Receipt]:
        """As `revoke`, denied when this returns; what it returns makes it durable.

        For whoever finds something in the middle of an action, which must not leave any more.

        Raises:
            Conflict: it is no scope, or there is no reason.
        """
        check(scope)
        if not reason.strip():
            raise Conflict("A revocation needs a reason.", hint="Add --reason.")
        held = self._in_force.held(scope, known_as) if known_as else None
        revocation = held or Revocation(
            id=known_as or f"rev_{self.clock.token()}",
            scope=scope,
            reason=reason.strip(),
            author=author.name,
            proof=author.proof,
            at=self.clock.now(),
            until=until,
        )
        return self._make_durable(self._apply(revocation))

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
        return await self._to_the_end(self._lift(lifting))

    # Inside

    async def _make_durable(self, struck: Struck) -> Receipt:
        return await self._to_the_end(self._settle(struck))

    async def _to_the_end(self, work: Coroutine[Any, Any, Receipt]) -> Receipt:
        """Do it whole, though whoever asked for it goes away meanwhile."""
        return await asyncio.shield(self._aside(work))

    def _aside(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        task.add_done_callback(_looked_at)
        return task

    async def _lift(self, lifting: Revocation) -> Receipt:
        # The other way round than revoking: durable first, since a lift that is lost must deny.
        appending = self._aside(self._log.append_lift(lifting))
        await asyncio.wait({appending}, timeout=self.patience_s)
        if not appending.done():
            raise StoreUnavailable(
                f"The store is silent for {self.patience_s:g} s, so nothing is lifted yet.",
                hint="It is as soon as the store takes it; midflight revocation list shows that.",
            )
        appending.result()
        return await self._keep(self._apply(lifting), durable=True, note="")

    async def _settle(self, struck: Struck) -> Receipt:
        durable, note = True, ""
        on_record = not struck.is_new and self._log.is_on_record(struck.revocation)
        appending = self._aside(self._log.owe(struck.revocation))
        await asyncio.wait({appending}, timeout=self.patience_s)
        if not appending.done():
            durable, note = False, here_only(f"The store is silent for {self.patience_s:g} s.")
        elif (error := appending.exception()) is not None:
            if not isinstance(error, MidflightError):
                raise error
            durable, note = False, here_only(error.message)
        await struck.batch.done()
        return await self._keep(struck, durable=durable, note=note, on_record=on_record)

    async def _keep(
        self, struck: Struck, *, durable: bool, note: str, on_record: bool = False
    ) -> Receipt:
        """Record an entry and its impact, unless they are, and say what came of it."""
        impact = struck.impact(self.clock.now())
        revocation, record = struck.revocation, ""
        try:
            for each in () if on_record else (recorded(revocation), impact):
                ticket = self._recorder.append(each)
                await ticket.durable()
                record = ticket.id
            await self._log.settled(revocation)
        except MidflightError as error:
            note, record = f"{note} The ledger did not take it: {error.message}".strip(), ""
        return Receipt(
            revocation=revocation, impact=impact, durable=durable, note=note, record=record
        )

    async def _told(self, _position: int) -> None:
        await self._log.follow(self._applied)

    def _applied(
        self, revocation: Revocation, *, note: bool
    ) -> Coroutine[Any, Any, Sequence[Ticket]]:
        """An entry of the log takes effect now; what it returns waits for the cuts, and records."""
        return self._noted(self._apply(revocation), note=note)

    async def _noted(self, struck: Struck, *, note: bool) -> Sequence[Ticket]:
        await struck.batch.done()
        if not (note and struck.is_new):
            return ()
        both = (recorded(struck.revocation), struck.impact(self.clock.now()))
        return [self._recorder.append(each) for each in both]

    def _apply(self, revocation: Revocation) -> Struck:
        """Put an entry into force. Idempotent: the log may bring again what was applied here."""
        began = self.clock.monotonic()
        is_new = self._in_force.put(revocation)
        if is_new:
            for watcher in self._watchers:
                watcher(revocation)
        if not is_new or revocation.lifts is not None:
            batch = Batch(0, self.clock.monotonic)
            return Struck(revocation, began=began, batch=batch, is_new=is_new)
        aboard = self._flights.within(revocation.scope)
        fresh = [flight for flight in aboard if flight.interrupted is None]
        why = refusal(revocation)
        for flight in fresh:
            flight.deny(why)
        batch = self._cutting.sever([flight for flight in aboard if not flight.severed])
        done = self._tallies.within(revocation.scope)
        reached = self._survey(revocation.scope, self._acted(revocation.scope, aboard))
        for listener in self._listeners:
            listener(revocation)
        return Struck(
            revocation,
            began=began,
            batch=batch,
            aboard=aboard,
            fresh=fresh,
            done=done,
            reached=reached,
        )

    def _acted(self, scope: Scope, aboard: Sequence[Flight]) -> set[str]:
        """Runs that have done something in a scope, or are about to."""
        return self._tallies.acted(scope) | {flight.run for flight in aboard if flight.run}


def _looked_at(task: asyncio.Task[Any]) -> None:
    """A failure after the receipt is told to nobody: the log tries again, and must not warn."""
    if not task.cancelled():
        task.exception()


__all__ = ["TOPIC", "Interruption", "Reached", "Survey"]
