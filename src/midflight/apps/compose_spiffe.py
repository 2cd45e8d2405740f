"""Wiring of SPIFFE: the authority, bundles, SVIDs, the Workload API, federation.

Started with the plane; the socket is served beside the gateway (`gateway/main.py`).
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from midflight.adapters.authority.openbao import OpenBaoPki
from midflight.adapters.authority.own import OwnRoot
from midflight.adapters.authority.rolling import RollingAuthority, Source
from midflight.adapters.authority.upstream_file import UpstreamFiles
from midflight.adapters.federation.endpoint import SpiffeEndpoint, WebEndpoint
from midflight.adapters.keys.pairs import new_pair
from midflight.apps.gateway.noise import Noise
from midflight.apps.settings import Settings
from midflight.apps.settings_spiffe import AuthoritySettings, FederationPeer
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
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.spiffe import BundleSource
from midflight.services.ports.store import Store
from midflight.services.ports.telemetry import Telemetry
from midflight.services.svids import Svids
from midflight.wire import spiffe as documents


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
        wit_signer: TokenSigner | None = None,
    ) -> None:
        """Wire it; nothing is started.

        `attestation` says who calls the Workload API; with `wit_signer` it issues WIT-SVIDs, too.
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
        """Serve the Workload API; gives the path of its socket."""
        path = self._settings.workload_socket
        async with self.api.serving(path):
            try:
                yield path
            finally:
                self.noise.flush()

    async def sweep(self) -> None:
        """What is due every few seconds: authority, bundle, streams, records."""
        await self.authority.refresh()
        await self.bundles.refresh()
        self.api.changes.tell()
        self.noise.flush()

    def bundle_page(self) -> bytes:
        """Our trust bundle, for whoever federates with us (SPIFFE Federation §5.1)."""
        return documents.encode_bundle(self.bundles.own)

    # Inside

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
