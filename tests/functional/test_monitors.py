"""Monitors in a whole plane: what counts, what is durable, and what a restart leaves of it."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from monitor_kit import limit, parsed, perform, plane_with, values

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.decision import DenyCode
from midflight.domain.errors import LedgerUnavailable, NotFound, StoreUnavailable
from midflight.domain.monitor import SATURATED
from midflight.domain.records import Changed, Intent, Observed, Outcome
from midflight.services.guard import Performed, Refused
from midflight.services.monitor_history import LOST, NAME
from midflight.services.ports.upstream import Reply
from midflight.testing import OPERATOR, WORKLOAD, FakeClock, MemoryPlane, call

pytestmark = pytest.mark.anyio

ACTS = '[[monitor]]\nname = "acts"\nkind = "count"\nper = "workload"\n'
PAID = (
    '[[monitor]]\nname = "paid"\nkind = "sum"\nper = "workload"\nwindow = "1d"\n'
    'effects = ["pay"]\nrole = "amount"\nplaces = 2\n'
)
PAYEES = '[[monitor]]\nname = "payees"\nkind = "distinct"\nper = "run"\nrole = "recipient"\n'
PAYS = '[[monitor]]\nname = "pays"\nkind = "rate"\nper = "run"\nwindow = "1m"\neffects = ["pay"]\n'
TRIES = ACTS.replace("acts", "tries") + 'counts = "attempted"\neffects = ["pay"]\n'
WALK = (
    '[[monitor]]\nname = "walk"\nkind = "sequence"\nper = "owner"\nwithin = "1h"\n'
    '[[monitor.step]]\neffects = ["grant"]\n[[monitor.step]]\neffects = ["pay"]\n'
)
ALL = ACTS + PAID + PAYEES + PAYS + TRIES + WALK
NEVER = (
    '@id("never") @reason("r") @help("h") forbid (principal, action, resource) '
    'when { context.args has to && context.args.to == "mallory" };'
)


async def restarted(plane: MemoryPlane, declared: str, *policies: str, **parts: Any) -> MemoryPlane:
    """Another process over what the first one left, as after a crash: nothing was closed."""
    made = parsed(declared, *policies)
    kept: dict[str, Any] = {
        "store": plane.store,
        "ledger_store": plane.ledger_store,
        "clock": plane.clock,
    } | parts
    again = MemoryPlane(upstream=plane.upstream, engine=CedarEngine(made), **kept)
    again.monitors.declare(made.monitors)
    await again.start(register=False)
    return again


async def everything(plane: MemoryPlane) -> None:
    """Actions that advance all of `ALL`."""
    await perform(plane, call("look"))
    await perform(plane, call("grant"))
    for amount, to in ((1.5, "ann"), (2, "bob"), (3, "ann"), (4, "mallory")):
        await perform(plane, call("pay", amount=amount, to=to))


async def test_every_kind_counts_what_it_says() -> None:
    plane = await plane_with(ALL, NEVER)
    await everything(plane)
    found = values(plane)
    [run] = found["pays"]
    assert found == {
        "acts": {WORKLOAD: 5},
        "paid": {WORKLOAD: 650},
        "payees": {run: 2},
        "pays": {run: 3},
        "tries": {WORKLOAD: 4},
        "walk": {"team-one": 2},
    }
    intents = [r for r in await plane.records() if isinstance(r, Intent)]
    assert [r.facts.run.monitors["acts"] for r in intents if r.facts.run] == [1, 2, 3, 4, 5]


async def test_a_window_slides() -> None:
    clock = FakeClock()
    plane = await plane_with(PAYS, limit("pays", 2), clock=clock)
    for wait in (0, 40):
        clock.advance(wait)
        assert isinstance(await perform(plane, call("pay")), Performed)
    clock.advance(19.999_999)
    assert isinstance(await perform(plane, call("pay")), Refused)
    clock.advance(0.000_002)  # the first is a minute old
    assert isinstance(await perform(plane, call("pay")), Performed)
    assert isinstance(await perform(plane, call("pay")), Refused)


async def test_no_record_holds_a_recipient() -> None:
    plane = await plane_with(ALL)
    await perform(plane, call("pay", amount=1, to="boss@example.org"))
    raw = b"".join(entry.body for _, entry in plane.ledger_store.entries())  # type: ignore[union-attr]
    assert b"advanced" in raw
    assert b"boss" not in raw
    await plane.monitor_history.close()
    snapshot = await plane.store.get_snapshot(NAME)
    assert snapshot is not None
    assert b"boss" not in snapshot
    assert b"payees" not in snapshot


@pytest.mark.parametrize("clean", [True, False])
async def test_a_restart_changes_no_value(clean: bool) -> None:
    plane = await plane_with(ALL, NEVER)
    await everything(plane)
    if clean:
        await plane.monitor_history.close()
        assert await plane.store.get_snapshot(NAME) is not None
    await plane.ledger.flush()
    again = await restarted(plane, ALL, NEVER)
    assert values(again) == values(plane)
    await perform(plane, call("pay", amount=1, to="bob"))
    await perform(again, call("pay", amount=1, to="bob"))
    assert values(again)["paid"] == values(plane)["paid"] == {WORKLOAD: 750}
    assert values(again)["payees"].popitem()[1] == 1  # of the implicit run that follows


async def test_a_snapshot_saves_reading_what_is_before_it() -> None:
    plane = await plane_with(ALL, NEVER)
    await everything(plane)
    assert await plane.monitor_history.keep()
    assert not await plane.monitor_history.keep()  # no news
    await perform(plane, call("pay", amount=1, to="eve"))
    assert not await plane.monitor_history.keep()  # too early
    await plane.ledger.flush()
    read: list[int] = []

    class Counting(MemoryLedgerStore):
        def entries(self, **bounds: Any) -> Any:
            read.append(bounds["after"])
            return plane.ledger_store.entries(**bounds)

        def __getattribute__(self, name: str) -> Any:
            own = ("entries", "__class__")
            return object.__getattribute__(self if name in own else plane.ledger_store, name)

    again = await restarted(plane, ALL, NEVER, ledger_store=Counting())
    assert values(again) == values(plane)
    assert max(read) > 10


async def test_what_is_in_flight_at_a_crash_is_counted_after_it() -> None:
    plane = await plane_with(PAYS + ACTS)

    async def hang(*_: Any) -> Reply:
        await asyncio.Event().wait()
        raise AssertionError

    plane.upstream.scripts["pay"] = hang
    flying = asyncio.ensure_future(perform(plane, call("pay")))
    while not plane.upstream.received:
        await asyncio.sleep(0)
    assert await plane.monitor_history.keep()
    again = await restarted(plane, PAYS + ACTS)
    assert values(again) == values(plane)
    flying.cancel()
    await asyncio.gather(flying, return_exceptions=True)


async def test_a_closed_read_that_counts_leaves_only_when_it_is_on_disk() -> None:
    class Deaf(MemoryLedgerStore):
        deaf = False

        def append(self, *entries: Any, **more: Any) -> int:
            if self.deaf:
                raise LedgerUnavailable("The disk is full.")
            return super().append(*entries, **more)

    ledger = Deaf()
    plane = await plane_with(ACTS + 'effects = ["pay"]\n', ledger_store=ledger)
    assert isinstance(await perform(plane, call("look")), Performed)
    ledger.deaf = True
    assert isinstance(await perform(plane, call("look")), Performed)  # does not count, nor wait
    ledger.deaf = False
    await plane.ledger.flush()

    counting = await plane_with(ACTS, ledger_store=(ledger := Deaf()))
    ledger.deaf = True
    refused = await perform(counting, call("look"))
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.LEDGER_UNAVAILABLE
    assert counting.upstream.received == []
    ledger.deaf = False


async def test_a_counted_refusal_is_on_disk_when_it_is_answered() -> None:
    plane = await plane_with(TRIES, NEVER)
    assert isinstance(await perform(plane, call("pay", to="mallory")), Refused)
    stored = plane.ledger_store.size()
    await plane.ledger.flush()
    assert plane.ledger_store.size() == stored
    refusals = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert [r.advanced is not None for r in refusals] == [True]


async def test_a_snapshot_that_is_no_snapshot_is_made_good_by_the_ledger() -> None:
    plane = await plane_with(ALL, NEVER)
    await everything(plane)
    await plane.store.put_snapshot(NAME, b"{")
    await plane.ledger.flush()
    again = await restarted(plane, ALL, NEVER)
    assert values(again) == values(plane)
    assert again.monitor_history.problem == ""


async def test_a_snapshot_of_another_ledger_makes_every_monitor_full_and_says_so() -> None:
    clock = FakeClock()
    plane = await plane_with(ALL, limit("pays", 5), clock=clock)
    await everything(plane)
    await plane.monitor_history.close()
    [old] = await plane.runs.list_runs()
    again = await restarted(plane, ALL, limit("pays", 5), ledger_store=MemoryLedgerStore())
    assert "cannot be read" in again.monitor_history.problem
    [said] = [r for r in await again.records() if isinstance(r, Observed) and r.what == LOST]
    assert said.details["monitors"] == sorted(["acts", "paid", "payees", "pays", "tries", "walk"])
    assert {m.name: m.lost for m in again.monitors.status()} == dict.fromkeys(values(again), True)
    # A run of before may have done anything; one that is opened later has done nothing.
    refused = await perform(again, call("pay", amount=1), run=old.id)
    assert isinstance(refused, Refused)
    [record] = [r for r in await again.records() if isinstance(r, Outcome)]
    assert record.facts is not None
    assert record.facts.run is not None
    assert set(record.facts.run.monitors.values()) == {SATURATED}
    clock.advance(1)
    assert isinstance(await perform(again, call("pay", amount=1)), Performed)
    # It is not forgotten by another restart, and ends with the window.
    await again.monitor_history.close()
    third = await restarted(again, ALL, limit("pays", 5), ledger_store=again.ledger_store)
    assert third.monitor_history.problem == ""
    assert {m.name for m in third.monitors.status() if m.lost} == {
        "acts", "paid", "payees", "pays", "tries", "walk",
    }  # fmt: skip
    clock.advance(60)
    assert "pays" not in {m.name for m in third.monitors.status() if m.lost}
    clock.advance(86_400)
    assert {m.name for m in third.monitors.status() if m.lost} == {"acts", "payees", "tries"}


@pytest.mark.parametrize(
    "altered",
    ["CAST('no record' AS BLOB)", """CAST(replace(body, '"amount":1', '"amount":0') AS BLOB)"""],
)
async def test_a_damaged_ledger_makes_every_monitor_full(tmp_path: Path, altered: str) -> None:
    from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore  # noqa: PLC0415

    path = tmp_path / "ledger.sqlite3"
    plane = await plane_with(ACTS, ledger_store=SqliteLedgerStore(path))
    await perform(plane, call("pay"))
    await plane.ledger.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER entry_stays")
        connection.execute(
            f"UPDATE entry SET body = {altered} WHERE CAST(body AS TEXT) LIKE '%\"advanced\":{{%'"
        )
    connection.close()
    again = await restarted(plane, ACTS, limit("acts", 9), ledger_store=SqliteLedgerStore(path))
    assert again.monitor_history.problem
    assert isinstance(await perform(again, call("pay")), Refused)
    await again.ledger.close()


async def test_nothing_passes_before_the_history_is_read() -> None:
    plane = await plane_with(ACTS)
    plane.monitors.is_restored = False
    refused = await perform(plane, call("look"))
    assert isinstance(refused, Refused)
    assert refused.decision.code is DenyCode.STORE_UNAVAILABLE


async def test_an_operator_lets_a_monitor_count_from_zero_and_a_restart_knows() -> None:
    plane = await plane_with(ALL)
    await everything(plane)
    before = values(plane)
    await plane.monitor_history.reset("paid", OPERATOR)
    assert values(plane) == before | {"paid": {}}
    await perform(plane, call("pay", amount=1, to="ann"))
    assert values(plane)["paid"] == {WORKLOAD: 100}
    [record] = [r for r in await plane.records() if isinstance(r, Changed) and "monitor" in r.what]
    assert (record.what, record.author) == ("monitor.reset", OPERATOR.name)
    again = await restarted(plane, ALL)
    assert values(again) == values(plane)
    with pytest.raises(NotFound):
        await plane.monitor_history.reset("piad", OPERATOR)


async def test_what_is_counted_for_a_run_ends_with_it() -> None:
    plane = await plane_with(PAYS + PAYEES + ACTS)
    await perform(plane, call("pay", to="ann"))
    [run] = values(plane)["pays"]
    await plane.runs.close_run(run, author=OPERATOR)
    assert values(plane) == {"pays": {}, "payees": {}, "acts": {WORKLOAD: 1}}
    await plane.ledger.flush()
    again = await restarted(plane, PAYS + PAYEES + ACTS)
    assert [len(kept.cells) for kept in again.monitors.kept()] == [1, 0, 0]


async def test_a_changed_declaration_counts_from_zero_and_the_others_go_on() -> None:
    plane = await plane_with(ACTS + PAYS)
    await perform(plane, call("pay"))
    changed = parsed(ACTS + 'about = "x"\n' + PAYS.replace('"1m"', '"2m"'))
    plane.monitors.declare(changed.monitors)
    assert values(plane) == {"acts": {WORKLOAD: 1}, "pays": {}}


async def test_an_idle_cell_is_forgotten_and_one_that_flies_is_not() -> None:
    clock = FakeClock()
    declared = PAYS.replace('"run"', '"workload"')
    plane = await plane_with(declared, clock=clock)
    await perform(plane, call("pay"))
    plane.monitors.sweep()
    [kept] = plane.monitors.kept()
    assert len(kept.cells) == 1
    clock.advance(61)
    plane.monitors.sweep()
    assert kept.cells == {}


async def test_without_the_store_there_is_no_start() -> None:
    plane = await plane_with(ACTS)
    await plane.ledger.flush()

    class Away(MemoryStore):
        async def get_seal_key(self, key_id: str) -> bytes | None:
            raise StoreUnavailable("The store is away.")

    with pytest.raises(StoreUnavailable):
        await restarted(plane, ACTS, store=Away())


# Delegation only narrows


async def test_what_is_counted_for_a_run_is_counted_for_all_that_descend_from_it() -> None:
    plane = await plane_with(PAYEES + PAYS, limit("payees", 2))
    parent, child = await _delegated(plane)
    assert isinstance(await perform(plane, call("pay", to="ann"), run=parent), Performed)
    assert isinstance(await perform(plane, call("pay", to="ann"), run=child), Performed)
    assert isinstance(await perform(plane, call("pay", to="bob"), run=child), Performed)
    for run in (parent, child, (await _child(plane, child))):
        assert isinstance(await perform(plane, call("pay", to="eve"), run=run), Refused)
    assert values(plane) == {"payees": {parent: 2}, "pays": {parent: 3}}


async def test_the_end_of_a_child_gives_its_family_no_new_count() -> None:
    plane = await plane_with(PAYS, limit("pays", 2))
    parent, child = await _delegated(plane)
    assert isinstance(await perform(plane, call("pay"), run=child), Performed)
    await plane.runs.close_run(child, author=OPERATOR)
    assert isinstance(await perform(plane, call("pay"), run=parent), Performed)
    await plane.ledger.flush()
    again = await restarted(plane, PAYS, limit("pays", 2))
    assert values(again) == {"pays": {parent: 2}}
    child = await _child(again, parent)
    assert isinstance(await perform(again, call("pay"), run=child), Refused)


async def _delegated(plane: MemoryPlane) -> tuple[str, str]:
    workload = await plane.inventory.get(WORKLOAD)
    run = await plane.runs.open_run(workload=workload, intent="Pay them.", author=OPERATOR)
    return run.id, await _child(plane, run.id)


async def _child(plane: MemoryPlane, parent: str) -> str:
    child = await plane.delegation.delegate(parent, workload=WORKLOAD, text="Pay.", author=OPERATOR)
    return child.id
