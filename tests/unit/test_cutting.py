"""The order of cutting: all is severed before anything is written down; nothing is left out."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from midflight.domain.errors import Interrupted
from midflight.services.cutting import SLICE, Cutting
from midflight.services.flights import Flight

pytestmark = pytest.mark.anyio


def flights(count: int) -> list[Flight]:
    """Flights of one workload, denied."""
    made = [
        Flight(
            record=f"rec_{number}",
            run="run",
            workload="one",
            upstream="up",
            name="look",
            scopes=frozenset(),
            began=float(number),
        )
        for number in range(count)
    ]
    for flight in made:
        flight.deny(Interrupted("Revoked.", revocation="rev_1"))
    return made


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
    batch = cutting.sever(doomed)
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
    assert [line["event"] for line in said] == ["cut_not_written_down"]


async def test_nothing_is_left_when_there_is_no_further_turn() -> None:
    cutting, seen = Cutting(lambda: 0.0), list[str]()
    doomed = flights(2 * SLICE)
    for flight in doomed:
        flight.on_cut(lambda _reason: cutting.afterwards(lambda: seen.append("booked")))
    cutting.sever(doomed)
    cutting.finish()
    assert all(flight.severed for flight in doomed)
    assert len(seen) == len(doomed)
