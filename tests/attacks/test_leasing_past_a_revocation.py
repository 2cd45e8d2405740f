"""A lease asked for while it is forbidden: whatever the turn, nothing is made afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from lease_kit import LeasePlane

from midflight.adapters.credentials.memory import MemoryBackend
from midflight.domain.errors import Conflict, Interrupted
from midflight.domain.lease import Lease, LeaseState
from midflight.testing import OPERATOR

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


async def test_a_run_that_ends_while_its_lease_is_renewed_gets_no_other(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await plane.begin()
    held = await plane.lease(live)

    async def end_the_run(self: MemoryBackend, lease: Lease, *, expires_at: int) -> int:
        await plane.runs.close_run(live.run.id, author=OPERATOR)
        raise Conflict(f"{lease.external} is gone, so until {expires_at} it is not.")

    monkeypatch.setattr(MemoryBackend, "renew", end_the_run)
    plane.clock.advance(45)
    await plane.lease(live)  # begins the renewal beside
    await plane.settle()
    issued = [name for verb, name in plane.server.calls if verb == "issue"]
    assert issued == [held.lease.external], "a credential was made for a run that had ended"
    assert plane.server.accounts == {}
    assert plane.broker.held == 0


async def test_a_revocation_between_the_question_and_the_first_step(plane: LeasePlane) -> None:
    live = await plane.begin()
    asked = asyncio.ensure_future(plane.ask(live))
    closed = asyncio.ensure_future(plane.runs.close_run(live.run.id, author=OPERATOR))
    # The two tasks take turns, so the run is over before the lease is in the book, or after.
    await closed
    with pytest.raises(Interrupted):
        await asked
    await plane.settle()
    assert plane.server.accounts == {}
    assert plane.broker.held == 0


async def test_every_turn_of_making_against_the_end_of_the_run(plane: LeasePlane) -> None:
    """However many turns the making has had, nothing of it is left when the run has ended."""
    await plane.begin()
    for turns in range(40):
        live = await plane.open()
        asked = asyncio.ensure_future(plane.ask(live))
        for _ in range(turns):
            await asyncio.sleep(0)
        await plane.runs.close_run(live.run.id, author=OPERATOR)
        await asyncio.gather(asked, return_exceptions=True)
        await plane.settle()
        assert plane.server.accounts == {}, turns
        assert plane.broker.held == 0, turns


async def test_a_replacement_that_is_due_while_midflight_stops(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await plane.begin()
    await plane.lease(live)
    stopping: list[asyncio.Future[None]] = []

    async def stop(self: MemoryBackend, lease: Lease, *, expires_at: int) -> int:
        stopping.append(asyncio.ensure_future(plane.broker.close()))
        while plane.broker.held:
            await asyncio.sleep(0)
        raise Conflict(f"{lease.external} is gone, so until {expires_at} it is not.")

    monkeypatch.setattr(MemoryBackend, "renew", stop)
    plane.clock.advance(45)
    await plane.lease(live)
    await plane.settle()
    await asyncio.gather(*stopping)
    assert len(stopping) == 1
    assert plane.server.accounts == {}
    assert plane.broker.held == 0


async def test_a_lease_that_the_store_says_is_being_revoked_is_not_handed_out(
    plane: LeasePlane,
) -> None:
    """The clock jumps ahead: what the reaper ends by the store's clock is used no more here."""
    live = await plane.begin()
    held = await plane.lease(live)
    plane.clock.set_back(-3_000)
    await plane.broker.sweep()
    assert await plane.state(held) is LeaseState.REVOKED
    with pytest.raises(Interrupted):
        plane.broker.check(held)
    assert plane.broker.held == 0
