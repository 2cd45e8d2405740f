"""The waiting room: what wakes whom, what bounds it, and what the registry shows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from midflight.domain.errors import Interrupted
from midflight.domain.identity import Author
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.waiting import BEAT_S, Waiter, WaitingRoom, WaitLimits, Woken
from midflight.testing import MemoryPlane, ScriptedUpstream

pytestmark = pytest.mark.anyio

OLIVIA = Author(name="olivia", proof="test")


def waiter(approval: str = "apr_1", *, run: str = "r1", workload: str = "w1") -> Waiter:
    return Waiter(
        approval=approval,
        run=run,
        workload=workload,
        upstream="one",
        name="send",
        scopes=frozenset({(ScopeKind.RUN, run), (ScopeKind.WORKLOAD, workload)}),
        note="Waiting for ann",
    )


@pytest.fixture
async def plane() -> AsyncIterator[MemoryPlane]:
    made = MemoryPlane(upstream=ScriptedUpstream("one", []))
    await made.start(fetch=False)
    yield made
    await made.close()


def room_of(plane: MemoryPlane, **limits: int) -> WaitingRoom:
    return WaitingRoom(
        store=plane.store,
        interruption=plane.interruption,
        clock=plane.clock,
        limits=WaitLimits(**limits),
    )


async def test_it_is_woken_by_its_own_approval_and_by_no_other(plane: MemoryPlane) -> None:
    room = room_of(plane)
    wait = room.enter(waiter(), for_s=50)
    assert wait is not None
    room.settled("apr_2")
    nexts = asyncio.ensure_future(wait.next())
    await asyncio.sleep(0)
    assert not nexts.done()
    room.settled("apr_1")
    assert await nexts is Woken.SETTLED
    # What comes before somebody waits for it counts as well, and says more than a beat.
    wait.wake(Woken.BEAT)
    room.settled("apr_1")
    wait.wake(Woken.BEAT)
    assert await wait.next() is Woken.SETTLED
    wait.close()
    wait.close()
    assert (room.count, plane.interruption.flights()) == (0, [])


async def test_one_tick_wakes_beats_and_those_whose_time_is_over(plane: MemoryPlane) -> None:
    room = room_of(plane)
    one, two = room.enter(waiter(), for_s=BEAT_S), room.enter(waiter(), for_s=50)
    assert one is not None
    assert two is not None
    plane.clock.advance(BEAT_S)  # type: ignore[attr-defined] -- a FakeClock
    # An approval that the store does not know is settled as well: nobody will answer it.
    await room.tick()
    assert await one.next() is Woken.OVER
    assert await two.next() is Woken.SETTLED


async def test_a_revocation_ends_a_wait_in_the_same_turn(plane: MemoryPlane) -> None:
    room = room_of(plane)
    wait, other = room.enter(waiter(), for_s=50), room.enter(waiter(run="r2"), for_s=50)
    assert wait is not None
    assert other is not None
    nexts = asyncio.ensure_future(wait.next())
    await asyncio.sleep(0)
    scope = Scope(kind=ScopeKind.RUN, id="r1")
    durable = plane.interruption.strike(scope, reason="stop", author=OLIVIA)
    with pytest.raises(Interrupted, match="olivia: stop"):
        await nexts
    receipt = await durable
    assert receipt.impact.cut == ()  # nothing of it was on record as acting
    with pytest.raises(Interrupted):
        room.enter(waiter(), for_s=50)
    other.wake(Woken.BEAT)
    assert await other.next() is Woken.BEAT


async def test_who_is_parked_is_shown_and_gone_with_the_end(plane: MemoryPlane) -> None:
    room = room_of(plane)
    assert room.park(waiter(), for_s=20) is not None
    assert room.park(waiter("apr_2"), for_s=20) is not None
    assert room.park(waiter("apr_3", run="r3"), for_s=20) is not None
    plane.clock.advance(5)  # type: ignore[attr-defined] -- a FakeClock
    first, *_ = plane.interruption.flights()
    assert (first.note, first.age_s, first.record) == ("Waiting for ann", 5, "")
    room.settled("apr_1")
    assert room.count == 2
    scope = Scope(kind=ScopeKind.RUN, id="r3")
    await plane.interruption.revoke(scope, reason="stop", author=OLIVIA)
    assert room.count == 1
    plane.clock.advance(20)  # type: ignore[attr-defined] -- a FakeClock
    await room.tick()
    assert (room.count, plane.interruption.flights()) == (0, [])


@pytest.mark.parametrize(
    ("limits", "fits", "full"),
    [
        ({"of_run": 2}, {"run": "r2"}, {}),
        ({"of_workload": 2}, {"workload": "w2"}, {"run": "r2"}),
        ({"of_all": 2}, None, {"workload": "w2", "run": "r2"}),
    ],
)
async def test_the_room_is_bounded(
    limits: dict[str, int], fits: Any, full: Any, plane: MemoryPlane
) -> None:
    room = room_of(plane, **limits)
    first = room.enter(waiter(), for_s=50)
    assert first is not None
    assert room.enter(waiter(), for_s=50) is not None
    assert room.enter(waiter(**full), for_s=50) is None
    if fits is not None:
        assert room.enter(waiter(**fits), for_s=50) is not None
    first.close()
    assert room.enter(waiter(**full), for_s=50) is not None
