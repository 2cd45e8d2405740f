"""A snapshot and the ledger behind it give what no restart at all would have given.

Two sets of monitors see the same events; one is taken down and restored at any point, from whatever
was stored by then, and the other lives for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from monitor_kit import TRAITS

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.identity import Workload
from midflight.domain.labels import BOTTOM
from midflight.domain.question import RunFacts, Source, Target
from midflight.domain.records import Facts, Intent, Outcome, RunEnded, Terminal
from midflight.domain.run import Run, RunState
from midflight.domain.tool import PinState
from midflight.services.ledger import Ledger
from midflight.services.monitor_files import parse_monitors
from midflight.services.monitor_history import MonitorHistory
from midflight.services.monitors import Monitors, Reservation
from midflight.services.policy_files import PolicySource
from midflight.testing import OPERATOR, FakeClock, call

DECLARED = """
[[monitor]]
name = "acts"
kind = "count"
per = "workload"
[[monitor]]
name = "rate"
kind = "rate"
per = "run"
window = "10s"
remember = 4
[[monitor]]
name = "paid"
kind = "sum"
per = "owner"
window = "20s"
effects = ["pay"]
role = "amount"
places = 2
[[monitor]]
name = "payees"
kind = "distinct"
per = "upstream"
window = "10s"
role = "recipient"
remember = 2
[[monitor]]
name = "tries"
kind = "count"
per = "run"
counts = "attempted"
effects = ["pay"]
[[monitor]]
name = "walk"
kind = "sequence"
per = "workload"
within = "10s"
[[monitor.step]]
effects = ["read"]
[[monitor.step]]
effects = ["grant"]
[[monitor.step]]
effects = ["pay"]
"""
MONITORS, _ = parse_monitors([PolicySource(name="m.toml", text=DECLARED)], taken=())
RUNS = ("run_a", "run_b")

steps = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["permit", "permit", "refuse", "fly", "hold"]),
            st.tuples(
                st.sampled_from([*TRAITS]),
                st.sampled_from(RUNS),
                st.sampled_from(["ann", "bob", "eve"]),
                st.sampled_from([1, 2.5, "x"]),
            ),
        ),
        st.tuples(st.just("land"), st.none()),
        st.tuples(st.just("pass"), st.integers(0, 7)),
        st.tuples(st.sampled_from(["snapshot", "crash", "stop"]), st.none()),
        st.tuples(st.just("end"), st.sampled_from(RUNS)),
        st.tuples(st.just("reset"), st.sampled_from([m.name for m in MONITORS])),
    ),
    max_size=30,
)


class Life:
    """The monitors that are restored, beside those that live for ever."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore()
        self.disk = MemoryLedgerStore()
        self.wrap = AesKeyWrap.fresh()
        self.for_ever = Monitors(self.clock)
        self.for_ever.declare(MONITORS)
        self.pairs: list[tuple[Reservation, Reservation]] = []
        self.held: list[tuple[Reservation, Reservation]] = []

    async def begin(self) -> None:
        await self.store.open()
        for name in RUNS:
            await self.store.create_run(run_of(name), labels=BOTTOM, labels_source="")
        await self.start()
        self.for_ever.resume(key=self.monitors._key, at=0)

    async def start(self) -> None:
        self.ledger = Ledger(self.disk, signer=None, clock=self.clock)
        await self.ledger.start("test", "v")
        self.monitors = Monitors(self.clock)
        self.monitors.declare(MONITORS)
        self.history = MonitorHistory(
            self.monitors,
            store=self.store,
            ledger=self.ledger,
            wrap=self.wrap,
            clock=self.clock,
        )
        await self.history.start()
        assert self.history.problem == ""

    def reserve(self, what: Any) -> tuple[Reservation, Reservation]:
        tool, run, to, amount = what
        action = call(tool, to=to, amount=amount)
        target = Target(
            upstream="one",
            name=tool,
            pin=None,
            pin_state=PinState.PINNED,
            traits=TRAITS[tool],
        )
        one, other = (
            monitors.reserve(action, target, WORKLOAD, run_of(run))
            for monitors in (self.monitors, self.for_ever)
        )
        assert one.values == other.values
        return one, other

    def permit(self, pair: tuple[Reservation, Reservation]) -> None:
        one, other = pair
        other.advanced()
        self.ledger.append(intent(one))
        one.confirm()
        other.confirm()

    def refuse(self, pair: tuple[Reservation, Reservation]) -> None:
        one, other = pair
        other.attempted()
        self.ledger.append(
            Outcome(at=self.clock.now(), state=Terminal.DENIED, advanced=one.attempted())
        )
        one.land()
        other.land()

    async def step(self, what: str, how: Any) -> None:
        if what in ("permit", "fly", "refuse", "hold") and how[1] not in self.asked():
            return  # nobody acts in a run that has ended
        match what:
            case "permit" | "fly":
                pair = self.reserve(how)
                self.permit(pair)
                if what == "fly":
                    self.pairs.append(pair)
                else:
                    _land([pair])
            case "refuse":
                self.refuse(self.reserve(how))
            case "hold":
                self.held.append(self.reserve(how))
            case "land":
                _land(self.pairs[:1])
                del self.pairs[:1]
                for pair in self.held[:1]:
                    self.refuse(pair)
                del self.held[:1]
            case "pass":
                self.clock.advance(how)
            case "snapshot":
                self.clock.advance(60)
                await self.history.keep()
            case "stop" | "crash":
                if what == "stop":
                    await self.history.close()
                # Who is judged is refused, who flies has ended; memory is gone.
                for _, other in self.held:
                    other._holds = [h for h in other._holds if _forgets(h)]
                    other.land()
                _land(self.pairs)
                self.held, self.pairs = [], []
                await self.ledger.close()
                await self.start()
            case "end":
                if await self.store.end_run(how, RunState.CLOSED):
                    self.ledger.append(
                        RunEnded(at=0, run=how, state="closed", author="a", proof="p")
                    )
                    self.monitors.run_ended(how)
                    self.for_ever.run_ended(how)
            case "reset":
                await self.history.reset(how, OPERATOR)
                for kept in self.for_ever.kept():
                    if kept.name == how:
                        kept.cells = {}

    def check(self) -> None:
        mine, theirs = (
            {
                m.name: {s.scope: s.value for s in m.scopes if s.scope in self.asked()}
                for m in status
            }
            for status in (self.monitors.status(), self.for_ever.status())
        )
        assert mine == theirs

    def asked(self) -> set[str]:
        """Scopes that somebody can ask for: a run that has ended is none."""
        alive = {n for n, s in self.store._runs.items() if s.state is RunState.OPEN}
        return {WORKLOAD.id, WORKLOAD.owner, "one"} | alive


def _forgets(hold: Any) -> bool:
    """An attempt that was still undecided at a crash has left no record, and was not made."""
    kept, cell, held, _ = hold
    if kept.monitor.counts == "attempted":
        cell.refuse(held)
        return False
    return True


def _land(pairs: list[tuple[Reservation, Reservation]]) -> None:
    for pair in pairs:
        for reservation in pair:
            reservation.land()


WORKLOAD = Workload(id="spiffe://test/one", owner="ann", escalation="o", review_by=4_000_000_000)


def run_of(name: str) -> Run:
    return Run(
        id=name,
        workload=WORKLOAD.id,
        intent=None,
        opened_by="a",
        opened_at=1,
        expires_at=4_000_000_000,
        idle_timeout=900,
        max_steps=9,
        salt="salt",
    )


def intent(reservation: Reservation) -> Intent:
    facts = Facts(
        kind="call_tool",
        method="tools/call",
        upstream="one",
        name="pay",
        pin=None,
        pin_state=PinState.PINNED,
        traits=TRAITS["pay"],
        workload=WORKLOAD,
        run=RunFacts(id="run_a", has_intent=True, implicit=False, age_s=1, steps=1),
        source=Source(),
    )
    return Intent(
        at=1.0,
        digest="d",
        facts=facts,
        arguments=None,
        decided="v",
        reasons=(),
        advanced=reservation.advanced(),
    )


@given(steps)
def test_no_restart_changes_what_monitors_say(history: list[Any]) -> None:
    async def live() -> None:
        life = Life()
        await life.begin()
        for what, how in history:
            await life.step(what, how)
            life.check()
        await life.step("crash", None)
        life.check()
        await life.ledger.close()

    asyncio.run(live())
