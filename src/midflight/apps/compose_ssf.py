"""Wiring of shared signals: the transmitter, the receivers, and what carries events."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
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
        self.polls = PollAnswers(store=made.store, outbox=self.outbox)
        self.pushing = Pushing(
            store=made.store, outbox=self.outbox, sealed=plane.sealed_secrets, pushes=pushes
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
    return made


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


__all__ = ["SharedSignalParts", "Transmitting", "shared_signals"]
