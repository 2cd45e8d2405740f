"""The order of cutting: all is severed before anything is written down; nothing is left out."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from midflight.domain.errors import Interrupted
from midflight.services.cutting import SLICE, Cutting
from midflight.services.flights import Flight

pytestmark = pytest.mark.anyio


def flights(count: int, *, workload: str = "one") -> list[Flight]:
    """Flights of one workload."""
    return [
        Flight(
            record=f"rec_{number}",
            run="run",
            workload=workload,
            upstream="up",
            name="look",
            scopes=frozenset(),
            began=float(number),
        )
        for number in range(count)
    ]


def denied(doomed: list[Flight]) -> list[Flight]:
    """The same, now that it is known what cuts them."""
    for flight in doomed:
        flight.deny(Interrupted("Revoked.", revocation="rev_1"))
    return doomed


async def turns(count: int) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_what_is_written_down_comes_when_all_is_severed() -> None:
    cutting = Cutting(lambda: 0.0)
    doomed, seen = flights(3 * SLICE), list[int]()

    def booked() -> None:
        seen.append(sum(flight.severed for flight in doomed))

    for flight in doomed:
        flight.on_cut(lambda _reason: cutting.afterwards(booked))
    batch = cutting.sever(denied(doomed))
    assert seen == []
    await batch.done()
    await turns(8)
    assert seen == [len(doomed)] * len(doomed)


async def test_it_is_written_down_in_slices_so_that_others_have_their_turn() -> None:
    cutting = Cutting(lambda: 0.0)
    seen: list[int] = []
    for number in range(3 * SLICE):
        cutting.afterwards(lambda number=number: seen.append(number))
    for turn in range(1, 4):
        await turns(1)
        assert seen == list(range(turn * SLICE))


async def test_one_that_breaks_keeps_no_other_from_being_written_down() -> None:
    cutting, seen = Cutting(lambda: 0.0), list[str]()

    def broken() -> None:
        raise RuntimeError("a bug")

    cutting.afterwards(broken)
    cutting.afterwards(lambda: seen.append("second"))
    with capture_logs() as said:
        await turns(2)
    assert seen == ["second"]
    assert [line["event"] for line in said] == ["cut_left_undone"]


async def test_nothing_is_left_when_there_is_no_further_turn() -> None:
    cutting, seen = Cutting(lambda: 0.0), list[str]()
    doomed = flights(2 * SLICE)
    for flight in doomed:
        flight.on_cut(lambda _reason: cutting.afterwards(lambda: seen.append("booked")))
    cutting.sever(denied(doomed))
    cutting.finish()
    assert all(flight.severed for flight in doomed)
    assert len(seen) == len(doomed)


async def test_all_are_ended_and_told_before_any_of_them_is_woken() -> None:
    cutting, seen = Cutting(lambda: 0.0), list[tuple[int, int]]()
    doomed, told = flights(3 * SLICE), list[str]()

    def woken() -> None:
        seen.append((sum(flight.severed for flight in doomed), len(told)))

    for flight in doomed:
        flight.on_cut(lambda _reason: woken)
        flight.tell_with(lambda why: told.append(why.revocation))
    batch = cutting.sever(denied(doomed))
    await batch.done()
    await turns(4)
    assert seen == [(len(doomed), len(doomed))] * len(doomed)


async def test_they_are_woken_in_slices_and_one_of_each_workload_in_turn() -> None:
    cutting, woken = Cutting(lambda: 0.0), list[str]()
    greedy, other = flights(3 * SLICE), flights(2, workload="other")
    for flight in (*greedy, *other):
        flight.on_cut(lambda _reason, flight=flight: lambda: woken.append(flight.workload))
    cutting.sever(denied(greedy))
    batch = cutting.sever(denied(other))
    await batch.done()
    while not woken:
        await turns(1)
    assert len(woken) == SLICE
    assert woken[:4].count("other") == 2
    await turns(3)
    assert len(woken) == len(greedy) + len(other)


async def test_one_whose_caller_cannot_be_told_is_woken_all_the_same() -> None:
    cutting, woken = Cutting(lambda: 0.0), list[str]()
    doomed = flights(2)

    def broken(_why: Interrupted) -> None:
        raise RuntimeError("a bug")

    for flight in doomed:
        flight.on_cut(lambda _reason, flight=flight: lambda: woken.append(flight.record))
        flight.tell_with(broken)
    with capture_logs() as said:
        await cutting.sever(denied(doomed)).done()
        await turns(2)
    assert woken == ["rec_0", "rec_1"]
    assert [line["event"] for line in said] == ["cut_left_undone"] * 2


async def test_one_that_cannot_be_ended_from_beside_is_told_all_the_same() -> None:
    cutting, told = Cutting(lambda: 0.0), list[str]()
    doomed = flights(2)

    def broken(_reason: str) -> None:
        raise RuntimeError("a bug")

    for flight in doomed:
        flight.on_cut(broken)
        flight.tell_with(lambda why: told.append(why.revocation))
    with capture_logs() as said:
        await cutting.sever(denied(doomed)).done()
    assert told == ["rev_1"] * 2
    assert [line["event"] for line in said] == ["cut_failed"] * 2


async def test_what_is_cut_at_once_keeps_nothing_of_each_other() -> None:
    first, second = flights(2)
    why = Interrupted("Revoked.", revocation="rev_1")
    depths: list[int] = []
    for flight in (first, second) * 3:
        flight.deny(why)
        with pytest.raises(Interrupted) as caught:
            flight.look()
        depths.append(len(caught.traceback))
    assert len(set(depths)) == 1


async def test_what_has_completed_is_told_nothing_else() -> None:
    (flight,) = denied(flights(1))
    told: list[Interrupted] = []
    flight.tell_with(told.append)
    flight.completed = True
    flight.tell()
    assert told == []


async def test_a_caller_is_told_once() -> None:
    (flight,) = denied(flights(1))
    told: list[Interrupted] = []
    flight.tell_with(told.append)
    flight.tell()
    flight.tell()
    assert len(told) == 1
