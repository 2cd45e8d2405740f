"""`services.inventory`: registering, standing, and the copy for the hot path."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from identity_kit import AUTHOR, DOMAIN, NOW, WORKLOAD, Recorder, workload_of

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import Conflict, Malformed, NotFound, StoreUnavailable
from midflight.domain.identity import Mode, Tier, Workload
from midflight.services.inventory import Inventory
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def inventory(store: MemoryStore, recorder: Recorder, clock: FakeClock) -> Inventory:
    return inventory_of(store, recorder=recorder, clock=clock)


def inventory_of(store: Any, **parts: Any) -> Inventory:
    values: dict[str, Any] = {
        "recorder": Recorder(),
        "clock": FakeClock(NOW),
        "trust_domain": DOMAIN,
        **parts,
    }
    return Inventory(store=store, **values)


async def test_a_registered_workload_is_current_at_once_and_in_the_store(
    inventory: Inventory, store: MemoryStore
) -> None:
    assert inventory.current(WORKLOAD) is None
    registered = await inventory.register(workload_of(), AUTHOR)
    assert registered.registered_at == NOW
    assert inventory.current(WORKLOAD) == registered == await store.get_workload(WORKLOAD)
    assert await inventory.get(WORKLOAD) == registered
    assert await inventory.list() == [registered]


async def test_every_change_is_recorded_with_its_author_and_what_it_changed(
    inventory: Inventory, recorder: Recorder
) -> None:
    await inventory.register(workload_of(), AUTHOR)
    await inventory.disable(WORKLOAD, AUTHOR)
    await inventory.enable(WORKLOAD, AUTHOR)
    assert [record.what for record in recorder.records] == [
        f"workload.register {WORKLOAD}",
        f"workload.disable {WORKLOAD}",
        f"workload.enable {WORKLOAD}",
    ]
    assert {record.author for record in recorder.records} == {AUTHOR.name}
    assert recorder.records[1].details["before"] == {"disabled": False}
    assert recorder.records[1].details["after"]["disabled"] is True


async def test_registering_again_does_not_enable(inventory: Inventory, clock: FakeClock) -> None:
    await inventory.register(workload_of(), AUTHOR)
    await inventory.disable(WORKLOAD, AUTHOR)
    clock.advance(60)
    again = await inventory.register(workload_of(owner="bob"), AUTHOR)
    assert again.disabled
    assert again.owner == "bob"
    assert again.registered_at == NOW
    assert not (await inventory.enable(WORKLOAD, AUTHOR)).disabled


async def test_what_is_not_registered_cannot_be_switched_or_shown(inventory: Inventory) -> None:
    for verb in (inventory.disable, inventory.enable):
        with pytest.raises(NotFound):
            await verb(WORKLOAD, AUTHOR)
    with pytest.raises(NotFound):
        await inventory.get(WORKLOAD)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "triage"},
        {"id": "spiffe://example.test"},
        {"id": "spiffe://other.test/agents/triage"},
        {"owner": ""},
        {"owner": "   "},
        {"owner": "a\nb"},
        {"owner": "a\u202eb"},
        {"owner": "x" * 257},
        {"escalation": ""},
        {"escalation": "\x1b[31m"},
        {"team": ""},
        {"kind": "human"},
        {"review_by": NOW},
        {"review_by": 0},
        {"uid": -1},
    ],
    ids=str,
)
async def test_a_registration_that_lacks_something_is_refused(
    inventory: Inventory, recorder: Recorder, change: dict[str, Any]
) -> None:
    with pytest.raises(Malformed):
        await inventory.register(workload_of(**change), AUTHOR)
    assert recorder.records == []
    assert await inventory.list() == []


async def test_every_problem_is_named_at_once(inventory: Inventory) -> None:
    with pytest.raises(Malformed) as caught:
        await inventory.register(workload_of(id="x", owner="", review_by=1), AUTHOR)
    for word in ("SPIFFE", "owner", "review_by"):
        assert word in caught.value.message


async def test_a_mandatory_workload_is_not_merely_observed(inventory: Inventory) -> None:
    with pytest.raises(Conflict):
        await inventory.register(workload_of(tier=Tier.MANDATORY, mode=Mode.OBSERVE), AUTHOR)
    await inventory.register(workload_of(tier=Tier.MANDATORY, mode=Mode.LOCKDOWN), AUTHOR)
    await inventory.register(workload_of(tier=Tier.ELEVATED, mode=Mode.OBSERVE), AUTHOR)


NOT_MEANT = [
    {"waiver_by": "somebody", "waiver_until": NOW + 60},
    {"waiver_by": "alice", "waiver_until": NOW},
    {"waiver_by": "alice", "waiver_until": None},
    {"waiver_by": "alice", "waiver_until": NOW + 10_000_000},
    {"waiver_by": None, "waiver_until": NOW + 60},
]


@pytest.mark.parametrize("waiver", NOT_MEANT)
async def test_a_waiver_is_signed_by_the_owner_and_ends(
    inventory: Inventory, waiver: dict[str, Any]
) -> None:
    with pytest.raises(Malformed, match="waiver"):
        await inventory.register(workload_of(**waiver), AUTHOR)


async def test_a_waiver_lets_a_mandatory_workload_be_observed_until_it_ends(
    inventory: Inventory, clock: FakeClock
) -> None:
    observed = workload_of(
        tier=Tier.MANDATORY, mode=Mode.OBSERVE, waiver_by="alice", waiver_until=NOW + 60
    )
    await inventory.register(observed, AUTHOR)
    found = inventory.current(observed.id)
    assert found is not None
    assert found.mode is Mode.OBSERVE
    clock.advance(59)
    found = inventory.current(observed.id)
    assert found is not None
    assert found.mode is Mode.OBSERVE
    clock.advance(1)
    found = inventory.current(observed.id)
    assert found is not None
    assert found.mode is Mode.ENFORCE
    assert Inventory.standing(found, NOW + 60) is None


@pytest.mark.parametrize(
    ("workload", "word"),
    [
        (None, "not registered"),
        (workload_of(disabled=True), "disabled"),
        (workload_of(review_by=NOW), "review"),
        (workload_of(owner=" "), "owner"),
        (workload_of(escalation=""), "escalation"),
    ],
)
async def test_what_is_not_in_good_standing_says_why(workload: Workload | None, word: str) -> None:
    said = Inventory.standing(workload, NOW)
    assert said is not None
    assert word in said


async def test_good_standing_ends_with_the_review_date() -> None:
    workload = workload_of(review_by=NOW + 10)
    assert Inventory.standing(workload, NOW) is None
    assert Inventory.standing(workload, NOW + 9.999) is None
    assert Inventory.standing(workload, NOW + 10) is not None


async def test_refresh_brings_what_another_replica_wrote(
    inventory: Inventory, store: MemoryStore
) -> None:
    other = inventory_of(store)
    await other.register(workload_of(), AUTHOR)
    assert inventory.current(WORKLOAD) is None
    await inventory.refresh()
    assert inventory.current(WORKLOAD) == other.current(WORKLOAD)
    await other.disable(WORKLOAD, AUTHOR)
    await inventory.refresh()
    current = inventory.current(WORKLOAD)
    assert current is not None
    assert current.disabled


async def test_when_the_store_is_away_the_copy_stays(
    inventory: Inventory, store: MemoryStore
) -> None:
    await inventory.register(workload_of(), AUTHOR)
    await store.close()
    with pytest.raises(StoreUnavailable):
        await inventory.refresh()
    assert inventory.current(WORKLOAD) is not None


async def test_a_disable_that_the_store_refuses_still_denies_here() -> None:
    class Broken(MemoryStore):
        async def put_workload(self, workload: Workload) -> None:
            if workload.disabled:
                raise StoreUnavailable("The disk is full.")
            await super().put_workload(workload)

    store = Broken()
    await store.open()
    inventory = inventory_of(store)
    await inventory.register(workload_of(), AUTHOR)
    with pytest.raises(StoreUnavailable):
        await inventory.disable(WORKLOAD, AUTHOR)
    assert Inventory.standing(inventory.current(WORKLOAD), NOW) is not None


async def test_an_enable_or_register_that_the_store_refuses_permits_nothing() -> None:
    class Broken(MemoryStore):
        broken = False

        async def put_workload(self, workload: Workload) -> None:
            if self.broken:
                raise StoreUnavailable("The disk is full.")
            await super().put_workload(workload)

    store = Broken()
    await store.open()
    inventory = inventory_of(store)
    await inventory.register(workload_of(), AUTHOR)
    await inventory.disable(WORKLOAD, AUTHOR)
    store.broken = True
    with pytest.raises(StoreUnavailable):
        await inventory.enable(WORKLOAD, AUTHOR)
    assert Inventory.standing(inventory.current(WORKLOAD), NOW) is not None
    new = workload_of(id=f"{WORKLOAD}-2")
    with pytest.raises(StoreUnavailable):
        await inventory.register(new, AUTHOR)
    assert inventory.current(new.id) is None


async def test_a_refresh_in_flight_does_not_bring_back_what_was_disabled_meanwhile() -> None:
    class Slow(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.listing = asyncio.Event()
            self.go_on = asyncio.Event()

        async def list_workloads(self) -> Sequence[Workload]:
            listed = await super().list_workloads()
            self.listing.set()
            await self.go_on.wait()
            return listed

    store = Slow()
    await store.open()
    inventory = inventory_of(store)
    await inventory.register(workload_of(), AUTHOR)
    refreshing = asyncio.create_task(inventory.refresh())
    await store.listing.wait()
    disabling = asyncio.create_task(inventory.disable(WORKLOAD, AUTHOR))
    for _ in range(5):
        await asyncio.sleep(0)
    store.go_on.set()
    await asyncio.gather(refreshing, disabling)
    assert Inventory.standing(inventory.current(WORKLOAD), NOW) is not None


async def test_a_local_user_is_known_as_a_workloads_even_when_it_is_disabled(
    inventory: Inventory,
) -> None:
    await inventory.register(workload_of(id=f"{WORKLOAD}-b", uid=1001), AUTHOR)
    await inventory.register(workload_of(id=f"{WORKLOAD}-a", uid=1001), AUTHOR)
    await inventory.register(workload_of(id=f"{WORKLOAD}-c"), AUTHOR)
    await inventory.disable(f"{WORKLOAD}-a", AUTHOR)
    found = inventory.by_uid(1001)
    assert found is not None
    assert found.id == f"{WORKLOAD}-a"
    assert inventory.by_uid(1002) is None
