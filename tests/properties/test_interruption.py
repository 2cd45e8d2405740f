"""The revocation set over a store that fails, of one process after another.

Whatever fails when: a scope whose revocation was acknowledged lets nothing take off, in this
process and in the next; what is lifted passes again and nothing else does; a process that starts
has the set that the log gives.
"""

from __future__ import annotations

import asyncio
from typing import Any

from faulty_store import FaultyStore
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.domain.errors import Interrupted, MidflightError
from midflight.domain.identity import Author
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import Flight
from midflight.services.interruption import Interruption
from midflight.services.ledger import Ledger
from midflight.testing import FakeClock

OPERATOR = Author(name="olivia", proof="test")
SCOPES = [
    Scope(kind=ScopeKind.EVERYTHING),
    *(Scope(kind=ScopeKind.WORKLOAD, id=name) for name in ("a", "b")),
    *(Scope(kind=ScopeKind.TOOL, id=name) for name in ("up/x", "up/y")),
]


class Interruptions(RuleBasedStateMachine):
    """Revoke, lift, fail, restart, in any order; the model is a set of ids by scope."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FakeClock()
        self.store = FaultyStore()
        self.ledger_store = MemoryLedgerStore()
        # Acknowledged as durable and not lifted; in force in this process, whatever the store says.
        self.durable: dict[str, Scope] = {}
        self.perhaps_lifted = set[str]()
        self.here: dict[str, Scope] = {}
        self.flying: list[Flight] = []
        self.do(self.store.open())
        self.begin()

    def teardown(self) -> None:
        self.store.open_to_writes.set()
        self.do(self.ledger.close())
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.do(asyncio.sleep(0))
        self.loop.close()

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def begin(self) -> None:
        self.fabric = LocalFabric()
        self.ledger = Ledger(self.ledger_store, signer=None, clock=self.clock)
        self.do(self.ledger.start("test", "fixed"))
        self.interruption = Interruption(
            store=self.store,
            fabric=self.fabric,
            recorder=self.ledger,
            clock=self.clock,
            patience_s=self.patience_s(),
        )
        self.do(self.interruption.start())
        self.flying = []

    def patience_s(self) -> float:
        # Only a store that is silent may be given up: any other takes as long as the machine does.
        return 30.0 if self.store.open_to_writes.is_set() else 0.001

    def flight(self, workload: str, tool: str) -> Flight:
        return Flight(
            record="r",
            run="run",
            workload=workload,
            upstream="up",
            name=tool,
            scopes=frozenset(
                [
                    (ScopeKind.EVERYTHING, ""),
                    (ScopeKind.WORKLOAD, workload),
                    (ScopeKind.TOOL, f"up/{tool}"),
                ]
            ),
            began=0.0,
        )

    @rule(scope=st.sampled_from(SCOPES), bounded=st.booleans())
    def revoke(self, scope: Scope, *, bounded: bool) -> None:
        until = self.clock.now() + 100 if bounded else None
        receipt = self.do(
            self.interruption.revoke(scope, reason="odd", author=OPERATOR, until=until)
        )
        if until is None:
            self.here[receipt.revocation.id] = scope
            if receipt.durable:
                self.durable[receipt.revocation.id] = scope

    @precondition(lambda self: self.here)
    @rule(data=st.data())
    def lift(self, data: st.DataObject) -> None:
        chosen = data.draw(st.sampled_from(sorted(self.here)))
        try:
            self.do(self.interruption.lift(chosen, reason="over", author=OPERATOR))
        except MidflightError:
            if self.store.loses_answers or not self.store.open_to_writes.is_set():
                # It may be lifted; nobody was told that it is, and nobody that it is not.
                self.perhaps_lifted.add(chosen)
                self.here.pop(chosen)
                self.durable.pop(chosen, None)
            return
        self.here.pop(chosen)
        self.durable.pop(chosen, None)

    @rule(away=st.booleans(), loses=st.booleans(), silent=st.booleans())
    def store_fails(self, *, away: bool, loses: bool, silent: bool) -> None:
        self.store.is_away = away
        self.store.loses_answers = loses
        (self.store.open_to_writes.clear if silent else self.store.open_to_writes.set)()
        self.interruption.patience_s = self.patience_s()

    @precondition(lambda self: self.store.open_to_writes.is_set() and not self.store.is_away)
    @rule()
    def follow(self) -> None:
        self.do(self.interruption.follow())
        if not self.store.loses_answers:
            # What was owed has been taken.
            self.durable |= self.here

    @precondition(lambda self: self.store.open_to_writes.is_set() and not self.store.is_away)
    @rule()
    def killed_and_started(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.do(asyncio.sleep(0))
        self.do(self.ledger.close())
        before = {r.id for r in self.interruption.listing()}
        self.begin()
        log = {s.revocation.id for s in self.do(self.store.revocations())}
        after = {r.id for r in self.interruption.listing()}
        # Of what was in force, that which the store had and has not been asked to lift.
        assert before & log <= after | self.perhaps_lifted
        self.here = {id_: scope for id_, scope in self.here.items() if id_ in after}
        assert self.durable.keys() <= after

    @rule(seconds=st.sampled_from([1, 60, 200]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @rule(workload=st.sampled_from("ab"), tool=st.sampled_from("xy"))
    def take_off(self, workload: str, tool: str) -> None:
        flight = self.flight(workload, tool)
        covering = self.interruption.covering(flight.scopes)
        try:
            self.interruption.take_off(flight)
        except Interrupted:
            assert covering is not None
        else:
            assert covering is None
            self.flying.append(flight)

    @invariant()
    def nothing_revoked_takes_off_or_goes_on(self) -> None:
        for scope in self.here.values():
            key = (scope.kind, scope.id)
            assert self.interruption.covering([key]) is not None
            for flight in self.flying:
                assert key not in flight.scopes or flight.interrupted is not None

    @invariant()
    def what_is_listed_is_what_covers(self) -> None:
        listed = {(r.scope.kind, r.scope.id) for r in self.interruption.listing()}
        for scope in SCOPES:
            covering = self.interruption.covering([(scope.kind, scope.id)])
            assert (covering is not None) == ((scope.kind, scope.id) in listed)


TestInterruptions = Interruptions.TestCase
TestInterruptions.settings = settings(max_examples=120, stateful_step_count=25)
