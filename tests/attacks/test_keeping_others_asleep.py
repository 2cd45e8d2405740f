"""Who is cut again and again has something to be severed in every turn: others are woken as well.

What is severed comes before anybody is woken, and what there is to write down comes last. Counted
in turns of the event loop, never in time.
"""

from __future__ import annotations

import asyncio

import pytest

from midflight.domain.errors import Interrupted
from midflight.services.cutting import PATIENCE, SLICE, Cutting
from midflight.services.flights import Flight

pytestmark = pytest.mark.anyio


def denied(workload: str) -> Flight:
    flight = Flight(
        record="rec_1",
        run="run",
        workload=workload,
        upstream="up",
        name="look",
        scopes=frozenset(),
        began=0.0,
    )
    flight.deny(Interrupted("Revoked.", revocation="rev_1"))
    return flight


async def test_a_flood_of_cuts_leaves_nobody_asleep_and_nothing_unwritten() -> None:
    cutting, seen = Cutting(lambda: 0.0), list[str]()

    def doomed(workload: str) -> Flight:
        flight = denied(workload)

        def wake() -> None:
            seen.append(f"woken {workload}")
            cutting.afterwards(lambda: seen.append(f"written {workload}"))

        flight.on_cut(lambda _reason: wake)
        return flight

    def flood() -> None:
        cutting.sever([doomed("greedy") for _ in range(2 * SLICE)])

    flood()
    cutting.sever([doomed("honest")])
    for _ in range(2 * PATIENCE):
        flood()
        await asyncio.sleep(0)
    assert "woken honest" in seen
    assert "written honest" in seen
    cutting.finish()
    assert seen.count("woken honest") == seen.count("written honest") == 1
    assert seen.count("woken greedy") == (2 * PATIENCE + 1) * 2 * SLICE
    await asyncio.sleep(0)
