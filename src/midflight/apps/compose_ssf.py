"""Wiring of shared signals: the transmitter, the receivers, and what carries events."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from midflight.adapters.documents.exchange import Reach
from midflight.adapters.documents.https import HttpsDocuments
from midflight.adapters.signals.polls import HttpsPolls, PollClient
from midflight.adapters.signals.pushes import HttpsPushes
from midflight.apps.compose_issuers import key_sets
from midflight.apps.compose_keys import mint
from midflight.apps.settings_ssf import PollSource, ReceiveSection
from midflight.domain.response import Level, Response, highest
from midflight.domain.revocation import ScopeKind
from midflight.domain.shared_receiver import Reachable
from midflight.services.interruption import TOPIC
from midflight.services.key_sets import KeySource
from midflight.services.ports.keys import Purpose
from midflight.services.ports.ssf_delivery import Polls
from midflight.services.ssf_effects import Effects
from midflight.services.ssf_emitting import Emitting, RiskLevel
from midflight.services.ssf_outbox import Outbox
from midflight.services.ssf_poller import Poller
from midflight.services.ssf_polling import PollAnswers
from midflight.services.ssf_pushing import Pushing
from midflight.services.ssf_receiving import Receiving, Transmitter
from midflight.services.ssf_streams import Streams
from midflight.services.standings import keys_of
from midflight.wire import ssf
from midflight.wire.oauth.redirects import LOOPBACK
from midflight.wire.ssf.metadata import document_url

if TYPE_CHECKING:
    from midflight.apps.compose import Plane


class Transmitting:
    """What sends our events."""

    def __init__(self, plane: Plane) -> None:
        settings, made = plane.settings, plane.parts
        self._fabric = made.fabric
        signer = mint(plane.keys, Purpose.SET)
        self.jwks = signer.public_jwks
        self.outbox = Outbox(
            store=made.store,
            signer=signer,
            recorder=plane.ledger,
            clock=made.clock,
            telemetry=made.telemetry,
            issuer=settings.issuer,
            bound=settings.ssf.queue,
        )
        private = settings.ssf.push_to_private
        here = urlsplit(settings.public_url).hostname in LOOPBACK
        pushes = HttpsPushes(reach=Reach(private=private, loopback=private and here))
        self.streams = Streams(
            store=made.store,
            outbox=self.outbox,
            sealed=plane.sealed_secrets,
            pushes=pushes,
            recorder=plane.ledger,
            clock=made.clock,
            per_client=settings.ssf.streams_per_client,
        )
        self.polls = PollAnswers(
            store=made.store, outbox=self.outbox, interruption=plane.interruption
        )
        self.pushing = Pushing(
            store=made.store,
            outbox=self.outbox,
            sealed=plane.sealed_secrets,
            pushes=pushes,
            in_standing=in_standing(plane),
        )
        self.streams.on_changed(self.pushing.changed)
        self.emitting = Emitting(
            store=made.store,
            outbox=self.outbox,
            trust_domain=settings.identity.trust_domain,
        )

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Say what was not said, push what waits, and go on with both."""
        async with AsyncExitStack() as undo:
            await self.pushing.start()
            undo.push_async_callback(self.pushing.close)
            await self.emitting.start()
            undo.push_async_callback(self.emitting.settle)
            await self._fabric.subscribe(TOPIC, self.emitting.told)
            yield


class SharedSignalParts:
    """Security events of one plane. `transmitting` is None where settings have it off."""

    def __init__(self, plane: Plane) -> None:
        """Wire it; nothing is started."""
        settings, made = plane.settings, plane.parts
        self.transmitting = Transmitting(plane) if settings.ssf.transmit else None
        rows = settings.ssf.receive
        self.receiving = Receiving(
            [_transmitter(row, own_issuer=settings.issuer) for row in rows],
            sets=ssf,
            key_sets=key_sets(
                {row.issuer: row for row in rows}, documents=HttpsDocuments(), clock=made.clock
            ),
            store=made.store,
            effects=Effects(
                interruption=plane.interruption,
                detection=plane.watching.detection,
                store=made.store,
                recorder=plane.ledger,
                clock=made.clock,
            ),
            clock=made.clock,
        )
        sources: dict[str, tuple[Polls, float]] = {
            row.name: (_polls(row, row.poll, plane), float(row.poll.interval))
            for row in rows
            if row.poll is not None
        }
        self.poller = Poller(receiving=self.receiving, sources=sources)

    def risk_changed(self, workload: str, level: RiskLevel, reason: str) -> None:
        """Say that a workload's risk is another one now, if anybody is told anything."""
        if self.transmitting is not None:
            self.transmitting.emitting.risk_changed(workload, level, reason)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """See `compose_watching.Part`."""
        async with AsyncExitStack() as undo:
            if self.transmitting is not None:
                await undo.enter_async_context(self.transmitting.running())
            await self.receiving.start()
            self.poller.start()
            undo.push_async_callback(self.poller.close)
            yield

    async def sweep(self) -> None:
        """See `compose_watching.Part`."""
        if self.transmitting is not None:
            await self.transmitting.emitting.follow()
        await self.receiving.sweep()


def shared_signals(plane: Plane) -> SharedSignalParts:
    """The parts for a plane whose services are wired; they run along with what watches it."""
    made = SharedSignalParts(plane)
    plane.watching.along(made)
    standings = plane.watching.responses.standings

    def responded(response: Response) -> None:
        now = plane.clock.now()
        held = [each for key in keys_of(response) for each in standings.at(key, now)]
        level = risk_of(highest(each.level for each in held))
        made.risk_changed(response.workload, level, response.reason)

    plane.watching.responses.on_responded(responded)
    return made


def in_standing(plane: Plane) -> Callable[[str], Awaitable[bool]]:
    """Whether a client of ours is registered, enabled, and its workload in order."""

    async def is_so(client_id: str) -> bool:
        client = await plane.parts.store.get_client(client_id)
        if client is None or client.disabled:
            return False
        workload = plane.inventory.current(client.workload)
        missing = plane.inventory.standing(workload, int(plane.clock.now()))
        # Not of wider scopes: that everything is revoked is what receivers must hear of.
        revoked = plane.interruption.covering(((ScopeKind.WORKLOAD, client.workload),))
        return missing is None and revoked is None

    return is_so


def risk_of(level: Level) -> RiskLevel:
    """What others are told of a workload for which this holds (CAEP 1.0 §3.8)."""
    if level.rank >= Level.QUARANTINE.rank:
        return "HIGH"
    return "MEDIUM" if level.rank >= Level.RISK.rank else "LOW"


def _transmitter(row: ReceiveSection, *, own_issuer: str) -> Transmitter:
    return Transmitter(
        name=row.name,
        keys=KeySource(
            issuer=row.issuer,
            jwks_uri=row.jwks_uri,
            discovery=row.discovery or document_url(row.issuer),
            fixed=row.fixed(),
            allow_private=row.allow_private,
        ),
        audience=row.audience,
        max_age_s=row.max_age,
        reachable=Reachable(
            issuer=row.issuer,
            own_issuer=own_issuer,
            workloads=row.workloads,
            names=row.scopes(),
            tokens=row.tokens,
        ),
        effects=row.all_effects(),
    )


def _polls(row: ReceiveSection, source: PollSource, plane: Plane) -> HttpsPolls:
    return HttpsPolls(
        source.endpoint,
        client=PollClient(
            token=None if source.token is None else source.token.read,
            token_url=source.token_url or "",
            client_id=source.client_id or "",
            client_secret=None if source.client_secret is None else source.client_secret.read,
            scope=source.scope,
        ),
        clock=plane.clock,
        reach=Reach(private=row.allow_private),
        tls=None if row.ca is None else ssl.create_default_context(cafile=row.ca),
    )


__all__ = ["SharedSignalParts", "Transmitting", "risk_of", "shared_signals"]
