"""Wiring, by hand and in one place: settings in, a plane out.

Nothing else constructs adapters (but `midflight.testing`). Reading this file from top to bottom
shows what Midflight is made of and in which order it starts and stops.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Any

import structlog

from midflight import __version__
from midflight.adapters.credentials.client_keys import own_token
from midflight.adapters.keys.ring_signer import RingSigner
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.adapters.telemetry import logs
from midflight.adapters.telemetry.tracing import Tracing
from midflight.apps.compose_attestation import Attesting
from midflight.apps.compose_backends import RequestSigners
from midflight.apps.compose_broker import BrokerParts
from midflight.apps.compose_ci import job_federation
from midflight.apps.compose_detectors import watch_plane
from midflight.apps.compose_escalation import Escalating
from midflight.apps.compose_injection import Placing
from midflight.apps.compose_interruption import children_of, leave_upstreams
from midflight.apps.compose_oauth import oauth_of
from midflight.apps.compose_parts import Parts
from midflight.apps.compose_people import ApproverParts
from midflight.apps.compose_responses import Responding
from midflight.apps.compose_spiffe import Spiffe
from midflight.apps.compose_ssf import shared_signals
from midflight.apps.compose_waiting import waiting_of
from midflight.apps.compose_watching import Watching
from midflight.apps.gateway.notices import Notices
from midflight.apps.gateway.waiting_clients import WaitingClients
from midflight.apps.settings import Settings
from midflight.domain.action import ActionKind
from midflight.domain.attestation import Entry
from midflight.domain.decision import Decision
from midflight.domain.errors import MidflightError
from midflight.domain.identity import Workload
from midflight.domain.labels import BOTTOM
from midflight.domain.lease import Lease
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.revocation import Revocation
from midflight.domain.run import RunState
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.approval_desk import ApprovalDesk
from midflight.services.approvals import Approvals, rejudging
from midflight.services.canaries import Canaries
from midflight.services.catalogue import Catalogue
from midflight.services.counterparties import Counterparties
from midflight.services.delegation import Delegation
from midflight.services.echoes import Echoes
from midflight.services.flow import Flow
from midflight.services.flow_marks import Marks
from midflight.services.guard import Guard
from midflight.services.identity import Identity
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.job_runs import JobRuns
from midflight.services.ledger import Ledger
from midflight.services.listing import Listing
from midflight.services.moded import ModedEngine
from midflight.services.monitor_history import MonitorHistory
from midflight.services.monitors import Monitors
from midflight.services.obligations import Obligations
from midflight.services.openers import point_of
from midflight.services.policy import Policies
from midflight.services.policy_files import OBSERVE
from midflight.services.ports.keys import Purpose
from midflight.services.runs import Bounds, Runs, over
from midflight.services.sealing import Sealer
from midflight.services.survey import Surveyor
from midflight.services.task_flights import TaskFlights
from midflight.services.turns import Turns
from midflight.services.waiting import WaitingRoom
from midflight.wire import tokens

log = structlog.get_logger(__name__)

FOLLOW_S = 1.0
"""How often the log of revocations is read for what other processes have appended."""
SWEEP_S = 5.0
"""How often runs whose time is over are ended, noise is recorded, policies are looked at."""


class Plane:
    """Everything that runs, wired. Start it with `running`."""

    def __init__(self, settings: Settings, made: Parts) -> None:
        """Wire the services; nothing is started."""
        self.settings = settings
        self.parts = made
        self.clock = made.clock
        self.telemetry = made.telemetry
        self.ledger = Ledger(
            made.ledger_store,
            signer=made.note_signer,
            clock=made.clock,
            telemetry=made.telemetry,
        )
        self.sealer = Sealer(made.store, made.wrap, made.clock)
        self.inventory = Inventory(
            store=made.store,
            recorder=self.ledger,
            clock=made.clock,
            trust_domain=settings.identity.trust_domain,
        )
        self.keys = made.keys
        self.identity = Identity(
            store=made.store,
            signer=made.token_signer,
            clock=made.clock,
            recorder=self.ledger,
            proofs=tokens,
            issuer=settings.issuer,
            resource=f"{settings.public_url}/mcp",
            trust_domain=settings.identity.trust_domain,
            jwks_uri=f"{settings.public_url}/.well-known/jwks.json",
            # Clients ask for all of these where nothing else is said (MCP), so only for the whole.
            scopes=("mcp",),
            mtls=settings.shows_certificates,
            published=self.keys.published,
        )
        self.keys.on_withdrawn(self.identity.forget)
        standard, observing = CedarEngine(), CedarEngine()
        self.engine = ModedEngine(standard, observing)
        self.monitors = Monitors(made.clock)
        self.monitor_history = MonitorHistory(
            self.monitors,
            store=made.store,
            ledger=self.ledger,
            wrap=made.wrap,
            clock=made.clock,
        )
        self.policies = Policies(
            switch=standard,
            compiler=CedarCompiler(),
            directory=settings.policy.directory,
            history=settings.state.directory / "policies",
            recorder=self.ledger,
            clock=made.clock,
            declare=self.monitors.declare,
        )
        self.observing = Policies(
            switch=observing,
            compiler=CedarCompiler(),
            directory=settings.policy.directory / OBSERVE,
            history=settings.state.directory / "policies",
            recorder=self.ledger,
            clock=made.clock,
            name=OBSERVE,
        )
        self.interruption = Interruption(
            store=made.store, fabric=made.fabric, recorder=self.ledger, clock=made.clock
        )
        self.runs = Runs(
            store=made.store,
            recorder=self.ledger,
            sealer=self.sealer,
            clock=made.clock,
            bounds=_bounds(settings),
            entitled=self._entitled,
            revocation=self.interruption.revocation_of,
        )
        self.job_federation = job_federation(
            settings.ci.issuer,
            audience=settings.issuer,
            store=made.store,
            clock=made.clock,
        )
        self.job_runs = JobRuns(runs=self.runs, store=made.store, bounds=_bounds(settings))
        leasing = BrokerParts(
            store=made.store,
            recorder=self.ledger,
            wrap=made.wrap,
            clock=made.clock,
            telemetry=made.telemetry,
            engine=self.engine,
            interruption=self.interruption,
            monitors=self.monitors,
            client_signer=RingSigner(self.keys, Purpose.CLIENT),
            subject_token=self._subject_token,
            issuer=settings.issuer,
        )
        self.broker, self.credentials, self.sealed_secrets, self.logins = (
            leasing.broker,
            leasing.credentials,
            leasing.sealed,
            leasing.logins,
        )
        self.delegation = Delegation(
            runs=self.runs,
            inventory=self.inventory,
            interruption=self.interruption,
            engine=self.engine,
            monitors=self.monitors,
            store=made.store,
            sealer=self.sealer,
            clock=made.clock,
            bounds=_bounds(settings),
        )
        self.placing = Placing(
            made.upstreams,
            echoes=Echoes(recorder=self.ledger, clock=made.clock, telemetry=made.telemetry),
        )
        self.catalogue = Catalogue(
            upstreams=self.placing.upstreams,
            reaches=made.reaches,
            store=made.store,
            recorder=self.ledger,
            clock=made.clock,
            engine=self.engine,
        )
        self.tracing = Tracing.configure(settings.telemetry.otlp_endpoint, __version__)
        self.marks = Marks(
            store=made.store, sealer=self.sealer, clock=made.clock, recorder=self.ledger
        )
        self.counterparties = Counterparties(
            store=made.store, sealer=self.sealer, recorder=self.ledger, clock=made.clock
        )
        self.flow = Flow(
            store=made.store,
            sealer=self.sealer,
            marks=self.marks,
            definition=self.catalogue.tool,
            known=self.counterparties,
            endorsed=self._endorsed,
            own_domains=frozenset(settings.flow.own_domains),
        )
        self.approvals = Approvals(
            store=made.store,
            sealer=self.sealer,
            recorder=self.ledger,
            engine=self.engine,
            clock=made.clock,
            target=self.catalogue.target,
            workload=self.inventory.current,
            max_pending=settings.approvals.max_pending,
            refresh=rejudging(self.flow, self.monitors),
        )
        self.approval_desk = ApprovalDesk(
            store=made.store,
            sealer=self.sealer,
            recorder=self.ledger,
            clock=made.clock,
            counterparties=self.counterparties,
            groups=settings.approvals.groups,
            endorser=self.flow,
            settled=self.approvals.settled,
            now=self.approvals.now,
        )
        self.turns = Turns(
            runs=self.runs,
            store=made.store,
            sealer=self.sealer,
            recorder=self.ledger,
            clock=made.clock,
            said=self.flow.add_intent,
        )
        self.obligations = Obligations(sealer=self.sealer, clock=made.clock)
        self.canaries = Canaries(
            store=made.store,
            sealer=self.sealer,
            runs=self.runs,
            recorder=self.ledger,
            clock=made.clock,
        )
        self.injecting = self.placing.injecting(
            made.leases or self.broker,
            signers=made.signers or RequestSigners(clock=made.clock),
            interruption=self.interruption,
        )
        self.lending = leasing.lending(
            self.injecting,
            to=self.catalogue,
            names={each.name: each.lists_with for each in settings.upstream if each.lists_with},
        )
        self.watching = Watching(
            settings,
            ledger=self.ledger,
            store=made.store,
            clock=made.clock,
            telemetry=made.telemetry,
            responding=Responding(
                store=made.store,
                recorder=self.ledger,
                interruption=self.interruption,
                runs=self.runs,
                inventory=self.inventory,
                clock=made.clock,
                telemetry=made.telemetry,
                policies=self.policies,
            ),
            current=self.inventory.current,
        )
        self.guard = Guard(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            monitors=self.monitors,
            recorder=self.ledger,
            sealer=self.sealer,
            upstreams=self.placing.upstreams,
            clock=made.clock,
            telemetry=made.telemetry,
            flow=self.flow,
            obligations=self.obligations,
            canaries=self.canaries,
            spans=self.tracing if self.tracing.active else None,
            approvals=self.approvals,
            injecting=self.injecting,
            detection=self.watching.detection,
            task_flights=TaskFlights(
                interruption=self.interruption,
                store=made.store,
                upstreams=self.placing.upstreams,
                recorder=self.ledger,
                clock=made.clock,
                children=children_of(settings),
            ),
            children=children_of(settings),
            responses=self.watching.responses,
            max_in_flight=settings.gateway.limits.in_flight,
        )
        self.attesting = attesting = Attesting(
            settings.attestation,
            store=made.store,
            recorder=self.ledger,
            clock=made.clock,
            inventory=self.inventory,
            interruption=self.interruption,
            runs=self.runs,
            sealer=self.sealer,
            audience=settings.public_url,
            aside=self._aside,
            federates_with=[peer.trust_domain for peer in settings.federation],
        )
        self.spiffe = Spiffe(
            settings,
            authority=made.authority,
            signer=made.svid_signer,
            wit_signer=made.wit_signer,
            store=made.store,
            inventory=self.inventory,
            interruption=self.interruption,
            recorder=self.ledger,
            telemetry=made.telemetry,
            clock=made.clock,
            attestation=attesting,
            processes=attesting.processes,
        )
        attesting.joining.issue_with(self.spiffe.svids)
        self.listing = Listing(
            catalogue=self.catalogue,
            runs=self.runs,
            interruption=self.interruption,
            inventory=self.inventory,
            engine=self.engine,
            clock=made.clock,
        )
        self.notices = Notices(refresh=self.catalogue.refresh, observe=self.guard.observing.notice)
        self.catalogue.on_changed(self.notices.changed)
        self.oauth, self.approvers, self.escalating, self.signals = (
            oauth_of(self),
            ApproverParts(self),
            Escalating(self),
            shared_signals(self),
        )
        self.identity.believe(self.spiffe.callers)
        self._beside: set[asyncio.Task[None]] = set()
        self.registration, self.join_tokens, self.launches = (
            attesting.registration,
            attesting.join_tokens,
            attesting.launches,
        )
        self.workload_endpoint = f"unix://{settings.workload_socket}"

    @cached_property
    def waiting(self) -> tuple[WaitingRoom, WaitingClients]:
        """Clients that wait for a person: made with the gateway that serves them."""
        return waiting_of(self)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Start everything in order, and stop it the other way round.

        Raises:
            StoreUnavailable, LedgerUnavailable: it cannot start, so nothing is served.
            Misconfigured: the policies are not usable, or another plane runs on this state.
        """
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(asyncio.to_thread, self.tracing.close)
            undo.enter_context(self.parts.alone())
            await self.parts.store.open()
            undo.push_async_callback(self.parts.store.close)
            undo.push_async_callback(self.parts.fabric.close)
            await self.policies.load()
            await self.observing.load()
            await self.ledger.start(__version__, self.engine.version)
            undo.push_async_callback(self.ledger.close)
            undo.push_async_callback(self.keys.close)
            await self.keys.start(self.ledger)
            undo.push_async_callback(self._keep_monitors)
            await self.inventory.refresh()
            await self.marks.start()
            await self.canaries.start()
            await self.obligations.limits.start(self.ledger)
            undo.push_async_callback(self.flow.save)
            await self._start_interruption(undo)
            self.keys.on_withdrawn(self.spiffe.bundles.drop_withdrawn)
            await self.spiffe.start()
            undo.callback(self.spiffe.authority.close)
            self.runs.on_ended(self._run_ended)
            self.runs.on_ended(self.flow.ended)
            self.runs.on_returned(self.flow.returned)
            await self._restore_monitors()
            self._bind_leases()
            await undo.enter_async_context(self.watching.running())
            await self.broker.start()
            undo.push_async_callback(self.broker.close)
            await undo.enter_async_context(self.escalating.running())
            undo.push_async_callback(self.lending.close)
            await self.runs.start()
            await self.attesting.start()
            undo.push_async_callback(self.launches.close)
            await self.approvals.start(alive_at=await self._last_on_record())
            await self.counterparties.refresh()
            await self.catalogue.start()
            undo.push_async_callback(self.catalogue.close)
            undo.push_async_callback(self.notices.close)
            for name, upstream in self.placing.upstreams.items():
                await upstream.start(self.notices.handler(name))
                undo.push_async_callback(upstream.close)
                self._aside(self._first_fetch(name))
            await undo.enter_async_context(self.guard.task_flights.running())
            federation, approvers = self.spiffe.federation.run(), self.approvers.run()
            for work in (federation, approvers, self._sweep(), self._follow()):
                self._aside(work)
            undo.push_async_callback(self._stop_beside)
            yield

    # Inside

    async def _start_interruption(self, undo: contextlib.AsyncExitStack) -> None:
        self.interruption.on_revoked(self._revoked)
        await self.interruption.start()
        undo.callback(self.interruption.close)

    async def _restore_monitors(self) -> None:
        await self.monitor_history.start()
        if self.monitor_history.problem:
            log.warning("monitors_lost", why=self.monitor_history.problem)

    def _bind_leases(self) -> None:
        """Leases, and what is watched, end with their run; leases with what is revoked."""
        self.interruption.on_revoked(self.broker.revoked)
        self.interruption.survey_with(Surveyor(runs=self.runs, leases=self.broker).reached)
        self.interruption.show_lent(self.broker.lent)
        self.broker.on_gone(self.guard.task_flights.lease_gone)
        self.runs.on_ended(self.broker.run_ended)
        self.runs.on_ended(self.watching.run_ended)
        watch_plane(self)

    def _entitled(self, workload: Workload, opener: str, proof: str) -> Decision:
        return self.engine.decide(
            Question(
                kind=ActionKind.OPEN_RUN,
                workload=workload,
                run=RunFacts(
                    id="",
                    has_intent=False,
                    implicit=False,
                    age_s=0,
                    steps=0,
                    labels=BOTTOM,
                    monitors=self.monitors.peek(workload, "midflight"),
                ),
                target=Target(
                    upstream="midflight",
                    name="open_run",
                    pin=None,
                    pin_state=PinState.PINNED,
                    traits=Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
                ),
                arguments={"opener": opener},
                source=Source(point=point_of(opener, proof, workload=workload.id), proof=proof),
                at=int(self.clock.now()),
            )
        )

    async def _endorsed(self, run: str) -> Sequence[str]:
        return await self.approvals.endorsed(run)

    def _revoked(self, revocation: Revocation) -> None:
        self._aside(self.runs.revoked(revocation))

    def _run_ended(self, run: str, state: RunState) -> None:
        self.interruption.run_ended(run, over(run, state))
        self._aside(self.approvals.run_ended(run))
        self._aside(self.attesting.run_ended(run))
        self.monitors.run_ended(run)
        self.obligations.run_ended(run)
        self._aside(leave_upstreams(run, self.placing.upstreams, self.guard.task_flights))

    async def _first_fetch(self, upstream: str) -> None:
        try:
            await self.catalogue.refresh(upstream)
        except MidflightError as error:
            log.warning("upstream_not_reached", upstream=upstream, why=error.message)

    async def _last_on_record(self) -> float:
        """The latest time on record, Unix seconds: a clock that was set back since is not heard."""
        tail = await self.ledger.tail(1_000)
        return max((each.record.at for each in tail if each.record is not None), default=0.0)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await do_chores(
                (
                    self.runs.sweep,
                    self.broker.sweep,
                    self.lending.sweep,
                    self.flow.save,
                    self.policies.reload_if_changed,
                    self.approvals.sweep,
                    self.counterparties.refresh,
                    self.monitor_history.sweep,
                    self.observing.reload_if_changed,
                    self.spiffe.sweep,
                    self.oauth.sweep,
                    self.keys.sweep,
                    self.attesting.sweep,
                    self.watching.sweep,
                    self.escalating.sweep,
                )
            )

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(FOLLOW_S)
            await do_chores((self.interruption.follow,))

    async def _subject_token(self, lease: Lease) -> str:
        """Says to another authorization server who a lease's workload is, for minutes.

        The lists of an upstream are Midflight's own to ask for, so there it says who that is.
        """
        audience = str(self.credentials.get(lease.credential).settings["issuer"])
        if not lease.workload:
            signer = RingSigner(self.keys, Purpose.CLIENT)
            return await own_token(signer, issuer=self.settings.issuer, clock=self.clock)(audience)
        entry = Entry(id=lease.id, spiffe_id=lease.workload, selectors=frozenset(), run=lease.run)
        made = await self.spiffe.svids.jwt(entry, (audience,), proof=f"lease:{lease.id}")
        return made.token

    async def _keep_monitors(self) -> None:
        try:
            await self.monitor_history.close()
        except MidflightError as error:  # the ledger has everything; the next start reads it
            log.warning("monitors_not_kept", why=error.message)

    def _aside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._beside.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("beside_failed", error=type(error).__name__)

    async def _stop_beside(self) -> None:
        tasks = list(self._beside)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def do_chores(chores: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Do each, whatever becomes of the ones before: a run must end though a policy file is odd."""
    for chore in chores:
        name = getattr(chore, "__name__", "")
        try:
            await chore()
        except MidflightError as error:
            log.warning("chore_failed", chore=name, why=str(error))
        except Exception as error:  # noqa: BLE001 -- a bug in one must not end all of them for good
            log.warning("chore_failed", chore=name, why=type(error).__name__)


def log_to_stderr() -> None:
    """Events of this process go to standard error: lines for people on a terminal, else JSON."""
    logs.configure()


def _bounds(settings: Settings) -> Bounds:
    return Bounds(
        ttl_s=settings.runs.ttl,
        idle_timeout_s=settings.runs.idle_timeout,
        max_steps=settings.runs.max_steps,
        implicit=settings.runs.implicit,
        max_depth=settings.runs.max_depth,
    )


__all__ = ["Plane", "do_chores", "log_to_stderr"]
