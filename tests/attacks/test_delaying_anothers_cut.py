"""An agent opens a thousand streams so that its end holds up everybody else.

Either the calls of others wait while all of it is cut, or the cut of another agent waits behind it.
Counted in turns of the event loop, never in time.
"""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import Interrupted
from midflight.domain.identity import Author
from midflight.domain.revocation import Scope, ScopeKind, scopes_over
from midflight.services.cutting import SLICE
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.ledger import Ledger
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

GREEDY = "spiffe://example.org/agents/greedy"
HONEST = "spiffe://example.org/agents/honest"
OPERATOR = Author(name="olivia", proof="test")
STREAMS = 1_000


class Loop:
    """Counts turns, and what is severed in each."""

    def __init__(self) -> None:
        self.turn = 0
        self.severed: dict[str, list[int]] = {}
        self.order: list[str] = []
        self._going = True
        asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self.turn += 1
        if self._going:
            asyncio.get_running_loop().call_soon(self._next)

    def stop(self) -> None:
        self._going = False

    def note(self, flight: Flight) -> None:
        flight.on_cut(lambda _: self._severed(flight))

    def _severed(self, flight: Flight) -> None:
        self.severed.setdefault(flight.workload, []).append(self.turn)
        self.order.append(flight.name)


async def started() -> tuple[Interruption, Ledger]:
    clock = FakeClock()
    ledger = Ledger(MemoryLedgerStore(), signer=None, clock=clock)
    await ledger.start("test", "fixed")
    store = MemoryStore()
    await store.open()
    interruption = Interruption(store=store, fabric=LocalFabric(), recorder=ledger, clock=clock)
    await interruption.start()
    return interruption, ledger


def entered(
    interruption: Interruption, loop: Loop, workload: str, number: int, **more: object
) -> list[Flight]:
    """So many flights of a workload."""
    found = [
        Flight(
            record=f"{workload}-{n}",
            run=f"run-{workload}",
            workload=workload,
            upstream="up",
            name=str(n),
            scopes=frozenset(scopes_over(workload)),
            began=float(n),
            **more,  # type: ignore[arg-type]
        )
        for n in range(number)
    ]
    for flight in found:
        interruption.take_off(flight)
        loop.note(flight)
    return found


def workload(name: str) -> Scope:
    return Scope(kind=ScopeKind.WORKLOAD, id=name)


async def test_a_thousand_streams_are_denied_at_once_and_cut_in_slices() -> None:
    interruption, ledger = await started()
    loop = Loop()
    flights = entered(interruption, loop, GREEDY, STREAMS, kind=FlightKind.STREAM)
    settling = interruption.strike(workload(GREEDY), reason="greedy", author=OPERATOR)
    # In this very turn nothing of it may leave any more, new or old.
    for flight in flights:
        with pytest.raises(Interrupted):
            flight.look()
    assert interruption.covering(flights[0].scopes) is not None
    receipt = await settling
    # No turn held more than a slice: whoever else has something to do has a turn in between.
    by_turn = Counter(loop.severed[GREEDY])
    assert max(by_turn.values()) <= SLICE
    assert sorted(by_turn) == list(range(min(by_turn), max(by_turn) + 1))
    # And the acknowledgement came after the last of them.
    assert len(loop.severed[GREEDY]) == STREAMS
    assert len(receipt.impact.cut) == STREAMS
    loop.stop()
    await ledger.close()


async def test_the_cut_of_another_agent_does_not_wait_behind_them() -> None:
    interruption, ledger = await started()
    loop = Loop()
    entered(interruption, loop, GREEDY, STREAMS, kind=FlightKind.STREAM)
    entered(interruption, loop, HONEST, 5)
    first = asyncio.ensure_future(
        interruption.strike(workload(GREEDY), reason="greedy", author=OPERATOR)
    )
    turn = loop.turn
    second = asyncio.ensure_future(
        interruption.strike(workload(HONEST), reason="turned", author=OPERATOR)
    )
    assert loop.severed[HONEST] == [turn] * 5
    assert len(loop.severed[GREEDY]) < STREAMS / 10
    await asyncio.gather(first, second)
    loop.stop()
    await ledger.close()


async def test_within_everything_each_workload_is_served_in_turn() -> None:
    interruption, ledger = await started()
    loop = Loop()
    entered(interruption, loop, GREEDY, STREAMS)
    entered(interruption, loop, HONEST, SLICE // 2)
    everything = Scope(kind=ScopeKind.EVERYTHING)
    settling = interruption.strike(everything, reason="panic", author=OPERATOR)
    assert len(loop.severed[HONEST]) == SLICE // 2
    await settling
    loop.stop()
    await ledger.close()


async def test_what_has_effects_goes_before_what_reads_and_the_oldest_first() -> None:
    interruption, ledger = await started()
    loop = Loop()
    entered(interruption, loop, GREEDY, 50)
    effects = entered(interruption, loop, GREEDY, 50, effectful=True)
    for flight in effects:
        flight.name = f"effect {flight.name}"
    await interruption.strike(workload(GREEDY), reason="greedy", author=OPERATOR)
    assert loop.order == [*(f"effect {n}" for n in range(50)), *(str(n) for n in range(50))]
    loop.stop()
    await ledger.close()


async def test_one_that_fails_to_be_cut_does_not_keep_the_others() -> None:
    interruption, ledger = await started()
    loop = Loop()
    flights = entered(interruption, loop, GREEDY, 3)

    def fail(_: str) -> None:
        raise RuntimeError("a bug in an adapter")

    flights[0].on_cut(fail)
    receipt = await interruption.strike(workload(GREEDY), reason="greedy", author=OPERATOR)
    assert len(loop.severed[GREEDY]) == 2
    assert len(receipt.impact.cut) == 3
    loop.stop()
    await ledger.close()
