"""Levels of responses: findings only raise them, time and people end them, restarts do neither."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from family_kit import OTHER, THIRD, Family, family
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from midflight.domain.finding import Finding, Strength
from midflight.domain.response import MAX_RISK, Level, Rate, Response, Standing, highest, stand
from midflight.domain.response_rules import (
    STANDARD,
    Adding,
    Holds,
    Limits,
    ResponseRules,
    Rule,
    add_up,
)
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.response_limits import is_limited
from midflight.services.run_bounds import Bounds
from midflight.services.throttling import Throttles
from midflight.testing import OPERATOR, WORKLOAD, FixedEngine

T = TypeVar("T")

LONG = 10_000_000
BOUNDS = Bounds(ttl_s=LONG, idle_timeout_s=LONG)

DETECTORS = ("probing", "burst", "drift", "canary")
LEVELS = [level for level in Level if level is not Level.NONE]
RULES = st.lists(
    st.builds(
        Rule,
        detector=st.sampled_from(("", *DETECTORS)),
        strength=st.sampled_from(list(Strength)),
        # Revocations are tried apart: they end the runs that this looks at.
        respond=st.sampled_from([level for level in LEVELS if level is not Level.REVOKE]),
        holds=st.sampled_from(list(Holds)),
        for_s=st.sampled_from((60, 600, 3_600)),
    ),
    max_size=4,
).map(
    lambda rules: ResponseRules(
        rules=tuple({(each.detector, each.strength): each for each in rules}.values()),
        adding=Adding(at_most=Level.QUARANTINE),
        limits=Limits(workloads=2, percent=100, within_s=3_600),
    )
)


class Responding(RuleBasedStateMachine):
    """Findings, time, operators and restarts, in any order."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.Runner()
        self.do(self._begin)

    async def _begin(self) -> None:
        self.plane = await family(engine=FixedEngine(), bounds=BOUNDS)
        self.plane.responses.use(STANDARD)
        parent = await self.plane.open(ttl_s=LONG)
        child = await self.plane.delegate(parent, workload=WORKLOAD)
        other = await self.plane.delegate(parent, workload=OTHER)
        self.runs = {
            parent: WORKLOAD,
            child: WORKLOAD,
            other: OTHER,
            await self.plane.open(ttl_s=LONG): WORKLOAD,
            await self.plane.open(workload=THIRD, ttl_s=LONG): THIRD,
        }

    def do(self, work: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await work()

        return self.loop.run(run())

    def standings(self) -> dict[str, Standing]:
        now = self.plane.clock.now()
        found: dict[str, Standing] = {}
        for run in self.runs:
            live = self.plane.runs.of(run)
            if live is not None:
                found[run] = live.standing(now)
        return found

    @rule(rules=RULES)
    def change_the_rules(self, rules: ResponseRules) -> None:
        before = self.standings()
        self.plane.responses.use(rules)
        assert self.standings() == before

    @rule(
        detector=st.sampled_from(DETECTORS),
        strength=st.sampled_from([Strength.WEAK, Strength.FAIR]),
        which=st.integers(0, 4),
        named=st.booleans(),
    )
    def find(self, detector: str, strength: Strength, which: int, named: bool) -> None:
        run, workload = list(self.runs.items())[which]
        before = self.standings()

        async def found() -> None:
            self.plane.detection.found(
                Finding(
                    id=f"fnd_{self.plane.clock.token()}",
                    at=self.plane.clock.now(),
                    detector=detector,
                    strength=strength,
                    workload=workload,
                    run=run if named else "",
                    seen="something",
                )
            )

        self.do(found)
        after = self.standings()
        for each, standing in after.items():
            assert standing.level.rank >= before[each].level.rank
            assert standing.risk >= before[each].risk
            assert set(standing.findings) >= set(before[each].findings)

    @rule(seconds=st.sampled_from((1, 59, 61, 599, 601, 1_800)))
    def wait(self, seconds: int) -> None:
        before = self.standings()
        self.plane.clock.advance(seconds)  # type: ignore[attr-defined]
        for each, standing in self.standings().items():
            assert standing.level.rank <= before[each].level.rank

    @rule(which=st.integers(0, 20))
    def lift(self, which: int) -> None:
        held = self.plane.response_desk.listing()
        if not held:
            return
        gone = held[which % len(held)].response.id

        async def lift() -> None:
            await self.plane.response_desk.lift(gone, reason="looked", author=OPERATOR)

        self.do(lift)
        assert all(gone not in standing.responses for standing in self.standings().values())

    @rule(level=st.sampled_from(LEVELS[1:-1]), which=st.integers(0, 4), wide=st.booleans())
    def set_by_hand(self, level: Level, which: int, wide: bool) -> None:
        run, workload = list(self.runs.items())[which]
        scope = Scope(
            kind=ScopeKind.WORKLOAD if wide else ScopeKind.RUN, id=workload if wide else run
        )

        async def add() -> None:
            await self.plane.response_desk.add(
                scope, level, reason="looks odd", author=OPERATOR, for_s=600
            )

        self.do(add)
        live = self.plane.runs.of(run)
        assert live is not None
        assert live.standing(self.plane.clock.now()).level.rank >= level.rank

    @rule()
    def sweep(self) -> None:
        before = self.standings()
        self.do(self.plane.responses.sweep)
        assert self.standings() == before

    @rule()
    def crash(self) -> None:
        before = self.standings()

        async def restart() -> Family:
            await self.plane.responses.log.settle()
            after = await self.plane.again(bounds=BOUNDS)
            for run in self.runs:
                await after.runs.opened(run)
            return after

        self.plane = self.do(restart)
        assert self.standings() == before

    @invariant()
    def few_workloads_are_held_without_a_person(self) -> None:
        if not hasattr(self, "plane"):
            return
        now = self.plane.clock.now()
        found = self.do(self.plane.store.list_responses)
        recent = {each.workload for each in found if is_limited(each) and each.at > now - 3_600}
        # Two by the rules of this machine; five, of three workloads but one, by the usual ones.
        assert len(recent) <= 2

    @invariant()
    def what_is_seen_is_what_is_in_force(self) -> None:
        if not hasattr(self, "plane"):
            return
        now = self.plane.clock.now()
        listed = {each.response.id: each.response for each in self.plane.response_desk.listing()}
        for standing in self.standings().values():
            entries = [listed[each] for each in standing.responses]
            assert standing.level is highest(each.level for each in entries)
            assert all(each.until > now for each in entries)
            assert 0 <= standing.risk <= MAX_RISK

    def teardown(self) -> None:
        if hasattr(self, "plane"):
            self.do(self.plane.close)
            self.loop.close()


Responding.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
TestResponding = Responding.TestCase


ENTRIES = st.builds(
    Response,
    id=st.uuids().map(str),
    at=st.integers(0, 1_000).map(float),
    scope=st.just(Scope(kind=ScopeKind.RUN, id="run_a")),
    workload=st.just("w"),
    level=st.sampled_from(LEVELS),
    until=st.just(1e9),
    reason=st.just("r"),
    author=st.just("a"),
    proof=st.just("p"),
    detector=st.sampled_from(DETECTORS),
    base=st.sampled_from(LEVELS),
    weight=st.integers(0, 2),
    risk=st.integers(0, 100),
    rate=st.none() | st.builds(Rate, count=st.integers(1, 60), seconds=st.sampled_from((1, 60))),
)


@given(st.lists(ENTRIES, max_size=8), ENTRIES)
def test_one_more_entry_makes_a_standing_no_better(entries: list[Response], more: Response) -> None:
    before, after = stand(entries), stand([*entries, more])
    assert not before.is_worse_than(after.level.value, after.risk, after.findings)
    assert stand(reversed([*entries, more])) == after


@given(
    st.sampled_from(LEVELS),
    st.integers(0, 2),
    st.lists(ENTRIES, max_size=8),
    st.sampled_from(LEVELS),
    st.integers(0, 1_200).map(float),
)
def test_adding_up_lowers_nothing_and_leads_no_higher_than_it_may(
    base: Level, weight: int, others: list[Response], at_most: Level, now: float
) -> None:
    adding = Adding(at_most=at_most)
    level = add_up(adding, base, weight, others, now=now)
    assert level.rank >= base.rank
    assert level.rank <= max(at_most.rank, base.rank)
    # With what each has for itself, which holds besides: one more makes it no lower.
    fewer = add_up(adding, base, weight, others[1:], now=now)
    bases = [other.base for other in others]
    assert highest([level, *bases]).rank >= highest([fewer, *bases[1:]]).rank
    if not others:
        assert level is base


@given(
    st.builds(Rate, count=st.integers(1, 120), seconds=st.sampled_from((1, 60, 3_600))),
    st.lists(st.floats(0, 600), min_size=1, max_size=60),
)
def test_a_throttle_lets_no_more_through_than_its_rate(rate: Rate, pauses: list[float]) -> None:
    throttles = Throttles()
    entry = Response(
        id="r",
        at=0,
        scope=Scope(kind=ScopeKind.RUN, id="run_a"),
        workload="w",
        level=Level.THROTTLE,
        until=1e9,
        reason="r",
        author="a",
        proof="p",
        rate=rate,
    )
    mono, passed = 1_000.0, list[float]()
    for pause in pauses:
        mono += pause
        refused = throttles.take([entry], mono=mono)
        if refused is None:
            passed.append(mono)
        else:
            assert refused[1] > 0
            # What it says is true: then it may.
            assert throttles.take([entry], mono=mono + refused[1] + 1e-6) is None
            return
    for n, began in enumerate(passed):
        for m in range(n, len(passed)):
            allowed = rate.burst + (passed[m] - began) * rate.count / rate.seconds
            assert m - n + 1 <= allowed + 1e-6
