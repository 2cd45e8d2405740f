"""Whatever a backend does and whenever a process dies: I3 and I10 for leases.

I3   a lease's scopes are within the credential's, within what was asked, within what its run has.
I10  after a recovery every name at the backend is gone or accounted for by a lease of the store,
     and once the backend answers again, all that is to be ended is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from lease_kit import LeasePlane, credential

from midflight.domain.decision import Deny
from midflight.domain.errors import MidflightError, Unavailable
from midflight.domain.lease import LeaseState
from midflight.domain.narrowing import Narrowing
from midflight.domain.run import RunState
from midflight.domain.traits import Effect
from midflight.services.broker import Held
from midflight.services.lease_asking import grant
from midflight.services.live_run import LiveRun
from midflight.testing import OPERATOR, WORKLOAD

T = TypeVar("T")
SCOPES = ("ro", "rw", "odd")


class Histories(RuleBasedStateMachine):
    """One store and one server, over which brokers come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.plane = LeasePlane()
        self.held: list[Held] = []
        self.faults: dict[tuple[str, str], str] = {}
        self.runs: list[LiveRun] = []
        self.do(self.plane.begin(self._source()))
        self._listen()

    def _source(self) -> Any:
        return credential(scopes=SCOPES, settings={"scope_effects": {"ro": "read", "rw": "write"}})

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        self.faults.clear()
        self.do(self.plane.settle())
        self.do(self.plane.close())
        self.loop.close()

    def _listen(self) -> None:
        self.plane.server.before = lambda verb, _: self._strike("before", verb)
        self.plane.server.after = lambda verb, _: self._strike("after", verb)

    def _strike(self, when: str, verb: str) -> None:
        if self.faults.get((when, verb)):
            raise Unavailable("The server is away.")

    # Rules

    @rule(effects=st.sampled_from([None, frozenset({Effect.READ}), frozenset({Effect.SEND})]))
    def open_run(self, effects: frozenset[Effect] | None) -> None:
        live = self.do(self.plane.open())
        if effects is not None:
            child = self.do(
                self.plane.delegation.delegate(
                    live.run.id,
                    workload=WORKLOAD,
                    text="A part.",
                    author=OPERATOR,
                    narrowed=Narrowing(effects=effects),
                )
            )
            below = self.plane.runs.live(child.id)
            assert below is not None
            self.runs.append(below)
        self.runs.append(live)

    @precondition(lambda self: self.runs)
    @rule(data=st.data(), asked=st.sampled_from([None, ["ro"], ["rw"], ["ro", "odd"]]))
    def lend(self, data: st.DataObject, asked: list[str] | None) -> None:
        live = data.draw(st.sampled_from(self.runs))
        try:
            found = self.do(self.plane.ask(live, scopes=asked))
        except MidflightError:
            return
        if isinstance(found, Deny):
            return
        assert live.state is RunState.OPEN
        given_scopes = set(found.lease.scopes)
        assert given_scopes <= set(SCOPES if asked is None else asked)
        effects = live.run.narrowed.effects
        if effects is not None:
            assert given_scopes <= {
                name
                for name, effect in (("ro", Effect.READ), ("rw", Effect.WRITE))
                if effect in effects
            }
        self.held.append(found)

    @precondition(lambda self: self.held)
    @rule()
    def use_is_done(self) -> None:
        self.plane.broker.done(self.held.pop())

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def end_run(self, data: st.DataObject) -> None:
        live = data.draw(st.sampled_from(self.runs))
        self.runs.remove(live)
        if live.state is RunState.OPEN:
            self.do(self.plane.runs.close_run(live.run.id, author=OPERATOR))
            self.do(self.plane.settle())

    @rule(
        when=st.sampled_from(["before", "after"]),
        verb=st.sampled_from(["issue", "renew", "revoke", "names", "discard"]),
    )
    def begin_to_fail(self, when: str, verb: str) -> None:
        self.faults[when, verb] = "away"

    @rule()
    def answer_again(self) -> None:
        self.faults.clear()

    @rule(seconds=st.sampled_from([1, 30, 45, 61, 601]))
    def time_passes(self, seconds: int) -> None:
        self.plane.clock.advance(seconds)  # type: ignore[attr-defined]
        self.do(self.plane.broker.sweep())

    @rule(seconds=st.sampled_from([60, 86_400]))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.plane.clock.set_back(seconds)  # type: ignore[attr-defined]

    @rule()
    def crash_and_start(self) -> None:
        before = self.plane
        after = LeasePlane(
            store=before.store,
            ledger_store=before.ledger_store,
            clock=before.clock,
            makers={"memory": before.server.maker},
        )
        after.server = before.server
        # What the dead process had under way is cut where it is.
        self.do(before.broker._retiring.stop())
        self.do(before.fabric.close())
        self.do(before.ledger.close())
        self.do(after.start(register=False))
        self.plane, self.runs, self.held = after, [], []
        if not self.faults:
            assert self.plane.server.accounts == {}

    # What always holds

    @invariant()
    def every_name_is_accounted_for(self) -> None:
        names = set(self.plane.server.accounts)
        assert names == self.do(self.plane.store.unrevoked_names(names))

    @invariant()
    def what_is_held_is_active(self) -> None:
        for entry in self.plane.broker._book:
            if entry.secret is not None:
                stored = self.do(self.plane.stored(entry.lease.id))
                assert stored.state is LeaseState.ACTIVE
                assert stored.expires_at <= stored.max_expires_at
                assert entry.run.id in {live.run.id for live in self.runs}

    @invariant()
    def once_the_backend_answers_everything_is_ended(self) -> None:
        if self.faults:
            return
        # Every try that is put off is made within this time.
        self.plane.clock.advance(601)  # type: ignore[attr-defined]
        self.do(self.plane.broker.sweep())
        self.do(self.plane.settle())
        held = {entry.lease.external for entry in self.plane.broker._book}
        assert set(self.plane.server.accounts) == held


TestHistories = Histories.TestCase
TestHistories.settings = settings(stateful_step_count=25, max_examples=settings().max_examples // 2)


@given(
    have=st.lists(st.sampled_from(SCOPES), unique=True),
    asked=st.none() | st.lists(st.sampled_from([*SCOPES, "none"]), max_size=4),
    effects=st.none() | st.frozensets(st.sampled_from(Effect)),
)
def test_a_grant_is_within_everything_that_bounds_it(
    have: list[str], asked: list[str] | None, effects: frozenset[Effect] | None
) -> None:
    source = credential(
        scopes=tuple(have), settings={"scope_effects": {"ro": "read", "rw": "write"}}
    )
    found = grant(source, asked=asked, narrowed=Narrowing(effects=effects))
    if isinstance(found, Deny):
        assert asked is not None or effects is not None
        return
    assert set(found) <= set(have)
    assert asked is None or set(found) <= set(asked)
    if effects is not None:
        can = {"ro": Effect.READ, "rw": Effect.WRITE}
        assert all(can.get(scope) in effects for scope in found)
