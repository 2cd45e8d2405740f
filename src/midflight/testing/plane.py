"""A whole plane in memory: real services over in-memory adapters, one scripted upstream.

Wired as `apps/compose.py` wires it, but for sockets, keys and Cedar.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from midflight.adapters.credentials.decoy import DecoyBackend
from midflight.adapters.credentials.memory import MemoryServer
from midflight.adapters.credentials.oauth import SubjectToken
from midflight.adapters.credentials.sealed import SealedBackend
from midflight.adapters.fabric.local import LocalFabric
from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.store.ledger_memory import MemoryLedgerStore
from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.telemetry.quiet import QuietTelemetry
from midflight.apps.compose_backends import RequestSigners
from midflight.apps.compose_broker import BrokerParts
from midflight.apps.compose_detectors import watch
from midflight.apps.compose_responses import Responding
from midflight.domain.decision import Decision, Permit
from midflight.domain.errors import MidflightError
from midflight.domain.identity import Workload
from midflight.domain.lease import DECOY
from midflight.domain.records import Record
from midflight.domain.revocation import Revocation
from midflight.domain.run import RunState
from midflight.domain.traits import Reach, Traits
from midflight.services.approval_desk import ApprovalDesk
from midflight.services.approvals import MAX_PENDING, Approvals, rejudging
from midflight.services.baselines import Baselines
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
from midflight.services.counterparties import Counterparties
from midflight.services.delegation import Delegation
from midflight.services.detection import Detection, Detector
from midflight.services.detectors.plain import Plain
from midflight.services.echoes import Echoes, ScrubbedUpstream
from midflight.services.flow import Flow
from midflight.services.flow_marks import Marks
from midflight.services.guard import Guard
from midflight.services.injection import Injecting, Signers
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ledger import Ledger
from midflight.services.listing import Listing
from midflight.services.monitor_history import MonitorHistory
from midflight.services.monitors import Monitors
from midflight.services.obligations import Obligations
from midflight.services.ports.clock import Clock
from midflight.services.ports.endorser import Endorser
from midflight.services.ports.leases import Leases
from midflight.services.ports.ledger_store import LedgerStore
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.secret_reader import BackendMaker
from midflight.services.ports.store import Store
from midflight.services.ports.upstream import Upstream
from midflight.services.runs import Bounds, Runs, over
from midflight.services.sealing import Sealer
from midflight.services.survey import Surveyor
from midflight.services.task_flights import TaskFlights
from midflight.services.telling import Findings
from midflight.services.turns import Turns
from midflight.testing.clock import FakeClock
from midflight.testing.engine import FixedEngine
from midflight.testing.upstream import ScriptedUpstream
from midflight.testing.words import OPERATOR, WORKLOAD


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
        groups: Mapping[str, Sequence[str]] | None = None,
        max_pending: int = MAX_PENDING,
        endorser: Endorser | None = None,
        own_domains: Sequence[str] = (),
        makers: Mapping[str, BackendMaker] | None = None,
        leases: Leases | None = None,
        signers: Signers | None = None,
        subject_token: SubjectToken | None = None,
        lists_with: str | None = None,
        detectors: Sequence[Detector] = (),
        plain: Plain | None = None,
    ) -> None:
        """Wire it; `start` it before use. `plain`: detectors beside `detectors`.

        Leases of its own broker are placed with `lists_with`, which is as of `[[upstream]]`, and
        those of `leases` otherwise.
        """
        self.clock = clock or FakeClock()
        self.store = store or MemoryStore()
        self.ledger_store = ledger_store or MemoryLedgerStore()
        self.engine: PolicyEngine = engine or FixedEngine()
        self.upstream = upstream
        self.telemetry = QuietTelemetry()
        self.ledger = Ledger(self.ledger_store, signer=None, clock=self.clock)
        # One key for all planes, so that a plane over the same store is the same one started again.
        wrap = AesKeyWrap(bytes(32))
        self.sealer = Sealer(self.store, wrap, self.clock)
        self.monitors = Monitors(self.clock)
        self.monitor_history = MonitorHistory(
            self.monitors, store=self.store, ledger=self.ledger, wrap=wrap, clock=self.clock
        )
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
        self.delegation = Delegation(
            runs=self.runs,
            inventory=self.inventory,
            interruption=self.interruption,
            engine=self.engine,
            monitors=self.monitors,
            store=self.store,
            sealer=self.sealer,
            clock=self.clock,
            bounds=bounds or Bounds(),
        )
        self.server = MemoryServer()
        leasing = BrokerParts(
            store=self.store,
            recorder=self.ledger,
            wrap=wrap,
            clock=self.clock,
            telemetry=self.telemetry,
            engine=self.engine,
            interruption=self.interruption,
            monitors=self.monitors,
            makers=makers
            or {"memory": self.server.maker, "sealed": SealedBackend, DECOY: DecoyBackend},
            subject_token=subject_token,
        )
        self.broker, self.credentials = leasing.broker, leasing.credentials
        self.reaper, self.sealed_secrets = leasing.reaper, leasing.sealed
        self.logins = leasing.logins
        self.echoes = Echoes(recorder=self.ledger, clock=self.clock, telemetry=self.telemetry)
        upstreams: dict[str, Upstream] = {upstream.name: ScrubbedUpstream(upstream, self.echoes)}
        self.catalogue = Catalogue(
            upstreams=upstreams,
            reaches={upstream.name: reach},
            store=self.store,
            recorder=self.ledger,
            clock=self.clock,
            engine=self.engine,
        )
        self.marks = Marks(
            store=self.store, sealer=self.sealer, clock=self.clock, recorder=self.ledger
        )
        self.counterparties = Counterparties(
            store=self.store, sealer=self.sealer, recorder=self.ledger, clock=self.clock
        )
        self.flow = Flow(
            store=self.store,
            sealer=self.sealer,
            marks=self.marks,
            definition=self.catalogue.tool,
            known=self.counterparties,
            endorsed=self._endorsed,
            own_domains=frozenset(own_domains),
        )
        self.approvals = Approvals(
            store=self.store,
            sealer=self.sealer,
            recorder=self.ledger,
            engine=self.engine,
            clock=self.clock,
            target=self.catalogue.target,
            workload=self.inventory.current,
            max_pending=max_pending,
            refresh=rejudging(self.flow, self.monitors),
        )
        self.desk = ApprovalDesk(
            store=self.store,
            sealer=self.sealer,
            recorder=self.ledger,
            clock=self.clock,
            endorser=endorser or self.flow,
            counterparties=self.counterparties,
            groups=groups or {},
            settled=self.approvals.settled,
            now=self.approvals.now,
        )
        self.turns = Turns(
            runs=self.runs,
            store=self.store,
            sealer=self.sealer,
            recorder=self.ledger,
            clock=self.clock,
            said=self.flow.add_intent,
        )
        self.obligations = Obligations(sealer=self.sealer, clock=self.clock)
        self.canaries = Canaries(
            store=self.store,
            sealer=self.sealer,
            runs=self.runs,
            recorder=self.ledger,
            clock=self.clock,
        )
        if lists_with is not None:
            leases, signers = self.broker, signers or RequestSigners(clock=self.clock)
        self.injecting = (
            None
            if leases is None
            else Injecting(
                leases=leases,
                signers=signers,
                interruption=self.interruption,
                echoes=self.echoes,
                upstreams=upstreams,
            )
        )
        self.lending = None
        if self.injecting is not None and lists_with is not None:
            names = {upstream.name: lists_with} if lists_with else {}
            self.lending = leasing.lending(self.injecting, to=self.catalogue, names=names)
        self.detection = Detection(
            (*detectors, *(() if plain is None else plain.all)),
            recorder=self.ledger,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.findings = watch(
            plain or Plain(),
            Findings(self.detection, clock=self.clock, current=self.inventory.current),
            canaries=self.canaries,
            catalogue=self.catalogue,
            broker=self.broker,
        )
        self.baselines = Baselines(
            detectors, store=self.store, recorder=self.ledger, clock=self.clock
        )
        self.detection.respond_with(self.baselines.found)
        responding = Responding(
            store=self.store,
            recorder=self.ledger,
            interruption=self.interruption,
            runs=self.runs,
            inventory=self.inventory,
            clock=self.clock,
            telemetry=self.telemetry,
        )
        self.responses, self.response_desk = responding.responses, responding.desk
        self.detection.respond_with(self.responses.found)
        self.guard = Guard(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            monitors=self.monitors,
            recorder=self.ledger,
            sealer=self.sealer,
            upstreams=upstreams,
            clock=self.clock,
            telemetry=self.telemetry,
            flow=self.flow,
            approvals=self.approvals,
            obligations=self.obligations,
            canaries=self.canaries,
            injecting=self.injecting,
            detection=self.detection,
            task_flights=TaskFlights(
                interruption=self.interruption,
                store=self.store,
                upstreams=upstreams,
                recorder=self.ledger,
                clock=self.clock,
            ),
            responses=self.responses,
        )
        self.listing = Listing(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            clock=self.clock,
        )
        self._beside, self._tasks = set[asyncio.Task[None]](), contextlib.AsyncExitStack()

    async def start(self, *, register: bool = True, fetch: bool = True) -> None:
        """Start the services, register the workload `WORKLOAD` and `fetch` the upstream's lists."""
        await self.store.open()
        await self.ledger.start("test", "fixed")
        await self.inventory.refresh()
        await self.marks.start()
        await self.canaries.start()
        await self.obligations.limits.start(self.ledger)
        self.interruption.on_revoked(self._revoked)
        await self.interruption.start()
        self.runs.on_ended(self._run_ended)
        self.runs.on_ended(self.flow.ended)
        self.runs.on_returned(self.flow.returned)
        await self.monitor_history.start()
        await self.baselines.start()
        await self.responses.start()
        self.interruption.on_revoked(self.broker.revoked)
        self.interruption.survey_with(Surveyor(runs=self.runs, leases=self.broker).reached)
        self.interruption.show_lent(self.broker.lent)
        self.broker.on_gone(self.guard.task_flights.lease_gone)
        self.runs.on_ended(self.broker.run_ended)
        await self.broker.start()
        await self.runs.start()
        await self.counterparties.refresh()
        await self.catalogue.start()
        await self._tasks.enter_async_context(self.guard.task_flights.running())
        if fetch:
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
        await asyncio.gather(*self._beside)
        await self._tasks.aclose()
        await self.responses.close()
        if self.lending is not None:
            await self.lending.close()
        await self.broker.close()
        self.interruption.close()
        await self.catalogue.close()
        await self.fabric.close()
        with contextlib.suppress(MidflightError):  # the ledger has everything
            await self.monitor_history.close()
        with contextlib.suppress(MidflightError):  # they are learned anew
            await self.baselines.save()
        await self.ledger.close()
        await self.store.close()

    async def records(self) -> list[Record]:
        """Every record so far."""
        self.interruption.close()  # of what was cut, they come in later turns
        await self.ledger.flush()
        tail = await self.ledger.tail(1_000_000)
        return [found.record for found in tail if found.record is not None]

    # Inside, as in `apps/compose.py`

    async def _endorsed(self, run: str) -> Sequence[str]:
        return await self.approvals.endorsed(run)

    def _revoked(self, revocation: Revocation) -> None:
        self._aside(self.runs.revoked(revocation))

    def _run_ended(self, run: str, state: RunState) -> None:
        self.interruption.run_ended(run, over(run, state))
        self._aside(self.approvals.run_ended(run))
        self.monitors.run_ended(run)
        self.baselines.run_ends(run, state)
        self.detection.run_ended(run)
        self.obligations.run_ended(run)
        self._aside(self._leave_upstream(run))

    async def _leave_upstream(self, run: str) -> None:
        await self.guard.task_flights.told(run)
        await self.upstream.end_run(run)

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)


def _entitled(workload: Workload, opener: str, proof: str) -> Decision:
    del workload, opener, proof
    return Permit(version="fixed", reasons=())


__all__ = ["MemoryPlane"]
