"""An agent that makes many calls at once, leaves, fails or splits, to get past a limit.

The guard, Cedar and the monitors are real; every call that is permitted reaches the upstream, so
what the upstream received is what slipped through.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from monitor_kit import limit, perform, plane_with, values

from midflight.domain.decision import Deny, DenyCode
from midflight.domain.errors import UpstreamBroken
from midflight.domain.records import Intent, Outcome, Terminal
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Reply
from midflight.testing import OPERATOR, WORKLOAD, FakeClock, MemoryPlane, call

pytestmark = pytest.mark.anyio

PAYMENTS = """
[[monitor]]
name = "payments"
kind = "rate"
per = "run"
window = "1m"
effects = ["pay"]
"""
PAID = """
[[monitor]]
name = "paid"
kind = "sum"
per = "workload"
window = "1d"
effects = ["pay"]
role = "amount"
places = 2
"""
PAYEES = """
[[monitor]]
name = "payees"
kind = "distinct"
per = "run"
effects = ["pay"]
role = "recipient"
"""
PROBING = """
[[monitor]]
name = "attempts"
kind = "rate"
per = "workload"
window = "1m"
counts = "attempted"
effects = ["pay"]
"""
WALK = """
[[monitor]]
name = "walk"
kind = "sequence"
per = "run"
within = "10m"
[[monitor.step]]
effects = ["read"]
[[monitor.step]]
effects = ["grant"]
[[monitor.step]]
effects = ["pay"]
"""


class Gate:
    """An upstream's tool that answers when the test says so."""

    def __init__(self, plane: MemoryPlane, *tools: str) -> None:
        self.opened = asyncio.Event()
        for tool in tools:
            plane.upstream.scripts[tool] = self.wait

    async def wait(self, action: Any, flight: Any, sink: Any) -> Reply:
        await self.opened.wait()
        return Reply(result={"content": []})


def paid(plane: MemoryPlane) -> list[dict[str, Any]]:
    return [a.arguments for a in plane.upstream.received if a.name == "pay"]


async def settled(plane: MemoryPlane, *tasks: asyncio.Future[Any], arrived: int) -> None:
    """Wait until so many calls are at the upstream, or the tasks are done."""
    while len(plane.upstream.received) < arrived and not all(task.done() for task in tasks):
        await asyncio.sleep(0)


def refused_by(done: Performed | Refused, policy: str) -> bool:
    return isinstance(done, Refused) and [r.policy for r in done.decision.reasons] == [policy]


async def test_a_hundred_calls_at_once_do_not_slip_under_a_limit_of_three() -> None:
    plane = await plane_with(PAYMENTS, limit("payments", 3))
    done = await asyncio.gather(*(perform(plane, call("pay", n=n)) for n in range(100)))
    assert sum(isinstance(d, Performed) for d in done) == 3
    assert len(paid(plane)) == 3
    assert sum(refused_by(d, "limit-payments") for d in done) == 97


async def test_calls_that_hang_at_the_upstream_use_the_limit_up() -> None:
    clock = FakeClock()
    plane = await plane_with(PAYMENTS, limit("payments", 2), clock=clock)
    gate = Gate(plane, "pay")
    hanging = [asyncio.ensure_future(perform(plane, call("pay"))) for _ in range(2)]
    await settled(plane, *hanging, arrived=2)
    clock.advance(600)  # their minute is long over, and they still fly
    assert refused_by(await perform(plane, call("pay")), "limit-payments")
    gate.opened.set()
    await asyncio.gather(*hanging)
    assert isinstance(await perform(plane, call("pay")), Performed)


async def test_leaving_in_mid_call_does_not_give_the_limit_back() -> None:
    plane = await plane_with(PAYMENTS, limit("payments", 3))
    gate = Gate(plane, "pay")
    for number in range(10):
        task = asyncio.ensure_future(perform(plane, call("pay")))
        await settled(plane, task, arrived=number + 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    gate.opened.set()
    assert len(paid(plane)) == 3


async def test_an_upstream_that_fails_on_purpose_does_not_give_the_limit_back() -> None:
    plane = await plane_with(PAYMENTS, limit("payments", 3))

    async def fail(action: Any, flight: Any, sink: Any) -> Reply:
        raise UpstreamBroken("It answered and said it had not.")

    plane.upstream.scripts["pay"] = fail
    for _ in range(10):
        await perform(plane, call("pay"))
    assert len(paid(plane)) == 3


async def test_refusals_do_not_use_a_limit_up_for_what_is_permitted() -> None:
    plane = await plane_with(PAID, limit("paid", 10_000))
    for _ in range(20):
        assert isinstance(await perform(plane, call("pay", amount=999)), Refused)
    assert isinstance(await perform(plane, call("pay", amount=100)), Performed)
    assert values(plane) == {"paid": {WORKLOAD: 10_000}}


async def test_a_sum_cannot_be_split_into_payments_at_once() -> None:
    plane = await plane_with(PAID, limit("paid", 100_00))
    done = await asyncio.gather(*(perform(plane, call("pay", amount=0.1)) for _ in range(1_200)))
    assert sum(isinstance(d, Performed) for d in done) == 1_000  # exactly, ten cents at a time
    assert sum(a["amount"] for a in paid(plane)) == pytest.approx(100)


@pytest.mark.parametrize(
    "amount", [-60, "-60", [30, 30], 60.001, "60.00", 2**70, 1e300, {"value": 60}]
)
async def test_an_amount_in_a_strange_form_is_not_smaller(amount: Any) -> None:
    # The tool declares a number; a looser one takes them all, and so does this one's schema.
    plane = await plane_with(PAID, limit("paid", 100_00))
    plane.upstream.tools[0] = {"name": "pay", "inputSchema": {"type": "object"}}
    await plane.catalogue.refresh("one")
    await plane.pin("pay", plane_traits(plane))
    await perform(plane, call("pay", amount=amount))
    await perform(plane, call("pay", amount=60))
    assert len(paid(plane)) == 1


def plane_traits(plane: MemoryPlane) -> Any:
    target = plane.catalogue.target(call("pay"))
    assert target is not None
    return target.traits


@pytest.mark.parametrize(
    "amount", [True, "sixty", "6e1", "NaN", {"value": "much", "x": 0}, {}, "0x3c", "６０"]
)
async def test_an_amount_that_cannot_be_read_counts_as_all_there_is(amount: Any) -> None:
    plane = await plane_with(PAID, limit("paid", 100_00))
    plane.upstream.tools[0] = {"name": "pay", "inputSchema": {"type": "object"}}
    await plane.catalogue.refresh("one")
    await plane.pin("pay", plane_traits(plane))
    assert refused_by(await perform(plane, call("pay", amount=amount)), "limit-paid")
    assert paid(plane) == []


async def test_recipients_cannot_be_multiplied_at_once() -> None:
    plane = await plane_with(PAYEES, limit("payees", 5))
    done = await asyncio.gather(*(perform(plane, call("pay", to=f"p{n % 50}")) for n in range(200)))
    assert len({a["to"] for a in paid(plane)}) == 5
    assert sum(isinstance(d, Performed) for d in done) == 20  # the same five, over and over


async def test_another_run_does_not_begin_a_workloads_limit_anew() -> None:
    plane = await plane_with(PAID, limit("paid", 100_00))
    assert isinstance(await perform(plane, call("pay", amount=100)), Performed)
    [live] = plane.runs._live.values()
    await plane.runs.close_run(live.run.id, author=OPERATOR)
    assert refused_by(await perform(plane, call("pay", amount=1)), "limit-paid")


async def test_probing_is_counted_although_every_probe_is_refused() -> None:
    never = (
        '@id("never") @reason("r") @help("h") forbid (principal, action in Action::"pay", resource)'
        ' when { context.args has to && context.args.to == "mallory" };'
    )
    plane = await plane_with(PROBING, never, limit("attempts", 5))
    for _ in range(5):
        assert refused_by(await perform(plane, call("pay", to="mallory")), "never")
    done = await perform(plane, call("pay", to="alice"))
    assert refused_by(done, "limit-attempts")
    assert paid(plane) == []


async def test_a_walk_over_a_grant_is_seen_however_its_steps_overlap() -> None:
    plane = await plane_with(WALK, limit("walk", 2))
    gate = Gate(plane, "look", "grant")
    before = [asyncio.ensure_future(perform(plane, call(tool))) for tool in ("look", "grant")]
    await settled(plane, *before, arrived=2)
    assert refused_by(await perform(plane, call("pay")), "limit-walk")
    gate.opened.set()
    await asyncio.gather(*before)
    assert paid(plane) == []


async def test_a_stepped_clock_does_not_empty_a_window() -> None:
    clock = FakeClock()
    plane = await plane_with(PAYMENTS, limit("payments", 1), clock=clock)
    assert isinstance(await perform(plane, call("pay")), Performed)
    clock.set_back(-300)  # wall time alone, five minutes ahead: what a forged time signal does
    done = await perform(plane, call("pay"))
    assert isinstance(done, Refused)
    assert isinstance(done.decision, Deny)
    assert done.decision.code is DenyCode.POLICY
    clock.advance(60)
    assert isinstance(await perform(plane, call("pay")), Performed)


async def test_what_slipped_through_is_what_the_records_say() -> None:
    plane = await plane_with(PAYMENTS + PAID, limit("payments", 7), limit("paid", 5_00))
    await asyncio.gather(*(perform(plane, call("pay", amount=1)) for _ in range(40)))
    records = await plane.records()
    intents = [r for r in records if isinstance(r, Intent)]
    assert len(intents) == len(paid(plane)) == 5
    assert [r.facts.run.monitors["paid"] for r in intents if r.facts.run] == [
        100,
        200,
        300,
        400,
        500,
    ]
    denied = [r for r in records if isinstance(r, Outcome) and r.state is Terminal.DENIED]
    assert all(r.facts is not None and r.facts.run is not None for r in denied)
    assert {r.facts.run.monitors["paid"] for r in denied if r.facts and r.facts.run} == {600}
