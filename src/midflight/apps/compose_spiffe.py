"""Wiring of SPIFFE: the authority, bundles, SVIDs, the Workload API, federation.

Started with the plane; the socket is served beside the gateway (`gateway/main.py`).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from midflight.adapters.authority.openbao import OpenBaoPki
from midflight.adapters.authority.own import OwnRoot
from midflight.adapters.authority.rolling import RollingAuthority, Source
from midflight.adapters.authority.upstream_file import UpstreamFiles
from midflight.adapters.federation.endpoint import SpiffeEndpoint, WebEndpoint
from midflight.adapters.keys.pairs import new_pair
from midflight.apps.broker_api.server import BrokerApi
from midflight.apps.gateway.noise import Noise
from midflight.apps.settings import Settings
from midflight.apps.settings_spiffe import AuthoritySettings, BrokerSettings, FederationPeer
from midflight.apps.workload_api.entitled import Attestation
from midflight.apps.workload_api.server import WorkloadApi
from midflight.domain.revocation import ScopeKind
from midflight.services.bundles import TrustBundles
from midflight.services.federation import Federation
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory
from midflight.services.ports.authority import Authority
from midflight.services.ports.clock import Clock
from midflight.services.ports.keys import TokenSigner
from midflight.services.ports.processes import Processes
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.spiffe import BundleSource
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.svid_callers import SvidCallers
from midflight.services.svids import Svids
from midflight.wire import spiffe as documents
from midflight.wire import tokens


def authority(settings: Settings, *, clock: Clock) -> RollingAuthority:
    """The authority that the settings ask for; nothing is read or made before its `start`."""
    keys = settings.state.directory / "keys"
    domain = settings.identity.trust_domain
    return RollingAuthority(keys, _source(settings.spiffe.authority, keys, domain), clock=clock)


class Spiffe:
    """The services of SPIFFE of one plane."""

    def __init__(
        self,
        settings: Settings,
        *,
        authority: Authority,
        signer: TokenSigner,
        store: Store,
        inventory: Inventory,
        interruption: Interruption,
        recorder: Recorder,
        telemetry: Telemetry,
        clock: Clock,
        attestation: Attestation,
        processes: Processes,
        wit_signer: TokenSigner | None = None,
    ) -> None:
        """Wire it; nothing is started.

        `attestation` says who calls the Workload API, and which of the `processes` a broker asks
        for; with `wit_signer` it issues WIT-SVIDs, too.
        """
        domain = settings.identity.trust_domain
        peers = settings.federation
        self._settings = settings
        self._interruption = interruption
        self.authority = authority
        self.noise = Noise(recorder=recorder, clock=clock, telemetry=telemetry)
        self.bundles = TrustBundles(
            trust_domain=domain,
            authority=authority,
            signer=signer,
            documents=documents,
            store=store,
            recorder=recorder,
            clock=clock,
            federated={peer.trust_domain: _first_bundle(peer) for peer in peers},
            revoked=self._revoked,
            refresh_hint_s=settings.spiffe.refresh_hint,
            wit_signer=wit_signer,
        )
        self.svids = Svids(
            trust_domain_name=domain,
            authority=authority,
            signer=signer,
            documents=documents,
            bundles=self.bundles,
            inventory=inventory,
            interruption=interruption,
            recorder=recorder,
            clock=clock,
            x509_ttl_s=settings.spiffe.x509_ttl,
            jwt_ttl_s=settings.spiffe.jwt_ttl,
            wit_signer=wit_signer,
            new_pair=new_pair,
        )
        self.federation = Federation(
            [self._endpoint(peer) for peer in peers], bundles=self.bundles, clock=clock
        )
        self.api = WorkloadApi(
            trust_domain=domain,
            attestation=attestation,
            svids=self.svids,
            bundles=self.bundles,
            clock=clock,
            refused=lambda why, who: self.noise.refused(why, peer=who),
            wit=wit_signer is not None,
        )
        self.bundles.on_changed(self.api.changes.tell)
        self.callers = SvidCallers(
            bundles=self.bundles,
            svids=documents,
            certificates=tokens,
            audience=f"{settings.public_url}/mcp",
            own=domain,
        )
        self.broker = (
            None
            if settings.spiffe.broker is None
            else self._broker(settings.spiffe.broker, attestation, processes, recorder, clock)
        )

    async def start(self) -> None:
        """Be able to sign, and publish our bundle. Before anything is served.

        Raises:
            Misconfigured, StoreUnavailable, Unavailable: it cannot start.
        """
        self._interruption.on_revoked(lambda _: self.api.changes.tell())
        await self.authority.start()
        await self.bundles.start()

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[Path]:
        """Serve the Workload API, whose path it gives, and the Broker API where it is on."""
        path, broker = self._settings.workload_socket, self._settings.broker_socket
        async with AsyncExitStack() as served:
            served.callback(self.noise.flush)
            await served.enter_async_context(self.api.serving(path))
            if self.broker is not None and broker is not None:
                await served.enter_async_context(self.broker.serving(broker))
            yield path

    async def sweep(self) -> None:
        """What is due every few seconds: authority, bundle, streams, records."""
        await self.authority.refresh()
        await self.bundles.refresh()
        self.api.changes.tell()
        self.noise.flush()
        if self.broker is not None:
            await self.broker.renew()

    def bundle_page(self) -> bytes:
        """Our trust bundle, for whoever federates with us (SPIFFE Federation §5.1)."""
        return documents.encode_bundle(self.bundles.own)

    # Inside

    def _broker(
        self,
        settings: BrokerSettings,
        attestation: Attestation,
        processes: Processes,
        recorder: Recorder,
        clock: Clock,
    ) -> BrokerApi:
        return BrokerApi(
            grants={grant.broker: frozenset(grant.workloads) for grant in settings.grants},
            callers=self.callers,
            attestation=attestation,
            entitled=self.api.entitled,
            svids=self.svids,
            bundles=self.bundles,
            authority=self.authority,
            processes=processes,
            changes=self.api.changes,
            recorder=recorder,
            clock=clock,
            refused=lambda why, who: self.noise.refused(why, peer=who),
        )

    def _revoked(self, trust_domain: str) -> bool:
        scope = (ScopeKind.TRUST_DOMAIN, trust_domain)
        return self._interruption.covering((scope,)) is not None

    def _endpoint(self, peer: FederationPeer) -> BundleSource:
        if peer.endpoint_spiffe_id is not None:
            return SpiffeEndpoint(
                peer.trust_domain,
                peer.url,
                endpoint=peer.endpoint_spiffe_id,
                bundles=self.bundles.bundle,
            )
        return WebEndpoint(
            peer.trust_domain,
            peer.url,
            tls=None if peer.ca is None else ssl.create_default_context(cafile=str(peer.ca)),
            loopback_http=peer.loopback_http,
        )


def _first_bundle(peer: FederationPeer) -> bytes | None:
    return None if peer.bundle is None else peer.bundle.read_bytes()


def _source(settings: AuthoritySettings, keys: Path, domain: str) -> Source:
    match settings.kind:
        case "own":
            return OwnRoot(keys, trust_domain=domain)
        case "files":
            assert settings.certificate is not None
            assert settings.key is not None
            assert settings.roots is not None
            return UpstreamFiles(
                certificate=settings.certificate,
                key=settings.key,
                roots=settings.roots,
                trust_domain=domain,
            )
        case "openbao":
            assert settings.url is not None
            assert settings.token is not None
            return OpenBaoPki(
                settings.url, mount=settings.mount, token=settings.token.read, trust_domain=domain
            )


__all__ = ["Spiffe", "authority"]
