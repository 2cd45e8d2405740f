"""Wiring for replays: the real services and the real engine, over memory, with nobody behind them.

A `House` holds what cases of one manifest share: the policies, the pinned tools with their traits,
the recorded upstreams. A `ReplayPlane` is what `compose.Plane` is to the gateway, over a store of
its own, so that what one case leaves behind (labels, runs, approvals) no other one finds. Only what
a run-time needs is here: no sockets, no tokens, no sealed ledger on disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from midflight import __version__
from midflight.adapters.clock import SystemClock
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.adapters.upstream.recorded import RecordedUpstream
from midflight.apps.redteam.people import OWNER, REMEMBER_S
from midflight.apps.redteam.witness import Witness
from midflight.domain.action import Action
from midflight.domain.counterparty import canonical_value
from midflight.domain.decision import Decision, Permit
from midflight.domain.errors import Misconfigured
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.monitor import Monitor
from midflight.domain.question import Target
from midflight.domain.run import Run
from midflight.domain.tool import Definition, Pin, PinnedKind
from midflight.domain.traits import Reach, Role, Traits
from midflight.domain.value import JSONObject
from midflight.services.approval_desk import ApprovalDesk
from midflight.services.approvals import Approvals, rejudging
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
from midflight.services.counterparties import Counterparties
from midflight.services.detection import Detection
from midflight.services.flow import Flow
from midflight.services.flow_marks import Marks
from midflight.services.guard import Guard
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ledger import Ledger
from midflight.services.monitors import Monitors
from midflight.services.obligations import Obligations
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import Severity
from midflight.services.runs import Bounds, Runs
from midflight.services.sealing import Sealer
from midflight.services.task_flights import TaskFlights
from midflight.services.turns import Turns

TRUST_DOMAIN = "replay.midflight.internal"
WORKLOAD = f"spiffe://{TRUST_DOMAIN}/agents/recorded"
OPENER = Author(name="replay", proof="replay")
_DAY_S = 86_400
# A recorded run may be longer than any plane would let one be; that is not what is measured.
_BOUNDS = Bounds(ttl_s=_DAY_S, idle_timeout_s=_DAY_S, max_steps=1_000_000, implicit=False)


class ReplayPlane:
    """A plane for one case, or for several that may know of each other."""

    def __init__(
        self,
        house: House,
        *,
        counterparties: Counterparties | None = None,
        own_domains: frozenset[str] = frozenset(),
        detection: Detection | None = None,
    ) -> None:
        """Wire it; `running` starts it.

        What outlives it: `counterparties`, an owner's list, and `detection`, which sees its actions
        and which the caller tells of runs that ended.
        """
        clock, ledger = house.clock, house.ledger
        self.house = house
        self.witness = house.witness
        self.store = MemoryStore()
        self.sealer = Sealer(self.store, house.wrap, clock)
        self.counterparties = counterparties or Counterparties(
            store=self.store, sealer=self.sealer, recorder=ledger, clock=clock
        )
        self.inventory = Inventory(
            store=self.store, recorder=ledger, clock=clock, trust_domain=TRUST_DOMAIN
        )
        self.fabric = LocalFabric()
        self.interruption = Interruption(
            store=self.store, fabric=self.fabric, recorder=ledger, clock=clock
        )
        self.runs = Runs(
            store=self.store,
            recorder=ledger,
            sealer=self.sealer,
            clock=clock,
            bounds=_BOUNDS,
            entitled=_entitled,
            revocation=self.interruption.revocation_of,
        )
        self.marks = Marks(store=self.store, sealer=self.sealer, clock=clock, recorder=ledger)
        self.flow = Flow(
            store=self.store,
            sealer=self.sealer,
            marks=self.marks,
            definition=house.catalogue.tool,
            known=self.counterparties,
            endorsed=self._endorsed,
            own_domains=own_domains,
        )
        # Nothing was counted before a case, so there is no history to restore.
        self.monitors = Monitors(clock)
        self.monitors.declare(house.monitors)
        self.monitors.resume(key=os.urandom(32), at=0)
        self.canaries = Canaries(
            store=self.store, sealer=self.sealer, runs=self.runs, recorder=ledger, clock=clock
        )
        self.approvals = Approvals(
            store=self.store,
            sealer=self.sealer,
            recorder=ledger,
            engine=house.witness,
            clock=clock,
            target=house.catalogue.target,
            workload=self.inventory.current,
            refresh=rejudging(self.flow, self.monitors),
        )
        self.approval_desk = ApprovalDesk(
            store=self.store,
            sealer=self.sealer,
            recorder=ledger,
            clock=clock,
            counterparties=self.counterparties,
            groups={},
            endorser=self.flow,
            now=self.approvals.now,
        )
        self.turns = Turns(
            runs=self.runs,
            store=self.store,
            sealer=self.sealer,
            recorder=ledger,
            clock=clock,
            said=self.flow.add_intent,
        )
        self.guard = Guard(
            catalogue=house.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=house.witness,
            monitors=self.monitors,
            recorder=ledger,
            sealer=self.sealer,
            upstreams=house.upstreams,
            clock=clock,
            telemetry=QuietTelemetry(),
            flow=self.flow,
            obligations=Obligations(sealer=self.sealer, clock=clock),
            task_flights=TaskFlights(
                interruption=self.interruption,
                store=self.store,
                upstreams=house.upstreams,
                recorder=ledger,
                clock=clock,
            ),
            canaries=self.canaries,
            approvals=self.approvals,
            detection=detection,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[ReplayPlane]:
        """Start it with its one workload, and stop it."""
        await self.store.open()
        await self.inventory.refresh()
        await self.marks.start()
        await self.canaries.start()
        await self.interruption.start()
        self.runs.on_ended(self.flow.ended)
        await self.runs.start()
        await self.counterparties.refresh()
        now = int(self.house.clock.now())
        await self.inventory.register(
            Workload(id=WORKLOAD, owner=OWNER, escalation=OWNER, review_by=now + _DAY_S), OPENER
        )
        try:
            yield self
        finally:
            await self.fabric.close()
            await self.store.close()

    async def open_run(self, intent: str | None) -> tuple[Run, Caller]:
        """A fresh run for what the principal asked, and the agent in it."""
        workload = self.inventory.current(WORKLOAD)
        assert workload is not None
        run = await self.runs.open_run(workload=workload, intent=intent, author=OPENER)
        caller = Caller(
            workload=WORKLOAD, run=run.id, token="", proof="replay", expires_at=run.expires_at
        )
        return run, caller

    async def close_run(self, run: Run) -> None:
        """The case is over."""
        await self.runs.close_run(run.id, author=OPENER)
        await self.approvals.run_ended(run.id)

    async def say(self, run: Run, text: str) -> None:
        """The principal says something more, through whoever opened the run."""
        await self.turns.say(run.id, text, author=OPENER)

    async def know(self, values: Sequence[tuple[Role, str]]) -> None:
        """The owner deals with these, and had said so before."""
        unknown = [
            (role, text)
            for role, text in values
            if not self.counterparties.is_known(OWNER, canonical_value(text))
        ]
        if unknown:
            await self.counterparties.add(OWNER, unknown, for_s=REMEMBER_S, author=OPENER)

    def will_answer(self, upstream: str, result: JSONObject) -> None:
        """What the upstream answers if the next call is let through."""
        recorded = self.house.upstreams.get(upstream)
        if recorded is not None:
            recorded.says(result)

    def target(self, action: Action) -> Target | None:
        """What an action acts on, with its traits."""
        return self.house.catalogue.target(action)

    async def _endorsed(self, run: str) -> Sequence[str]:
        return await self.approvals.endorsed(run)


class House:
    """What the cases of one manifest share. Start it with `open_house`."""

    def __init__(self, manifest: Mapping[str, Sequence[JSONObject]]) -> None:
        """`manifest`: upstream to the tools that it lists."""
        self.clock = SystemClock()
        self.wrap = AesKeyWrap.fresh()
        self.engine = CedarEngine()
        self.monitors: Sequence[Monitor] = ()
        self.witness = Witness(self.engine)
        self.store = MemoryStore()
        self.ledger = Ledger(MemoryLedgerStore(), signer=None, clock=self.clock)
        self.upstreams = {name: RecordedUpstream(name, tools) for name, tools in manifest.items()}
        self.catalogue = Catalogue(
            upstreams=self.upstreams,
            reaches=dict.fromkeys(manifest, Reach.OPEN),
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            engine=self.witness,
            max_age_s=_DAY_S,
        )

    def plane(
        self,
        *,
        counterparties: Counterparties | None = None,
        own_domains: frozenset[str] = frozenset(),
        detection: Detection | None = None,
    ) -> ReplayPlane:
        """A fresh plane; see there."""
        return ReplayPlane(
            self, counterparties=counterparties, own_domains=own_domains, detection=detection
        )

    async def counterparties(self) -> Counterparties:
        """A list of the owner's that several planes may share, in a store of its own."""
        store = MemoryStore()
        await store.open()
        sealer = Sealer(store, self.wrap, self.clock)
        return Counterparties(store=store, sealer=sealer, recorder=self.ledger, clock=self.clock)


@asynccontextmanager
async def open_house(
    manifest: Mapping[str, Sequence[JSONObject]],
    *,
    policies: Path,
    traits: Mapping[tuple[str, str], Traits],
) -> AsyncGenerator[House]:
    """Pin every tool of the manifest with its traits, under these policies.

    Raises:
        Misconfigured: the policies are not usable, or do not fit the tools.
    """
    house = House(manifest)
    await house.store.open()
    for upstream, tools in manifest.items():
        for tool in tools:
            name = str(tool["name"])
            definition = Definition(upstream=upstream, kind=PinnedKind.TOOL, name=name, body=tool)
            await house.store.put_pin(
                Pin(
                    upstream=upstream,
                    kind=PinnedKind.TOOL,
                    name=name,
                    digest=definition.digest(),
                    body=tool,
                    traits=traits[upstream, name],
                    by=OPENER.name,
                )
            )
    compiler = CedarCompiler()
    sources = await asyncio.to_thread(read_sources, policies)
    if not sources:
        raise Misconfigured(
            f"{policies} holds no policies.", hint="Name a directory of Cedar files."
        )
    chosen = await asyncio.to_thread(compiler.parse, sources)
    house.engine.activate(chosen)
    house.monitors = chosen.monitors
    await house.ledger.start(__version__, house.engine.version)
    try:
        await house.catalogue.start()
        for upstream in manifest:
            await house.catalogue.refresh(upstream)
        found = await asyncio.to_thread(compiler.inspect, chosen, house.engine.targets)
        problems = [str(one) for one in found if one.severity is Severity.ERROR]
        if problems:
            raise Misconfigured("The policies do not fit the tools.", problems)
        yield house
    finally:
        await house.catalogue.close()
        await house.ledger.close()
        await house.store.close()


def _entitled(workload: Workload, opener: str, proof: str) -> Decision:
    # Who may open runs is no part of what is measured.
    del workload, opener, proof
    return Permit(version="", reasons=())


__all__ = [
    "OPENER",
    "WORKLOAD",
    "House",
    "ReplayPlane",
    "open_house",
]
