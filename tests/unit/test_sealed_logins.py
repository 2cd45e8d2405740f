"""Logins at rest: opened under their own name and key, and not otherwise."""

from __future__ import annotations

import pytest

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import StoreUnavailable
from midflight.services.sealed_logins import SealedLogins

pytestmark = pytest.mark.anyio
SECRET = "what-a-login-gave"


@pytest.fixture
async def store() -> MemoryStore:
    made = MemoryStore()
    await made.open()
    return made


async def test_a_login_is_kept_replaced_and_forgotten(store: MemoryStore) -> None:
    logins = SealedLogins(store=store, wrap=AesKeyWrap(bytes(32)))
    assert await logins.get("crm") is None
    await logins.put("crm", SECRET)
    await logins.put("crm", SECRET + "2")
    assert await logins.get("crm") == SECRET + "2"
    assert await logins.get("wiki") is None
    await logins.forget("crm")
    await logins.forget("crm")
    assert await logins.get("crm") is None


async def test_the_store_alone_opens_nothing(store: MemoryStore) -> None:
    logins = SealedLogins(store=store, wrap=AesKeyWrap(bytes(32)))
    await logins.put("crm", SECRET)
    kept = await store.get_snapshot("login:crm")
    assert kept is not None
    assert SECRET.encode() not in kept
    other = SealedLogins(store=store, wrap=AesKeyWrap(bytes(31) + b"1"))
    with pytest.raises(StoreUnavailable):
        await other.get("crm")


async def test_a_box_that_was_moved_or_altered_does_not_open(store: MemoryStore) -> None:
    logins = SealedLogins(store=store, wrap=AesKeyWrap(bytes(32)))
    await logins.put("crm", SECRET)
    kept = await store.get_snapshot("login:crm")
    assert kept is not None
    await store.put_snapshot("login:wiki", kept)
    with pytest.raises(StoreUnavailable):
        await logins.get("wiki")
    for broken in (kept[:-1] + bytes([kept[-1] ^ 1]), kept[:20], b"\xc1"):
        await store.put_snapshot("login:crm", broken)
        with pytest.raises(StoreUnavailable) as refused:
            await logins.get("crm")
        assert SECRET not in str(refused.value)
