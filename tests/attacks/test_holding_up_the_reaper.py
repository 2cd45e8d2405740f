"""A backend that is slow, silent or broken on purpose: other leases end in time all the same."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from lease_kit import LeasePlane, credential

from midflight.adapters.credentials.memory import MemoryBackend
from midflight.domain.errors import StoreUnavailable, Unavailable
from midflight.domain.lease import Lease, LeaseState
from midflight.services import lease_ending
from midflight.services.lease_reaper import GRACE_S, MAX_NAMES

pytestmark = pytest.mark.anyio
MANY = 60


@pytest.fixture
async def plane() -> AsyncIterator[LeasePlane]:
    made = LeasePlane()
    yield made
    await made.close()


async def leased(plane: LeasePlane, name: str, count: int) -> list[str]:
    return [(await plane.lease(await plane.open(), name)).lease.id for _ in range(count)]


async def test_a_backend_that_never_answers_takes_no_others_room(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await plane.begin(credential("slow"), credential("good"))
    hung = asyncio.Event()
    answered: list[str] = []
    whole = MemoryBackend.revoke

    async def revoke(self: MemoryBackend, lease: Lease) -> None:
        if lease.credential == "slow":
            await hung.wait()
        await whole(self, lease)
        answered.append(lease.credential)

    await leased(plane, "slow", MANY)
    await leased(plane, "good", MANY)
    monkeypatch.setattr(MemoryBackend, "revoke", revoke)
    plane.clock.advance(61)
    sweeping = asyncio.ensure_future(plane.broker.sweep())
    for _ in range(2_000):
        await asyncio.sleep(0)
        if len(answered) == MANY:
            break
    assert answered == ["good"] * MANY
    hung.set()
    await sweeping


async def test_a_backend_that_is_silent_is_not_asked_for_every_lease(plane: LeasePlane) -> None:
    await plane.begin()
    ids = await leased(plane, "db", MANY)
    tried: list[str] = []

    def away(verb: str, name: str) -> None:
        if verb == "revoke":
            tried.append(name)
            raise Unavailable("Away.")

    plane.server.before = away
    plane.clock.advance(61)
    await plane.broker.sweep()
    assert 0 < len(tried) <= 2 * lease_ending.AT_ONCE
    assert {(await plane.stored(each)).state for each in ids} == {LeaseState.REVOKING}
    plane.server.before = lambda _verb, _name: None
    for _ in range(3):
        plane.clock.advance(301)
        await plane.broker.sweep()
    assert plane.server.accounts == {}
    assert {(await plane.stored(each)).state for each in ids} == {LeaseState.REVOKED}


async def test_one_hostile_lease_spares_no_other(plane: LeasePlane) -> None:
    """Whoever makes the ending of its own lease fail does not save its neighbours."""
    await plane.begin()
    ids = await leased(plane, "db", MANY)
    first = await plane.stored(ids[0])

    def away(verb: str, name: str) -> None:
        if verb == "revoke" and name == first.external:
            raise Unavailable("Away.")

    plane.server.before = away
    plane.clock.advance(61)
    await plane.broker.sweep()
    assert set(plane.server.accounts) == {first.external}


@pytest.mark.parametrize("names", ["raises", "endless"])
async def test_a_backend_whose_names_break_the_sweep_hides_no_orphan_of_another(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch, names: str
) -> None:
    await plane.begin(credential("bad"), credential("good"))
    whole = MemoryBackend.names
    asked: list[Any] = []

    async def hostile(self: MemoryBackend) -> Sequence[str]:
        if self._credential.name == "good":
            return await whole(self)
        if names == "raises":
            raise KeyError("what is this")
        return [f"midflight-{number}" for number in range(10 * MAX_NAMES)]

    plane.server.accounts["midflight-lost"] = ("p", (), 2**40)
    monkeypatch.setattr(MemoryBackend, "names", hostile)
    monkeypatch.setattr(plane.reaper, "_tell", lambda *what: asked.append(what))
    await plane.reaper.end_orphans()
    assert len(plane.reaper._orphans) <= MAX_NAMES + 1
    plane.clock.advance(GRACE_S)
    await plane.reaper.end_orphans()
    assert ("good", "midflight-lost") in asked
    assert "midflight-lost" not in plane.server.accounts


@pytest.mark.parametrize("error", [StoreUnavailable("It is away."), RuntimeError("a bug")])
async def test_what_breaks_for_one_lease_leaves_no_other_half_way(
    plane: LeasePlane, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    await plane.begin(credential("first"), credential("second"))
    (first,) = await leased(plane, "first", 1)
    (second,) = await leased(plane, "second", 1)
    gate, whole, finish = asyncio.Event(), MemoryBackend.revoke, plane.store.finish_lease

    async def revoke(self: MemoryBackend, lease: Lease) -> None:
        if lease.id == second:
            await gate.wait()
        await whole(self, lease)

    async def finished(lease_id: str) -> bool:
        if lease_id == first:
            raise error
        return await finish(lease_id)

    monkeypatch.setattr(MemoryBackend, "revoke", revoke)
    monkeypatch.setattr(plane.store, "finish_lease", finished)
    plane.clock.advance(61)
    sweeping = asyncio.ensure_future(plane.broker.sweep())
    for _ in range(200):
        await asyncio.sleep(0)
    assert not sweeping.done(), "it was to wait for all of them"
    gate.set()
    await asyncio.gather(sweeping, return_exceptions=True)
    assert (await plane.stored(second)).state is LeaseState.REVOKED
    assert (await plane.stored(first)).state is LeaseState.REVOKING
    assert plane.server.accounts == {}
    monkeypatch.undo()
    plane.clock.advance(lease_ending.CLAIM_S + 1)
    await plane.broker.sweep()
    assert (await plane.stored(first)).state is LeaseState.REVOKED
