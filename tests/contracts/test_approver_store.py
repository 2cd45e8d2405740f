"""What every store promises of approvers; `services/ports/approver_store.py` says it in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.approver import Approver, BackchannelRequest, Enrolment, Passkey
from midflight.domain.errors import Conflict, NotFound, StoreUnavailable
from midflight.services.ports.store import Store

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["memory", "sqlite"])
def closed_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "memory":
        return MemoryStore()
    return SqliteStore(tmp_path / "midflight.db")


@pytest.fixture
async def store(closed_store: Store) -> AsyncIterator[Store]:
    await closed_store.open()
    await closed_store.add_approver(ADA)
    yield closed_store
    await closed_store.close()


ADA = Approver(name="ada", groups=("oncall", "security"), by="alice", at=2**33)


def passkey(number: int = 1, *, approver: str = "ada") -> Passkey:
    return Passkey(
        id=f"key-{number}", approver=approver, key=b"\x00\xff", count=0, added_at=10 - number
    )


async def test_an_account_is_kept_as_it_was_made(store: Store) -> None:
    assert await store.get_approver("ada") == ADA
    assert await store.get_approver("Ada") is None
    await store.add_approver(Approver(name="aaron"))
    assert [each.name for each in await store.list_approvers()] == ["aaron", "ada"]
    with pytest.raises(Conflict):
        await store.add_approver(Approver(name="ada"))
    assert await store.get_approver("ada") == ADA


async def test_every_change_of_an_account_ends_what_was_signed_in_before(store: Store) -> None:
    once = await store.change_approver("ada", disabled=True)
    assert (once.disabled, once.groups, once.epoch) == (True, ADA.groups, 1)
    twice = await store.change_approver("ada", groups=())
    assert (twice.disabled, twice.groups, twice.epoch) == (True, (), 2)
    assert await store.get_approver("ada") == twice
    for verb in (store.change_approver("bob", disabled=True), store.reset_approver("bob")):
        with pytest.raises(NotFound):
            await verb


async def test_a_code_is_spent_once_and_with_it_all_before(store: Store) -> None:
    assert not await store.use_totp("ada", "box", step=1)
    await store.set_totp("ada", "box", step=5)
    assert not await store.use_totp("ada", "box", step=5)
    tried = [store.use_totp("ada", "box", step=7) for _ in range(5)]
    assert sorted(await asyncio.gather(*tried)) == [False] * 4 + [True]
    assert not await store.use_totp("ada", "box", step=6)
    # Not for a secret that has been replaced meanwhile, nor for an account that was disabled.
    assert not await store.use_totp("ada", "another", step=9)
    await store.change_approver("ada", disabled=True)
    assert not await store.use_totp("ada", "box", step=9)
    assert not await store.use_totp("bob", "box", step=9)
    with pytest.raises(NotFound):
        await store.set_totp("bob", "box", step=0)


async def test_passkeys_belong_to_accounts_and_are_bounded(store: Store) -> None:
    await store.add_passkey(passkey(1), limit=2)
    with pytest.raises(Conflict):
        await store.add_passkey(passkey(1), limit=9)
    await store.add_passkey(passkey(2), limit=2)
    with pytest.raises(Conflict):
        await store.add_passkey(passkey(3), limit=2)
    with pytest.raises(NotFound):
        await store.add_passkey(passkey(4, approver="bob"), limit=2)
    assert await store.get_passkey("key-1") == passkey(1)
    assert await store.get_passkey("key-3") is None
    assert [each.id for each in await store.list_passkeys("ada")] == ["key-2", "key-1"]
    assert await store.list_passkeys("bob") == []


async def test_a_counter_moves_only_from_where_it_was_read(store: Store) -> None:
    await store.add_passkey(passkey(1), limit=2)
    moved = [store.count_passkey("key-1", before=0, after=4) for _ in range(5)]
    assert sorted(await asyncio.gather(*moved)) == [False] * 4 + [True]
    found = await store.get_passkey("key-1")
    assert found is not None
    assert found.count == 4
    assert not await store.count_passkey("key-9", before=0, after=1)


async def test_an_enrolment_is_taken_once_in_time_and_the_last_counts(store: Store) -> None:
    await store.put_enrolment(Enrolment(digest="first", approver="ada", expires_at=100))
    await store.put_enrolment(Enrolment(digest="second", approver="ada", expires_at=100))
    assert await store.take_enrolment("first", now=1) is None
    taken = [store.take_enrolment("second", now=1) for _ in range(5)]
    assert sorted(map(str, await asyncio.gather(*taken))) == ["None"] * 4 + ["ada"]
    await store.put_enrolment(Enrolment(digest="third", approver="ada", expires_at=100))
    assert await store.take_enrolment("third", now=100) is None
    assert await store.take_enrolment("third", now=1) is None
    with pytest.raises(NotFound):
        await store.put_enrolment(Enrolment(digest="x", approver="bob", expires_at=100))


async def test_a_reset_forgets_every_factor_of_that_account_alone(store: Store) -> None:
    await store.add_approver(Approver(name="bob"))
    for name, number in (("ada", 1), ("bob", 2)):
        await store.set_totp(name, "box", step=3)
        await store.add_passkey(passkey(number, approver=name), limit=2)
        await store.put_enrolment(Enrolment(digest=name, approver=name, expires_at=100))
    after = await store.reset_approver("ada")
    assert (after.totp, after.totp_step, after.epoch) == (None, -1, 1)
    assert await store.list_passkeys("ada") == []
    assert await store.take_enrolment("ada", now=1) is None
    other = await store.get_approver("bob")
    assert other is not None
    assert (other.totp, other.epoch) == ("box", 0)
    assert await store.list_passkeys("bob") == [passkey(2, approver="bob")]
    assert await store.take_enrolment("bob", now=1) == "bob"


async def test_questions_at_a_provider_are_kept_until_somebody_takes_them(store: Store) -> None:
    asked = [
        BackchannelRequest(
            id=f"id-{number}",
            approval="apr_1",
            digest="d",
            approver="ada",
            subject="s",
            sealed="box",
            interval=5,
            asked_at=10 - number,
            expires_at=2**33,
        )
        for number in (1, 2)
    ]
    for request in (*asked, asked[0]):
        await store.put_backchannel(request)
    assert await store.list_backchannel() == [asked[1], asked[0]]
    taken = [store.delete_backchannel("id-1") for _ in range(5)]
    assert sorted(await asyncio.gather(*taken)) == [False] * 4 + [True]
    assert await store.list_backchannel() == [asked[1]]


async def test_a_closed_store_says_nothing(closed_store: Store) -> None:
    with pytest.raises(StoreUnavailable):
        await closed_store.get_approver("ada")
    with pytest.raises(StoreUnavailable):
        await closed_store.use_totp("ada", "box", step=1)
    with pytest.raises(StoreUnavailable):
        await closed_store.take_enrolment("x", now=1)
