"""Sealed arguments: readable with the run's key, gone without it."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import Conflict, Malformed, StoreUnavailable
from midflight.services.sealing import Sealer
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

ARGUMENTS = {"to": "eve@example.org", "amount": 10}


async def opened_store() -> MemoryStore:
    store = MemoryStore()
    await store.open()
    return store


async def test_what_is_sealed_opens_again() -> None:
    sealer = Sealer(await opened_store(), AesKeyWrap.fresh(), FakeClock())
    await sealer.key_for("run_a")
    sealed = sealer.seal("run_a", ARGUMENTS)
    assert sealed.key == "run_a"
    assert len(sealed.nonce) == 12
    assert b"eve" not in sealed.box
    assert await sealer.open(sealed) == ARGUMENTS


async def test_the_same_arguments_are_sealed_differently_each_time() -> None:
    sealer = Sealer(await opened_store(), AesKeyWrap.fresh(), FakeClock())
    await sealer.key_for("run_a")
    boxes = {sealer.seal("run_a", ARGUMENTS).box for _ in range(100)}
    assert len(boxes) == 100


async def test_an_erased_key_takes_the_arguments_with_it_everywhere() -> None:
    store, wrap = await opened_store(), AesKeyWrap.fresh()
    one, two = Sealer(store, wrap, FakeClock()), Sealer(store, wrap, FakeClock())
    await one.key_for("run_a")
    await two.key_for("run_a")
    sealed = one.seal("run_a", ARGUMENTS)
    assert await two.open(sealed) == ARGUMENTS
    assert await one.erase("run_a")
    assert await one.open(sealed) is None
    assert await two.open(sealed) is None
    assert not await one.erase("run_a")
    with pytest.raises(Conflict):
        one.seal("run_a", ARGUMENTS)


async def test_sealed_text_says_nothing_in_the_store_and_opens_with_the_runs_key_alone() -> None:
    store, wrap = await opened_store(), AesKeyWrap.fresh()
    sealer, other = Sealer(store, wrap, FakeClock()), Sealer(store, wrap, FakeClock())
    await sealer.key_for("run_a")
    await sealer.key_for("run_b")
    sealed = sealer.seal_text("run_a", "pay the plumber – 10 €")
    assert "plumber" not in sealed
    assert await sealer.open_text("run_a", sealed) == "pay the plumber – 10 €"
    assert await other.open_text("run_a", sealed) == "pay the plumber – 10 €"
    assert await other.open_text("run_a", None) is None
    for key, text in (("run_b", sealed), ("run_a", sealed[:-8]), ("run_a", "pay the plumber")):
        with pytest.raises(Malformed):
            await other.open_text(key, text)
    await sealer.erase("run_a")
    assert await other.open_text("run_a", sealed) is None


async def test_another_replica_stops_sealing_under_an_erased_key_in_time() -> None:
    store, wrap, clock = await opened_store(), AesKeyWrap.fresh(), FakeClock()
    one, two = Sealer(store, wrap, clock), Sealer(store, wrap, clock, trust_s=300)
    await two.key_for("run_a")
    await one.erase("run_a")
    await two.key_for("run_a")
    clock.advance(301)
    with pytest.raises(Conflict, match="erased"):
        await two.key_for("run_a")


async def test_replicas_agree_on_one_key_for_a_run() -> None:
    store, wrap = await opened_store(), AesKeyWrap.fresh()
    sealers = [Sealer(store, wrap, FakeClock()) for _ in range(5)]
    await asyncio.gather(*(sealer.key_for("run_a") for sealer in sealers))
    for sealer in sealers:
        sealed = sealer.seal("run_a", ARGUMENTS)
        assert await sealers[0].open(sealed) == ARGUMENTS


async def test_a_box_does_not_open_for_another_run_or_when_altered() -> None:
    sealer = Sealer(await opened_store(), AesKeyWrap.fresh(), FakeClock())
    await sealer.key_for("run_a")
    await sealer.key_for("run_b")
    sealed = sealer.seal("run_a", ARGUMENTS)
    for changed in (
        msgspec.structs.replace(sealed, key="run_b"),
        msgspec.structs.replace(sealed, nonce=bytes(12)),
        msgspec.structs.replace(sealed, nonce=b""),
        msgspec.structs.replace(sealed, box=sealed.box[:-1] + b"!"),
        msgspec.structs.replace(sealed, box=b""),
    ):
        with pytest.raises(Malformed):
            await sealer.open(changed)


async def test_the_store_alone_opens_nothing() -> None:
    store = await opened_store()
    sealer = Sealer(store, AesKeyWrap.fresh(), FakeClock())
    await sealer.key_for("run_a")
    sealed = sealer.seal("run_a", ARGUMENTS)
    thief = Sealer(store, AesKeyWrap.fresh(), FakeClock())
    with pytest.raises(StoreUnavailable):
        await thief.open(sealed)


async def test_keys_in_memory_are_bounded_and_come_back() -> None:
    sealer = Sealer(await opened_store(), AesKeyWrap.fresh(), FakeClock(), capacity=2)
    await sealer.key_for("run_a")
    sealed = sealer.seal("run_a", ARGUMENTS)
    for run in ("run_b", "run_c"):
        await sealer.key_for(run)
    with pytest.raises(Conflict, match="not loaded"):
        sealer.seal("run_a", ARGUMENTS)
    await sealer.key_for("run_a")
    assert await sealer.open(sealer.seal("run_a", ARGUMENTS)) == ARGUMENTS
    assert await sealer.open(sealed) == ARGUMENTS


async def test_nothing_secret_shows_in_a_repr() -> None:
    sealer = Sealer(await opened_store(), AesKeyWrap.fresh(), FakeClock())
    await sealer.key_for("run_a")
    assert "eve" not in repr(sealer) + repr(sealer.seal("run_a", ARGUMENTS))
