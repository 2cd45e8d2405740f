"""More leases asked for in one turn than a run may hold, and by several runs at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from lease_kit import LeasePlane, credential

from midflight.domain.decision import Deny
from midflight.domain.errors import Unavailable
from midflight.services.broker import Held
from midflight.services.lease_book import MAX_A_RUN

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


async def test_no_run_holds_more_than_it_may(plane: LeasePlane) -> None:
    names = [f"c{number}" for number in range(MAX_A_RUN + 20)]
    run = await plane.begin(*(credential(name) for name in names))
    answers = await asyncio.gather(
        *(plane.ask(run, name) for name in names), return_exceptions=True
    )
    held = [each for each in answers if isinstance(each, Held)]
    assert len(held) == MAX_A_RUN == len(plane.server.accounts)
    assert all(isinstance(each, Held | Deny | Unavailable) for each in answers)
    # What is held goes on, and is followed by another when it cannot be renewed.
    plane.clock.advance(45)
    again = await plane.lease(run, held[0].lease.credential)
    assert again.secret is not None
    await plane.settle()
    other = await plane.open()
    assert isinstance(await plane.ask(other, names[0]), Held)


async def test_runs_that_ask_at_once_share_nothing(plane: LeasePlane) -> None:
    await plane.begin()
    runs = [await plane.open() for _ in range(20)]
    held = await asyncio.gather(*(plane.lease(run) for run in runs for _ in range(3)))
    of_run: dict[str, set[str]] = {}
    for each in held:
        of_run.setdefault(each.lease.run, set()).add(each.secret.fields["token"])
    assert sorted(of_run) == sorted(run.run.id for run in runs)
    assert all(len(tokens) == 1 for tokens in of_run.values())
    assert len(set[str]().union(*of_run.values())) == len(runs)
    # Nothing of one name tells the next.
    names = sorted(each.lease.external for each in held)
    assert len({name[:14] for name in names}) == len(runs)
