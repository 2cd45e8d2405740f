"""The contract of `RingStore`, over rings in memory and rings in a file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.ring_files import MemoryRings, RingFiles
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import KeyState, Ring, RingKey, Rings, announced, withdrawn
from midflight.services.ports.key_rings import RingStore
from midflight.services.ports.keys import Purpose

pytestmark = pytest.mark.anyio
NAME = Purpose.ACCESS_TOKEN.value


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> RingStore:
    return MemoryRings() if request.param == "memory" else RingFiles(tmp_path / "keys")


async def a_key(purpose: Purpose = Purpose.ACCESS_TOKEN) -> RingKey:
    made = await FileKeySource().make(purpose)
    return RingKey(
        kid=made.jwk["kid"],
        jwk=made.jwk,
        backend="file",
        handle=made.handle,
        state=KeyState.CURRENT,
        since=1,
    )


async def test_there_are_no_rings_at_first(store: RingStore) -> None:
    assert dict(await store.read()) == {}


async def test_what_was_changed_is_read_again_whole(store: RingStore) -> None:
    ring = withdrawn(announced(Ring(keys=(await a_key(),)), await a_key()), "other")
    after = await store.change(lambda _: {NAME: ring, "set": Ring(keys=())})
    assert after == await store.read() == {NAME: ring, "set": Ring(keys=())}


async def test_a_change_that_leads_to_no_sound_rings_changes_nothing(store: RingStore) -> None:
    key = await a_key()
    before = await store.change(lambda _: {NAME: Ring(keys=(key,))})
    elsewhere = await a_key(Purpose.SET)
    unsound: list[Rings] = [
        {NAME: Ring(keys=(key, key))},
        {NAME: Ring(keys=(key,)), "client": Ring(keys=(key,))},
        {NAME: Ring(keys=(key,), withdrawn=(key.kid,))},
        {NAME: Ring(keys=(elsewhere,))},
        {"nonsense": Ring(keys=())},
        {NAME: Ring(keys=(msgspec.structs.replace(key, kid="x"),))},
    ]
    for rings in unsound:
        with pytest.raises(Misconfigured):
            await store.change(lambda _, rings=rings: rings)
        assert await store.read() == before


async def test_a_change_that_fails_changes_nothing(store: RingStore) -> None:
    before = await store.change(lambda _: {NAME: Ring(keys=())})

    def fail(_: Rings) -> Rings:
        raise LookupError

    with pytest.raises(LookupError):
        await store.change(fail)
    assert await store.read() == before


async def test_changes_made_at_once_are_all_there(store: RingStore) -> None:
    await store.change(lambda _: {NAME: Ring(keys=())})

    def withdraw(kid: str) -> Callable[[Rings], Rings]:
        def change(rings: Rings) -> Rings:
            ring = rings[NAME]
            return {NAME: msgspec.structs.replace(ring, withdrawn=(*ring.withdrawn, kid))}

        return change

    await asyncio.gather(*(store.change(withdraw(f"k{n}")) for n in range(12)))
    assert sorted((await store.read())[NAME].withdrawn) == sorted(f"k{n}" for n in range(12))
