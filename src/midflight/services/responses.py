"""Responses: what follows from a finding, by policy, in the turn of the event loop it is made in.

A finding becomes an entry that holds at once: it is a fact of the next decision, it cuts what is in
flight and may not go on, or it revokes. Entries only add up: no finding lowers what holds, which
ends by its time or by an operator's word (`response_desk.py`). What is in memory is on disk a
moment later (`response_log.py`). Above: `detection.py`, the guard. Below: `standings.py`, ports.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeAlias

import msgspec

from midflight.domain.decision import Deny, DenyCode
from midflight.domain.errors import Interrupted
from midflight.domain.finding import Finding
from midflight.domain.identity import Author, Mode
from midflight.domain.response import MAX_FINDINGS, Level, Rate, Response, highest
from midflight.domain.response_rules import (
    RATE,
    RISKS,
    STANDARD,
    Holds,
    ResponseRules,
    Rule,
    add_up,
)
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.live_run import LiveRun
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.receipts import Receipt
from midflight.services.refusing import deny
from midflight.services.response_limits import WideLimits
from midflight.services.response_log import KEPT_S, ResponseLog
from midflight.services.runs import Runs
from midflight.services.standings import is_own, key_of, keys_of, keys_over
from midflight.services.throttling import Throttles

Told: TypeAlias = Callable[[Response], None]
"""Is told of an entry that took effect. Synchronous; what must wait goes aside."""

MAX_REASON = 500
"""Characters of a finding that whoever is held gets to see."""
FORGETS_S = 3_600.0
"""How often the store is rid of what ended long ago."""
EXTENDS_S = 60.0
"""A repeated finding is written down when it makes a response last so much longer, or worse."""


_NO_RUN = "It names no run, and policy holds runs."


class Responses:
    """All responses of one plane. One event loop."""

    def __init__(
        self,
        *,
        store: Store,
        recorder: Recorder,
        interruption: Interruption,
        runs: Runs,
        inventory: Inventory,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """`start` must be called before the first action, after that of the interruption."""
        self._store = store
        self._interruption = interruption
        self._runs = runs
        self._inventory = inventory
        self._clock = clock
        self._telemetry = telemetry
        self._rules = STANDARD
        self.standings = runs.standings
        self.log = ResponseLog(store=store, recorder=recorder, clock=clock, telemetry=telemetry)
        self._limits = WideLimits()
        self._throttles = Throttles()
        self._revoked: dict[str, str] = {}
        """Which response a revocation goes with."""
        self._forgot = clock.monotonic()
        self._told: list[Told] = []
        self._beyond: list[Told] = []

    def use(self, rules: ResponseRules) -> None:
        """Answer by these rules from the next finding on. What holds is not changed by that."""
        self._rules = rules

    def on_responded(self, listener: Told) -> None:
        """Call `listener` for each entry that takes effect, lifts and operators' ones included."""
        self._told.append(listener)

    def on_beyond(self, listener: Told) -> None:
        """Call `listener` for each response that is less than policy asks for (`beyond`)."""
        self._beyond.append(listener)

    async def start(self) -> None:
        """Let everything hold again that the store has and that has not ended.

        Raises:
            StoreUnavailable: nobody knows what holds, so nothing is to be served.
        """
        entries = await self.log.entries()
        gone = {entry.lifts for entry in entries} | {entry.replaces for entry in entries}
        now = self._clock.now()
        for entry in entries:
            self._limits.count(entry)
            if entry.id not in gone and entry.is_in_force(now):
                self.standings.enter(entry)
        # A crash may have come between a response and the revocation that goes with it.
        logged = await self._store.revocations(after=0)
        known = {each.revocation.proof: each.revocation.id for each in logged}
        for entry in self.standings.all():
            if entry.level is not Level.REVOKE or entry.observed:
                continue
            if entry.proof in known:
                self._revoked[known[entry.proof]] = entry.id
            else:
                in_run = entry.scope.kind is ScopeKind.RUN and entry.run
                scope = Scope(kind=entry.scope.kind, id=entry.run if in_run else entry.scope.id)
                await self._strike(entry, scope)
        self._interruption.on_lifted(self._lifted_elsewhere)

    async def sweep(self) -> None:
        """Every few seconds: what is owed, and what has ended."""
        now = self._clock.now()
        for entry in self.standings.all():
            if not self.standings.holds(entry, now):
                self.standings.remove(entry)
        self._throttles.keep_only(self.standings.all())
        self._limits.forget(before=now - KEPT_S)
        await self.log.settle()
        if self._clock.monotonic() - self._forgot >= FORGETS_S:
            self._forgot = self._clock.monotonic()
            await self.log.forget()

    async def close(self) -> None:
        """Finish what is under way."""
        await self.log.close()

    # For detection

    def found(self, finding: Finding) -> None:
        """Do what policy says about a finding, before this returns."""
        if finding.workload:  # one about an upstream or a credential holds nobody
            self._answer(finding, self._rules.rule(finding))

    # For the guard

    def throttled(self, live: LiveRun, through: Iterable[str] = ()) -> Deny | None:
        """The refusal of an action that comes too early, or None; then it is counted."""
        if not self.standings:
            return None
        entries = self.standings.over(live, self._clock.now(), through)
        if not entries:
            return None
        refused = self._throttles.take(entries, mono=self._clock.monotonic())
        if refused is None:
            return None
        rate, wait = refused
        names = ", ".join(sorted({entry.detector or entry.author for entry in entries}))
        return deny(
            DenyCode.LIMITED,
            "throttled",
            f"What was found about this run ({names}) slows it down to {rate}.",
            f"Try again in {max(1, round(wait))} seconds.",
        )

    # For operators

    def add(self, response: Response) -> None:
        """Let an operator's entry hold. It is on record a moment later."""
        self._enter(response, before=self._level_at(response))

    def remove(self, response: Response, lifting: Response) -> None:
        """Let an entry hold no longer, whose lifting is on disk already."""
        self.standings.remove(response)
        self._tell(lifting)

    # Inside

    def _lifted_elsewhere(self, lift: Revocation) -> None:
        """Whoever lifts the revocation of a workload means the response that it goes with, too."""
        response_id = self._revoked.pop(lift.lifts or "", "")
        found = next((each for each in self.standings.all() if each.id == response_id), None)
        if found is None:
            return
        lifting = found.lifted(
            f"rsp_{self._clock.token()}",
            at=lift.at,
            reason=lift.reason,
            author=Author(name=lift.author, proof=lift.proof),
        )
        self.log.note(lifting)
        self.remove(found, lifting)

    def _answer(self, finding: Finding, rule: Rule) -> None:
        live = self._runs.of(finding.run) if finding.run else None
        workload = finding.workload if live is None else live.run.workload
        if self._inventory.current(workload) is None:
            return  # it may do nothing anyway, and must not use up what the limits allow
        now = self._clock.now()
        wide = Scope(kind=ScopeKind.WORKLOAD, id=workload)
        beyond = ""
        if rule.holds is Holds.WORKLOAD:
            made = self._made(finding, rule, wide, workload, live)
            if made is None:
                return
            if made.level is not Level.NOTE:
                beyond = self._limits.refusal(
                    workload, self._rules.limits, registered=self._inventory.size, now=now
                )
            if not beyond:
                self._take(made)
                return
        if finding.run:
            first = finding.run if live is None else live.run.lineage[-1]
            scope = Scope(kind=ScopeKind.RUN, id=first)
            made = self._made(finding, rule, scope, workload, live)
        else:
            # To hold the workload instead would be more than policy says.
            beyond = beyond or ("" if rule.respond is Level.NOTE else _NO_RUN)
            noted = msgspec.structs.replace(rule, respond=Level.NOTE, rate=None, risk=0)
            made = self._made(finding, noted, wide, workload, live, alone=True)
        if made is None:
            return
        made = msgspec.structs.replace(made, beyond=beyond) if beyond else made
        self._take(made)
        if beyond:
            self._telemetry.count("responses_beyond")
            for listener in self._beyond:
                listener(made)

    def _made(
        self,
        finding: Finding,
        rule: Rule,
        scope: Scope,
        workload: str,
        live: LiveRun | None,
        *,
        alone: bool = False,
    ) -> Response | None:
        """The entry for a finding; None if what holds says as much. `alone`: nothing adds to it."""
        now = self._clock.now()
        adding = self._rules.adding
        weight = 0 if alone else adding.weight(finding.strength)
        base, risk = rule.respond, rule.risk or RISKS[finding.strength]
        until = now + rule.for_s
        own = scope.kind is ScopeKind.RUN and live is not None and is_own(live.first().run)
        registered = self._inventory.current(workload)
        observed = registered is not None and registered.mode is Mode.OBSERVE
        held = self.standings.at(key_of(scope, workload), now)
        if not alone:
            others = [e for e in held if e.detector not in ("", finding.detector)]
            level = add_up(adding, base, weight, others, now=now)
        else:
            level = base
        before = max(
            (entry for entry in held if entry.detector == finding.detector),
            key=lambda entry: (entry.level.rank, entry.until),
            default=None,
        )
        rate = (rule.rate or RATE) if level is Level.THROTTLE else None
        risk = risk if level.rank > Level.NOTE.rank else 0
        findings = (finding.id,)
        if before is not None:
            same = (
                before.level.rank >= level.rank
                and before.risk >= risk
                and until - before.until < EXTENDS_S
                and (observed or not before.observed)  # what was only observed stopped nothing
            )
            if same:
                return None
            # What it goes on from is kept: a finding lowers nothing.
            base, level = highest((base, before.base)), highest((level, before.level))
            until, risk = max(until, before.until), max(risk, before.risk)
            rate = _slower(rate, before.rate)
            findings = (*before.findings, finding.id)[-MAX_FINDINGS:]
        return Response(
            id=f"rsp_{self._clock.token()}",
            at=now,
            scope=scope,
            workload=workload,
            owner=finding.owner or ("" if registered is None else registered.owner),
            run=finding.run,
            level=level,
            until=until,
            reason=finding.seen.strip()[:MAX_REASON] or f"Found by {finding.detector}.",
            author=f"detector:{finding.detector}",
            proof=f"finding:{finding.id}",
            detector=finding.detector,
            findings=findings,
            base=base,
            weight=weight if before is None else max(weight, before.weight),
            risk=risk,
            rate=rate,
            own=own,
            observed=observed,
            replaces="" if before is None else before.id,
        )

    def _take(self, response: Response) -> None:
        before = self._level_at(response)
        self._limits.count(response)
        self._enter(response, before=before)

    def _enter(self, response: Response, *, before: Level) -> None:
        self.standings.enter(response)
        self.log.note(response)
        self._telemetry.count("responses")
        if not response.observed:
            if response.level is Level.REVOKE:
                self.log.aside(self._strike(response, self._struck(response)))
            if response.level.rank > before.rank:
                self._cut(response)
        self._tell(response)

    def _tell(self, response: Response) -> None:
        for listener in self._told:
            listener(response)

    def _level_at(self, response: Response) -> Level:
        now, keys = self._clock.now(), keys_of(response)
        entered = (each for key in keys for each in self.standings.at(key, now))
        # What was only observed has cut nothing.
        return highest(each.level for each in entered if response.observed or not each.observed)

    # Stopping

    def _struck(self, response: Response) -> Scope:
        """What is revoked: of a family, the outermost run of that workload over what was found."""
        live = self._runs.of(response.run) if response.run else None
        if response.scope.kind is not ScopeKind.RUN or live is None:
            return response.scope
        line = (live, *live.ancestors())
        outermost = [each for each in line if each.run.workload == response.workload][-1]
        return Scope(kind=ScopeKind.RUN, id=outermost.run.id)

    def _strike(self, response: Response, scope: Scope) -> Coroutine[Any, Any, None]:
        """Deny and cut at once; what it returns makes it durable."""
        striking = self._interruption.strike(
            scope,
            reason=response.reason,
            author=Author(name=response.author, proof=response.proof),
            # A run that was revoked is over, whatever ends.
            until=None if scope.kind is ScopeKind.RUN else response.until,
        )
        return self._settle(striking, response)

    async def _settle(self, striking: Coroutine[Any, Any, Receipt], response: Response) -> None:
        # What the store does not take now is owed to it: the interruption tells it again.
        receipt = await striking
        self._revoked[receipt.revocation.id] = response.id

    def _cut(self, response: Response) -> None:
        """Stop what is in flight and would not be permitted to begin any more.

        Under a challenge that is what has not sent anything yet; a quarantine stops all but closed
        reads, and nothing goes on in a family whose run is revoked.
        """
        if response.level.rank < Level.CHALLENGE.rank:
            return
        late = response.level is not Level.CHALLENGE
        everything = response.level is Level.REVOKE
        keys = set(keys_of(response))

        def hit(flight: Flight) -> bool:
            gone = flight.sent or flight.kind is FlightKind.TASK
            if (not flight.effectful and not everything) or (gone and not late):
                return False
            if response.scope.kind is ScopeKind.WORKLOAD:
                return (ScopeKind.WORKLOAD, response.workload) in flight.scopes
            live = self._runs.of(flight.run)
            return live is not None and not keys.isdisjoint(keys_over(live))

        self._interruption.cut(
            hit,
            Interrupted(
                f"Stopped ({response.level.value}) by {response.author}: {response.reason}",
                revocation="",
                hint=f"Response {response.id} holds now; what it lets pass can be done again.",
            ),
        )


def _slower(*rates: Rate | None) -> Rate | None:
    given = [rate for rate in rates if rate is not None]
    return min(given, key=lambda rate: rate.count / rate.seconds, default=None)


__all__ = ["EXTENDS_S", "Responses", "Told"]
