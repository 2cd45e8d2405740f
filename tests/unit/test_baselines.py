"""Baselines over a restart, in words, and forgotten."""

from __future__ import annotations

import msgspec
import pytest
from detector_kit import AGENT, Worker

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import LedgerUnavailable, NotFound, StoreUnavailable
from midflight.domain.records import Changed, Observed, Record
from midflight.domain.traits import Effect
from midflight.services.baselines import (
    ACCEPT,
    FORGET,
    LOST,
    PARTS_PER_SWEEP,
    Baselines,
    Snapshot,
)
from midflight.services.detection import Detector
from midflight.services.detectors.learning import PARTS, part_of
from midflight.services.detectors.pipeline import WARM_JOBS
from midflight.services.detectors.standard import standard
from midflight.testing import OPERATOR, FakeClock

pytestmark = pytest.mark.anyio

NAME = f"baselines-{part_of(AGENT):02d}"


class Book:
    """A recorder that keeps what it is given, or takes nothing."""

    available = True

    def __init__(self) -> None:
        self.records: list[Record] = []

    def append(self, record: Record) -> Book:
        if not self.available:
            raise LedgerUnavailable("The disk is full.")
        self.records.append(record)
        return self

    id = "w-1"

    async def durable(self) -> None:
        """It is."""


class Failing(MemoryStore):
    """A store that stores no snapshot while `fails`."""

    fails = False

    async def put_snapshot(self, name: str, body: bytes) -> None:
        if self.fails:
            raise StoreUnavailable("The store does not answer.")
        await super().put_snapshot(name, body)


class House:
    """Detectors and what keeps them, over one store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.book = Book()
        self.detectors: tuple[Detector, ...] = standard()
        self.baselines = Baselines(
            self.detectors, store=self.store, recorder=self.book, clock=FakeClock()
        )

    def worker(self, workload: str = AGENT) -> Worker:
        return Worker(*self.detectors, workload=workload)

    def again(self) -> House:
        """After a restart."""
        return House(self.store)


async def taught(store: MemoryStore | None = None, *, runs: int = 25) -> House:
    house = House(store)
    await house.store.open()
    worker = house.worker()
    for _ in range(runs):
        worker.work(["look", "list", "write"], effects=["write"])
    return house


async def test_what_was_learned_survives_a_restart() -> None:
    house = await taught()
    await house.baselines.save()
    again = house.again()
    await again.baselines.start()
    assert again.baselines.show(AGENT) == house.baselines.show(AGENT)
    assert again.book.records == []


async def test_only_what_has_changed_is_written() -> None:
    house = await taught()
    await house.baselines.save()
    await house.store.put_snapshot(NAME, b"x")
    await house.baselines.save()
    assert await house.store.get_snapshot(NAME) == b"x"
    others = [f"baselines-{part:02d}" for part in range(PARTS) if part != part_of(AGENT)]
    assert [await house.store.get_snapshot(name) for name in others] == [None] * len(others)


async def test_sweeps_take_turns_until_all_is_written() -> None:
    house = House()
    await house.store.open()
    for number in range(200):
        house.worker(f"spiffe://example.org/agents/{number}").work(["look"])
    for swept in range(1, PARTS // PARTS_PER_SWEEP + 1):
        await house.baselines.sweep()
        written = [await house.store.get_snapshot(f"baselines-{part:02d}") for part in range(PARTS)]
        assert sum(body is not None for body in written) == swept * PARTS_PER_SWEEP


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b"[" * 100_000,
        b'{"version": 2, "detectors": {}}',
        b'{"version": 1, "detectors": {"burst": 3}}',
        b'{"version": 1, "detectors": {"burst": {"spiffe://a/b": {"peaks": []}}}}',
        b'{"version": 1, "detectors": {"novelty": {"spiffe://a/b": {"hours": [[1, 1]]}}}}',
    ],
)
async def test_what_cannot_be_read_is_learned_anew_and_said(body: bytes) -> None:
    house = House()
    await house.store.open()
    await house.store.put_snapshot(NAME, body)
    await house.baselines.start()
    [record] = house.book.records
    assert isinstance(record, Observed)
    assert record.what == LOST
    with pytest.raises(NotFound):
        house.baselines.show(AGENT)
    house.worker().work(["look"])
    assert house.baselines.show(AGENT).detectors[0].runs == 1


async def test_one_detector_that_cannot_be_read_costs_the_others_nothing() -> None:
    house = await taught()
    await house.baselines.save()
    kept = msgspec.json.decode(await house.store.get_snapshot(NAME) or b"", type=Snapshot)
    broken = {**kept.detectors, "burst": [], "one that is gone": {AGENT: 1}}
    await house.store.put_snapshot(
        NAME, msgspec.json.encode(msgspec.structs.replace(kept, detectors=broken))
    )
    again = house.again()
    await again.baselines.start()
    assert [each.detector for each in again.baselines.show(AGENT).detectors] == ["novelty"]
    assert len(again.book.records) == 1


async def test_a_ledger_that_is_full_does_not_keep_a_plane_from_starting() -> None:
    house = House()
    await house.store.open()
    await house.store.put_snapshot(NAME, b"{")
    house.book.available = False
    await house.baselines.start()


async def test_a_store_that_fails_is_tried_again() -> None:
    store = Failing()
    house = await taught(store)
    store.fails = True
    with pytest.raises(StoreUnavailable):
        await house.baselines.save()
    with pytest.raises(StoreUnavailable):
        await house.baselines.sweep()
    store.fails = False
    await house.baselines.sweep()
    again = house.again()
    await again.baselines.start()
    assert again.baselines.show(AGENT) == house.baselines.show(AGENT)


async def test_what_is_usual_is_said_in_words() -> None:
    house = await taught()
    burst, novelty = house.baselines.show(AGENT).detectors
    assert (burst.detector, burst.runs, burst.days, burst.warm) == ("burst", 25, 1, True)
    assert burst.usual[0] == "at most 3 calls within 60 seconds"
    assert novelty.usual[0] == "tools (3): crm/list, crm/look, crm/write"


async def test_a_workload_that_never_ended_a_run_is_not_known() -> None:
    house = House()
    house.worker().call("look", "run_open")
    with pytest.raises(NotFound, match="Nothing is known of what is usual for spiffe"):
        house.baselines.show(AGENT)


async def test_forgetting_is_recorded_and_lasts() -> None:
    house = await taught()
    await house.baselines.save()
    await house.baselines.forget(AGENT, OPERATOR)
    [record] = house.book.records
    assert isinstance(record, Changed)
    assert (record.what, record.author, record.details) == (
        FORGET,
        OPERATOR.name,
        {"workload": AGENT},
    )
    again = house.again()
    await again.baselines.start()
    for each in (house, again):
        with pytest.raises(NotFound):
            each.baselines.show(AGENT)


async def test_what_cannot_be_recorded_is_not_forgotten() -> None:
    house = await taught()
    house.book.available = False
    with pytest.raises(LedgerUnavailable):
        await house.baselines.forget(AGENT, OPERATOR)
    assert house.baselines.show(AGENT).detectors


async def test_nobody_forgets_what_is_not_known() -> None:
    house = House()
    with pytest.raises(NotFound):
        await house.baselines.forget(AGENT, OPERATOR)
    assert house.book.records == []


async def test_a_run_that_was_fine_is_accepted_and_it_is_recorded_who_did() -> None:
    house = House()
    pipeline = Worker(*house.detectors, pipeline=True)
    for _ in range(WARM_JOBS):
        pipeline.work(["checkout"])
    run = pipeline.open()
    for _ in range(2):
        pipeline.call("announce", run, effect=Effect.SEND)
    with pytest.raises(NotFound):
        await house.baselines.accept(run, OPERATOR)  # it goes on
    pipeline.end(run)
    assert await house.baselines.accept(run, OPERATOR) == AGENT
    [record] = house.book.records
    assert isinstance(record, Changed)
    assert (record.what, record.details) == (ACCEPT, {"run": run, "workload": AGENT})
    assert pipeline.work(["announce"], effects=["announce"]) == []
    with pytest.raises(NotFound, match="no run"):
        await house.baselines.accept(run, OPERATOR)
