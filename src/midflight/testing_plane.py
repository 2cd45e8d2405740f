"""A whole plane in memory, for Midflight's tests and those of its users.

Real services over in-memory adapters; what stands in is the upstream (`ScriptedUpstream`) and,
where a test wants to say what policy answers, the engine (`FixedEngine`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.action import Action, ActionKind
from midflight.domain.decision import Decision, Deny, DenyCode, Permit, Reason
from midflight.domain.identity import Author, Caller, Workload
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.records import Record
from midflight.domain.tool import Reach, Traits
from midflight.domain.value import JSONObject
from midflight.services.catalogue import Catalogue
from midflight.services.guard import Guard
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ledger import Ledger
from midflight.services.listing import Listing
from midflight.services.ports.clock import Clock
from midflight.services.ports.ledger_store import LedgerStore
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.store import Store
from midflight.services.ports.upstream import (
    ClientRequest,
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    ServerInfo,
    Sink,
)
from midflight.services.runs import Bounds, Runs, over
from midflight.services.sealing import Sealer
from midflight.testing import FakeClock

WORKLOAD = "spiffe://test.midflight.internal/agents/one"
OPERATOR = Author(name="olivia", proof="peer-uid:1000")

Script = Callable[[Action, Flight, Sink], Awaitable[Reply]]


class FixedEngine:
    """A policy engine that answers what the test says; `ask` is called with each question."""

    def __init__(self, ask: Callable[[Question], Decision] | None = None) -> None:
        """Without `ask` everything is permitted."""
        self.ask = ask
        self.questions: list[Question] = []
        self._version = "fixed"

    @property
    def version(self) -> str:
        """Always the same."""
        return self._version

    def decide(self, question: Question) -> Decision:
        """What `ask` says."""
        self.questions.append(question)
        if self.ask is not None:
            return self.ask(question)
        return Permit(version=self._version, reasons=(Reason(policy="fixed"),))

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
        """Everything."""
        del workload, run, source, at, kind
        return frozenset(target.name for target in targets)

    def register(self, targets: Sequence[Target]) -> None:
        """Nothing to do."""


class Quiet:
    """Telemetry for tests: keeps what it is told."""

    def __init__(self) -> None:
        """Empty."""
        self.actions: list[tuple[str, str]] = []
        self.counts: dict[str, int] = {}

    def action(self, *, kind: str, upstream: str, state: str, code: str, seconds: float) -> None:
        """Keep it."""
        del kind, upstream, seconds
        self.actions.append((state, code))

    def decided(self, *, seconds: float) -> None:
        """Ignore it."""

    def gauge(self, name: str, value: float) -> None:
        """Ignore it."""

    def count(self, name: str, amount: int = 1) -> None:
        """Add it up."""
        self.counts[name] = self.counts.get(name, 0) + amount


class ScriptedUpstream:
    """An upstream whose tools are coroutines of the test.

    It behaves as adapters must: it looks at the flight in the turn of the write, counts bytes,
    and fails at once when it is cut.
    """

    def __init__(self, name: str, tools: Sequence[JSONObject]) -> None:
        """`tools` are definitions as served; every one answers `{"content": []}` until scripted."""
        self.name = name
        self.tools = list(tools)
        self.scripts: dict[str, Script] = {}
        self.received: list[Action] = []
        self.ended: list[str] = []

    async def start(self, notices: NoticeHandler) -> None:
        """Keep the handler, for tests that send notices."""
        self.notices = notices

    async def describe(self) -> ServerInfo:
        """A modern server with tools."""
        return ServerInfo(modern=True, version="2026-07-28", capabilities={"tools": {}}, info={})

    async def call(self, action: Action, *, seat: RunSeat, flight: Flight, sink: Sink) -> Reply:
        """Run the script of the tool."""
        if action.kind is ActionKind.LIST:
            return Reply(result={"tools": self.tools})
        del seat
        cut: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        flight.on_cut(lambda _: None if cut.done() else cut.set_result(None))
        flight.look()
        self.received.append(action)
        flight.left(100)
        script = self.scripts.get(action.name)
        if script is None:
            return Reply(result={"content": []}, bytes_in=10)
        task = asyncio.ensure_future(script(action, flight, sink))
        try:
            await asyncio.wait({task, cut}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            flight.look()
            raise AssertionError("a cut flight must not look well")
        finally:
            task.cancel()
            cut.cancel()

    async def end_run(self, run: str) -> None:
        """Note it."""
        self.ended.append(run)

    async def close(self) -> None:
        """Nothing to stop."""


class ListSink:
    """A client that keeps what it is sent and answers questions from a list."""

    takes_input_required = False

    def __init__(
        self, answers: Sequence[JSONObject] = (), capabilities: JSONObject | None = None
    ) -> None:
        """`answers` are given in order."""
        self.capabilities = capabilities or {}
        self.notified: list[tuple[str, JSONObject]] = []
        self.asked: list[ClientRequest] = []
        self._answers = list(answers)

    async def notify(self, method: str, params: JSONObject) -> None:
        """Keep it."""
        self.notified.append((method, params))

    async def ask(self, request: ClientRequest) -> JSONObject:
        """The next answer."""
        self.asked.append(request)
        return self._answers.pop(0)


class MemoryPlane:
    """Real services over in-memory adapters, one upstream named `one`."""

    def __init__(
        self,
        *,
        upstream: ScriptedUpstream,
        engine: PolicyEngine | None = None,
        store: Store | None = None,
        ledger_store: LedgerStore | None = None,
        clock: Clock | None = None,
        reach: Reach = Reach.OPEN,
        bounds: Bounds | None = None,
    ) -> None:
        """Wire it; `start` it before use."""
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        self.ledger_store = ledger_store or MemoryLedgerStore()
        self.engine: PolicyEngine = engine or FixedEngine()
        self.upstream = upstream
        self.telemetry = Quiet()
        self.ledger = Ledger(self.ledger_store, signer=None, clock=self.clock)
        self.sealer = Sealer(self.store, AesKeyWrap.fresh(), self.clock)
        self.inventory = Inventory(
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            trust_domain="test.midflight.internal",
        )
        self.fabric = LocalFabric()
        self.interruption = Interruption(
            store=self.store, fabric=self.fabric, recorder=self.ledger, clock=self.clock
        )
        self.runs = Runs(
            store=self.store,
            recorder=self.ledger,
            sealer=self.sealer,
            clock=self.clock,
            bounds=bounds or Bounds(),
            entitled=_entitled,
            revocation=self.interruption.revocation_of,
        )
        upstreams = {upstream.name: upstream}
        self.catalogue = Catalogue(
            upstreams=upstreams,
            reaches={upstream.name: reach},
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            engine=self.engine,
        )
        self.guard = Guard(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            recorder=self.ledger,
            sealer=self.sealer,
            upstreams=upstreams,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.listing = Listing(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            clock=self.clock,
        )

    async def start(self, *, register: bool = True) -> None:
        """Start the services and register the workload `WORKLOAD`."""
        await self.store.open()
        await self.ledger.start("test", "fixed")
        await self.inventory.refresh()
        await self.interruption.start()
        self.runs.on_ended(
            lambda run, state: self.interruption.run_ended(run, over(run, state))
        )
        await self.runs.start()
        await self.catalogue.start()
        await self.catalogue.refresh(self.upstream.name)
        if register:
            await self.inventory.register(
                Workload(
                    id=WORKLOAD,
                    owner="team-one",
                    escalation="oncall",
                    review_by=int(self.clock.now()) + 86_400,
                ),
                OPERATOR,
            )

    async def pin(self, name: str, traits: Traits) -> None:
        """Pin a tool as it is served now."""
        await self.catalogue.pin(self.upstream.name, name, author=OPERATOR, traits=traits)

    async def close(self) -> None:
        """Stop."""
        await self.fabric.close()
        await self.ledger.close()
        await self.store.close()

    async def records(self) -> list[Record]:
        """Every record so far."""
        await self.ledger.flush()
        tail = await self.ledger.tail(1_000_000)
        return [found.record for found in tail if found.record is not None]


def _entitled(workload: Workload, opener: str, proof: str) -> Decision:
    del workload, opener, proof
    return Permit(version="fixed", reasons=())


def caller(run: str | None = None, *, workload: str = WORKLOAD, token: str = "tok_1") -> Caller:  # noqa: S107 -- an id
    """A caller as `Identity` would make it."""
    return Caller(workload=workload, run=run, token=token, proof="bearer", expires_at=4_000_000_000)


def call(tool: str, *, upstream: str = "one", **arguments: object) -> Action:
    """A tool call."""
    return Action(
        kind=ActionKind.CALL_TOOL,
        upstream=upstream,
        name=tool,
        method="tools/call",
        arguments=dict(arguments),
    )


def refuse(text: str = "no") -> Deny:
    """A refusal of policy."""
    return Deny(version="fixed", code=DenyCode.POLICY, reasons=(Reason(policy="p", text=text),))


__all__ = [
    "OPERATOR",
    "WORKLOAD",
    "FixedEngine",
    "ListSink",
    "MemoryPlane",
    "Quiet",
    "ScriptedUpstream",
    "call",
    "caller",
    "refuse",
]
