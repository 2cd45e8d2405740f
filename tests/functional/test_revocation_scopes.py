"""Every scope that can be revoked, through every verb: durable before it is acknowledged, followed
by another process, with reason, author and end, lifted by a record of its own."""

from __future__ import annotations

import pytest
from faulty_store import FaultyStore

from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.domain.errors import Conflict, Interrupted
from midflight.domain.identity import Author
from midflight.domain.records import Impact, Revoked
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import Flight
from midflight.services.interruption import Interruption
from midflight.services.ledger import Ledger
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

OPERATOR = Author(name="olivia", proof="peer-uid")
NAMES = {
    ScopeKind.RUN: "run_one",
    ScopeKind.WORKLOAD: "spiffe://example.org/agents/one",
    ScopeKind.OWNER: "ann",
    ScopeKind.TOOL: "up/send",
    ScopeKind.UPSTREAM: "up",
    ScopeKind.TOKEN: "jti-1",
    ScopeKind.EVERYTHING: "",
    ScopeKind.CREDENTIAL: "database",
    ScopeKind.TRUST_DOMAIN: "example.org",
}
ALL = frozenset(NAMES.items())
KINDS = pytest.mark.parametrize("kind", list(ScopeKind))


class Process:
    """One process over a store that several have."""

    def __init__(
        self, store: FaultyStore, clock: FakeClock, ledger_store: MemoryLedgerStore
    ) -> None:
        self.store = store
        self.ledger_store = ledger_store
        self.ledger = Ledger(ledger_store, signer=None, clock=clock)
        self.interruption = Interruption(
            store=store, fabric=LocalFabric(), recorder=self.ledger, clock=clock
        )

    async def start(self) -> Interruption:
        await self.ledger.start("test", "fixed")
        await self.interruption.start()
        return self.interruption

    async def records(self, kind: type) -> list[object]:
        await self.ledger.flush()
        tail = await self.ledger.tail(1_000)
        return [found.record for found in tail if isinstance(found.record, kind)]


async def processes(number: int) -> tuple[list[Process], FaultyStore, FakeClock]:
    store, clock = FaultyStore(), FakeClock()
    await store.open()
    found = [Process(store, clock, MemoryLedgerStore()) for _ in range(number)]
    for process in found:
        await process.start()
    return found, store, clock


def flight() -> Flight:
    """One that is in all of these scopes."""
    return Flight(
        record="rec-1",
        run="run_one",
        workload=NAMES[ScopeKind.WORKLOAD],
        upstream="up",
        name="send",
        scopes=ALL,
        began=0.0,
    )


def test_every_kind_has_a_name_here() -> None:
    assert set(NAMES) == set(ScopeKind)


@KINDS
async def test_it_is_durable_before_it_is_acknowledged_and_everybody_follows(
    kind: ScopeKind,
) -> None:
    (here, there), store, clock = await processes(2)
    ours, theirs = flight(), flight()
    here.interruption.take_off(ours)
    there.interruption.take_off(theirs)
    scope = Scope(kind=kind, id=NAMES[kind])
    receipt = await here.interruption.revoke(
        scope, reason="  turned ", author=OPERATOR, until=clock.now() + 60
    )
    (stored,) = await store.revocations()
    assert stored.revocation == receipt.revocation
    assert receipt.durable
    revocation = receipt.revocation
    assert (revocation.reason, revocation.author, revocation.proof) == (
        "turned",
        "olivia",
        "peer-uid",
    )
    with pytest.raises(Interrupted, match="turned"):
        ours.look()
    assert receipt.impact.cut == ("rec-1",)

    # Another process that is told by nobody reads the log, cuts, and records what it cut.
    theirs.look()
    await there.interruption.follow()
    with pytest.raises(Interrupted, match="turned"):
        theirs.look()
    (impact,) = await there.records(Impact)
    assert isinstance(impact, Impact)
    assert (impact.revocation, impact.cut) == (revocation.id, ("rec-1",))
    for process in (here, there):
        with pytest.raises(Interrupted):
            process.interruption.take_off(flight())
        assert len(await process.records(Revoked)) == 1

    # It ends by itself, everywhere.
    clock.advance(60)
    for process in (here, there):
        assert process.interruption.covering(ALL) is None
        process.interruption.take_off(flight())


@KINDS
async def test_lifting_it_is_a_new_record_that_everybody_follows(kind: ScopeKind) -> None:
    (here, there), store, _ = await processes(2)
    receipt = await here.interruption.revoke(
        Scope(kind=kind, id=NAMES[kind]), reason="turned", author=OPERATOR
    )
    await there.interruption.follow()
    lift = there.interruption.lift(receipt.revocation.id, reason="well", author=OPERATOR)
    if kind is ScopeKind.RUN:
        with pytest.raises(Conflict, match="has ended"):
            await lift
        return
    lifted = await lift
    await here.interruption.follow()
    for process in (here, there):
        assert process.interruption.covering(ALL) is None
        found = await process.records(Revoked)
        assert [r.lifts for r in found if isinstance(r, Revoked)] == [None, receipt.revocation.id]
    # Nothing was taken out of the log.
    assert [s.revocation for s in await store.revocations()] == [
        receipt.revocation,
        lifted.revocation,
    ]


@KINDS
async def test_it_holds_after_a_restart_and_is_recorded_once(kind: ScopeKind) -> None:
    (here,), store, clock = await processes(1)
    await here.interruption.revoke(
        Scope(kind=kind, id=NAMES[kind]), reason="turned", author=OPERATOR
    )
    again = Process(store, clock, here.ledger_store)
    await here.ledger.close()
    await again.start()
    with pytest.raises(Interrupted, match="turned"):
        again.interruption.take_off(flight())
    assert len(await again.records(Revoked)) == 1


@KINDS
async def test_a_scope_needs_what_it_names_and_a_reason(kind: ScopeKind) -> None:
    (here,), store, _ = await processes(1)
    wrong = Scope(kind=kind, id="" if NAMES[kind] else "something")
    with pytest.raises(Conflict):
        here.interruption.preview(wrong)
    with pytest.raises(Conflict):
        await here.interruption.revoke(wrong, reason="turned", author=OPERATOR)
    with pytest.raises(Conflict, match="reason"):
        await here.interruption.revoke(
            Scope(kind=kind, id=NAMES[kind]), reason=" ", author=OPERATOR
        )
    assert not await store.revocations()
