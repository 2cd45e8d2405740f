"""Getting more out of a tool than `@limit` lets: at once, for long, again, by another name."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Deny, DenyCode, Obligation, Permit, Reason
from midflight.domain.obligation import Rate
from midflight.domain.records import Outcome, Terminal
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services import limits
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Reply
from midflight.testing import (
    OPERATOR,
    WORKLOAD,
    FakeClock,
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

TRAITS = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)


def limited(*rates: str) -> FixedEngine:
    owed = tuple(Obligation(name="limit", value=rate) for rate in rates)
    return FixedEngine(
        lambda _: Permit(version="v", reasons=(Reason(policy="p"),), obligations=owed)
    )


async def plane_with(
    *rates: str, clock: FakeClock | None = None, store: Any = None, ledger_store: Any = None
) -> tuple[MemoryPlane, FakeClock]:
    clock = clock or FakeClock()
    tools = [{"name": name, "inputSchema": {"type": "object"}} for name in ("look", "other")]
    plane = MemoryPlane(
        upstream=ScriptedUpstream("one", tools),
        engine=limited(*rates),
        reach=Reach.CLOSED,
        clock=clock,
        store=store,
        ledger_store=ledger_store,
    )
    await plane.start(register=store is None)
    if store is None:
        for name in ("look", "other"):
            await plane.pin(name, TRAITS)
    return plane, clock


async def opened(plane: MemoryPlane) -> str:
    workload = plane.inventory.current(WORKLOAD)
    assert workload is not None
    run = await plane.runs.open_run(workload=workload, intent="Look.", author=OPERATOR)
    return run.id


async def act(plane: MemoryPlane, run: str, tool: str = "look") -> Performed | Refused:
    return await plane.guard.perform(call(tool), caller(run), sink=ListSink())


def passed(done: list[Performed | Refused]) -> int:
    return sum(isinstance(each, Performed) for each in done)


def assert_limited(done: Performed | Refused, when: str) -> None:
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Deny)
    assert done.decision.code is DenyCode.LIMITED
    assert [reason.policy for reason in done.decision.reasons] == ["midflight:limit"]
    assert when in done.decision.help


async def test_a_hundred_calls_at_once_get_what_the_limit_lets() -> None:
    plane, _ = await plane_with("3/m")
    run = await opened(plane)
    done = await asyncio.gather(*(act(plane, run) for _ in range(100)))
    assert passed(list(done)) == 3
    assert len(plane.upstream.received) == 3
    refused = [r for r in await plane.records() if isinstance(r, Outcome) and r.code]
    assert {(r.state, r.code) for r in refused} == {(Terminal.DENIED, DenyCode.LIMITED)}
    assert len(refused) == 97


async def test_several_runs_of_one_workload_share_its_limit() -> None:
    plane, _ = await plane_with("3/m")
    runs = [await opened(plane) for _ in range(10)]
    done = await asyncio.gather(*(act(plane, run) for run in runs))
    assert passed(list(done)) == 3


async def test_the_window_slides_and_does_not_jump() -> None:
    plane, clock = await plane_with("2/m")
    run = await opened(plane)
    assert passed([await act(plane, run)]) == 1
    clock.advance(50)
    assert passed([await act(plane, run)]) == 1
    clock.advance(9)
    assert_limited(await act(plane, run), "in 1 second")
    clock.advance(1)
    assert passed([await act(plane, run)]) == 1
    # A window that began anew at each full minute would let two pass here.
    assert_limited(await act(plane, run), "in 50 seconds")


async def test_a_call_that_takes_longer_than_the_window_counts_as_long_as_it_flies() -> None:
    plane, clock = await plane_with("1/s")
    run = await opened(plane)
    gate = asyncio.Event()

    async def wait(action: Any, flight: Any, sink: Any) -> Reply:
        await gate.wait()
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = wait
    long = asyncio.ensure_future(act(plane, run))
    async with asyncio.timeout(20):
        while not plane.upstream.received:
            await asyncio.sleep(0)
    clock.advance(600)
    assert_limited(await act(plane, run), "in flight has ended")
    gate.set()
    assert isinstance(await long, Performed)
    assert passed([await act(plane, run)]) == 1


async def test_a_call_that_is_given_up_has_been_used() -> None:
    plane, _ = await plane_with("1/m")
    run = await opened(plane)

    async def forever(action: Any, flight: Any, sink: Any) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    plane.upstream.scripts["look"] = forever
    acting = asyncio.ensure_future(act(plane, run))
    async with asyncio.timeout(20):
        while not plane.upstream.received:
            await asyncio.sleep(0)
    acting.cancel()
    await asyncio.gather(acting, return_exceptions=True)
    assert_limited(await act(plane, run), "in 60 seconds")


async def test_of_two_limits_both_are_kept() -> None:
    plane, clock = await plane_with("1/s", "3/m")
    run = await opened(plane)
    for _ in range(3):
        assert passed(list(await asyncio.gather(*(act(plane, run) for _ in range(5))))) == 1
        clock.advance(1)
    assert_limited(await act(plane, run), "in 57 seconds")


async def test_another_tool_has_a_limit_of_its_own_and_another_address_has_not() -> None:
    plane, _ = await plane_with("1/m")
    run = await opened(plane)
    assert passed([await act(plane, run), await act(plane, run, "other")]) == 2
    read = [
        Action(
            kind=ActionKind.READ_RESOURCE, upstream="one", name=f"file:///{n}",
            method="resources/read",
        )
        for n in range(5)
    ]  # fmt: skip
    done = [await plane.guard.perform(a, caller(run), sink=ListSink()) for a in read]
    assert passed(done) == 1


async def test_starting_anew_gives_no_new_window() -> None:
    store, ledger, clock = MemoryStore(), MemoryLedgerStore(), FakeClock()
    plane, _ = await plane_with("2/h", clock=clock, ledger_store=ledger)
    run = await opened(plane)
    assert passed([await act(plane, run)]) == 1
    clock.advance(600)
    assert passed([await act(plane, run)]) == 1
    store = plane.store
    await plane.close()
    again, _ = await plane_with("2/h", clock=clock, store=store, ledger_store=ledger)
    clock.advance(60)
    assert_limited(await act(again, run), "in 2940 seconds")
    clock.advance(2_940)
    run = await opened(again)
    assert passed([await act(again, run)]) == 1


async def test_what_cannot_be_read_back_counts_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_READ", 4)
    ledger, clock = MemoryLedgerStore(), FakeClock()
    plane, _ = await plane_with("100/m", clock=clock, ledger_store=ledger)
    run = await opened(plane)
    for _ in range(10):
        await act(plane, run)
    await plane.close()
    again, _ = await plane_with("100/m", clock=clock, store=plane.store, ledger_store=ledger)
    assert_limited(await act(again, run), "in 60 seconds")
    clock.advance(60)
    assert passed([await act(again, run)]) == 1


def test_a_day_of_calls_is_not_gone_through_for_each_new_one() -> None:
    clock = FakeClock()
    limit, key = limits.Limits(clock), ("w", "one", "look")
    rates = [Rate(count=100, seconds=1)]
    for number in range(200_000):
        if number % 100 == 0:
            clock.advance(1)
        use = limit.take(key, rates)
        assert isinstance(use, limits.Use)
        use.flying = False
    began = time.perf_counter()
    clock.advance(1)
    for _ in range(100):
        assert isinstance(limit.take(key, rates), limits.Use)
    assert time.perf_counter() - began < 0.5  # 20 ms each, at the cost of everybody


async def test_a_clock_that_was_set_back_gives_no_new_window() -> None:
    plane, clock = await plane_with("2/m")
    run = await opened(plane)
    assert passed([await act(plane, run)]) == 1
    clock.set_back(3_000)
    assert passed([await act(plane, run)]) == 1
    await plane.ledger.flush()
    clock.advance(61)
    again = limits.Limits(clock)
    await again.start(plane.ledger)
    # Nobody knows how long ago the first was: it counts as now, whatever stands behind it.
    key = limits.key_of(WORKLOAD, "one", "look", "call_tool")
    assert not isinstance(again.take(key, [Rate(count=1, seconds=60)]), limits.Use)
