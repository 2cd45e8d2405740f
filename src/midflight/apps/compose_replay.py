"""Wiring for replays: the real services and the real engine, over memory, with nobody behind them.

A `House` holds what cases of one manifest share: the policies, the pinned tools with their traits,
the recorded upstreams. A `ReplayPlane` is what `compose.Plane` is to the gateway, over a store of
its own, so that what one case leaves behind (labels, runs, approvals) no other one finds. Only what
a run-time needs is here: no sockets, no tokens, no sealed ledger on disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

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
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Decision, Permit
from midflight.domain.errors import Misconfigured
from midflight.domain.flow.atoms import same, shape
from midflight.domain.flow.subject import subject, values
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.monitor import Monitor
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.run import Run
from midflight.domain.tool import Definition, Pin, PinnedKind
from midflight.domain.traits import KEY_ROLES, Reach, Role, Traits
from midflight.domain.value import JSONObject
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
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

TRUST_DOMAIN = "replay.midflight.internal"
WORKLOAD = f"spiffe://{TRUST_DOMAIN}/agents/recorded"
OWNER = "recorded-owner"
OPENER = Author(name="replay", proof="replay")
_DAY_S = 86_400
_COUNTERPARTIES = frozenset({Role.RECIPIENT, Role.ACCOUNT, Role.URL})
# A recorded run may be longer than any plane would let one be; that is not what is measured.
_BOUNDS = Bounds(ttl_s=_DAY_S, idle_timeout_s=_DAY_S, max_steps=1_000_000, implicit=False)


class KnownValues:
    """Whom an owner deals with, as far as a replay knows. Implements flow's `Known`.

    One owner stands behind all recorded runs, so `owner` tells nothing apart.
    """

    def __init__(self) -> None:
        self._values: set[str] = set()

    def add(self, texts: Iterable[str]) -> None:
        """These are known from now on."""
        self._values.update(same(text, shape(text)) for text in texts)

    def is_known(self, owner: str, value: str) -> bool:
        """Whether a value in strict form is known."""
        del owner
        return value in self._values


class Witness:
    """The Cedar engine, and the question that it was asked last: the facts behind a decision."""

    def __init__(self, engine: CedarEngine) -> None:
        """Everything is asked of `engine`."""
        self._engine = engine
        self._approved = False
        self.asked: Question | None = None
        self.said: Decision | None = None

    @property
    def version(self) -> str:
        """Of the active set."""
        return self._engine.version

    def approve_next(self) -> None:
        """Ask the next question as if a person had approved it."""
        self._approved = True

    def decide(self, question: Question) -> Decision:
        """Decide, and remember what was asked."""
        if self._approved:
            self._approved = False
            question = msgspec.structs.replace(question, approved=True)
        self.asked, self.said = question, self._engine.decide(question)
        return self.said

    def forget(self) -> None:
        """What comes next is another action."""
        self.asked = self.said = None

    def visible(
        self,
        targets: Sequence[Target],
        *,
        workload: Workload,
        run: RunFacts,
        source: Source,
        at: int,
        kind: ActionKind = ActionKind.CALL_TOOL,
    ) -> frozenset[str]:
        """See `PolicyEngine`."""
        return self._engine.visible(
            targets, workload=workload, run=run, source=source, at=at, kind=kind
        )

    def register(self, targets: Sequence[Target]) -> None:
        """See `PolicyEngine`."""
        self._engine.register(targets)


class ReplayPlane:
    """A plane for one case, or for several that may know of each other."""

    def __init__(self, house: House, *, known: KnownValues, own_domains: frozenset[str]) -> None:
        """Wire it; `running` starts it."""
        clock, ledger = house.clock, house.ledger
        self.house = house
        self.witness = house.witness
        self.known = known
        self.store = MemoryStore()
        self.sealer = Sealer(self.store, house.wrap, clock)
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
            known=known,
            own_domains=own_domains,
        )
        # Nothing was counted before a case, so there is no history to restore.
        self.monitors = Monitors(clock)
        self.monitors.declare(house.monitors)
        self.monitors.resume(key=os.urandom(32), at=0)
        self.canaries = Canaries(
            store=self.store, sealer=self.sealer, runs=self.runs, recorder=ledger, clock=clock
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
            canaries=self.canaries,
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
        now = int(self.house.clock.now())
        await self.inventory.register(
            Workload(id=WORKLOAD, owner=OWNER, escalation=OWNER, review_by=now + _DAY_S), OPENER
        )
        try:
            yield self
        finally:
            await self.fabric.close()
            await self.store.close()

    async def open_run(self, intent: str | None, *, principal: str = "") -> tuple[Run, Caller]:
        """A fresh run for what the principal asked, and the agent in it."""
        del principal  # no service takes it yet
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

    def say(self, run: Run, text: str) -> None:
        """The principal says something more."""
        self.flow.add_intent(run.id, text)

    async def endorse(self, run: Run, action: Action, *, remember: bool) -> None:
        """A person has approved the action: what it names counts as the principal's own.

        With `remember` whom it reaches is known in later runs, too.
        """
        target = self.target(action)
        definition = self.house.catalogue.tool(action.upstream, action.name)
        if target is None or definition is None:
            return
        said = definition.body.get("description")
        tool = subject(target.name, said if isinstance(said, str) else "", target.traits)
        named = list(values(tool, action.arguments))
        await self.flow.endorse(run.id, [text for role, text in named if role in KEY_ROLES])
        if remember:
            self.known.add(text for role, text in named if role in _COUNTERPARTIES)

    def will_answer(self, upstream: str, result: JSONObject) -> None:
        """What the upstream answers if the next call is let through."""
        recorded = self.house.upstreams.get(upstream)
        if recorded is not None:
            recorded.says(result)

    def target(self, action: Action) -> Target | None:
        """What an action acts on, with its traits."""
        return self.house.catalogue.target(action)


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
        self, *, known: KnownValues | None = None, own_domains: frozenset[str] = frozenset()
    ) -> ReplayPlane:
        """A fresh plane, whose owner knows these."""
        return ReplayPlane(self, known=known or KnownValues(), own_domains=own_domains)


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
    "OWNER",
    "WORKLOAD",
    "House",
    "KnownValues",
    "ReplayPlane",
    "Witness",
    "open_house",
]
