"""Wiring of the authorization server: a part of `compose.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from midflight.domain.spiffe import TrustBundle
from midflight.services.authorization import Authorization
from midflight.services.authorization_clients import Clients
from midflight.services.authorization_codes import Codes
from midflight.services.authorization_exchange import Exchange, OwnTokens, PersonTokens, SvidTokens
from midflight.services.authorization_people import People
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.ports.authorization_proofs import Subject, SubjectTokens, SvidClaims
from midflight.services.ports.client_documents import ClientDocuments
from midflight.services.ports.login import LoginProvider
from midflight.wire.oauth import proofs
from midflight.wire.oauth.redirects import LOOPBACK
from midflight.wire.oauth.svid import verify_jwt_svid, verify_x509_svid

if TYPE_CHECKING:
    from midflight.apps.compose import Plane

CALLBACK = "/oauth/callback"
PRUNE_S = 60.0


class BundleSvids:
    """SVIDs of the trust domains whose bundles are known here."""

    def __init__(self) -> None:
        self.bundles: dict[str, TrustBundle] = {}

    def of_token(self, text: str, *, audience: str, now: float) -> SvidClaims:
        """See `Svids`."""
        return verify_jwt_svid(text, bundles=self.bundles.get, audience=audience, now=now)

    def of_certificate(self, der: bytes, *, now: float) -> SvidClaims:
        """See `Svids`."""
        return verify_x509_svid(der, bundles=self.bundles.get, now=now)


class Later:
    """Subject tokens of further kinds, added by whoever wires them: CI tokens."""

    def __init__(self) -> None:
        self.kinds: list[SubjectTokens] = []

    async def resolve(self, token: str, kind: str, *, now: float) -> Subject | None:
        """See `SubjectTokens`."""
        for each in self.kinds:
            found = await each.resolve(token, kind, now=now)
            if found is not None:
                return found
        return None


class OAuthParts:
    """What the authorization server is made of.

    `svids.bundles` (by trust domain) and `subjects.kinds` are what other parts fill in.
    """

    def __init__(self, plane: Plane, *, provider: LoginProvider | None) -> None:
        settings, made = plane.settings, plane.parts
        self._store = made.store
        self._clock = made.clock
        self._pruned = 0.0
        self.resource = f"{settings.public_url}/mcp"
        self.svids = BundleSvids()
        self.subjects = Later()
        self.documents: ClientDocuments | None = None
        self.people = People(
            clock=made.clock,
            provider=provider,
            development=settings.gateway.listen.loopback
            and urlsplit(settings.public_url).hostname in LOOPBACK,
        )
        self.clients = Clients(
            store=made.store,
            recorder=plane.ledger,
            clock=made.clock,
            proofs=proofs,
            issuer=settings.issuer,
            svids=self.svids,
            document_workload=settings.oauth.document_workload,
        )
        self.tokens = AuthorizedTokens(
            identity=plane.identity,
            interruption=plane.interruption,
            inventory=plane.inventory,
            store=made.store,
            clock=made.clock,
            proofs=proofs,
            resource=self.resource,
            issuer=settings.issuer,
            ttl_s=settings.identity.token_ttl,
        )
        kinds: Sequence[SubjectTokens] = (
            OwnTokens(identity=plane.identity, tokens=self.tokens),
            SvidTokens(svids=self.svids, proofs=proofs, issuer=settings.issuer),
            *(() if provider is None else (PersonTokens(provider),)),
            self.subjects,
        )
        self.authorization = Authorization(
            clients=self.clients,
            tokens=self.tokens,
            exchange=Exchange(
                clients=self.clients,
                tokens=self.tokens,
                subjects=kinds,
                runs=plane.runs,
                delegation=plane.delegation,
                inventory=plane.inventory,
                store=made.store,
                clock=made.clock,
                proofs=proofs,
            ),
            codes=Codes(
                store=made.store,
                clients=self.clients,
                tokens=self.tokens,
                runs=plane.runs,
                inventory=plane.inventory,
                recorder=plane.ledger,
                clock=made.clock,
                proofs=proofs,
            ),
        )

    async def sweep(self) -> None:
        """Forget what has ended, now and then."""
        if self._clock.monotonic() - self._pruned < PRUNE_S:
            return
        self._pruned = self._clock.monotonic()
        # A day later: a code or a refresh token that comes again must still be known as used.
        await self._store.prune_authorizations(before=int(self._clock.now()) - 86_400)


def oauth_of(plane: Plane) -> OAuthParts:
    """The parts for a plane whose services are wired."""
    login = plane.settings.oauth.login
    provider: LoginProvider | None = None
    if login is not None:
        from midflight.adapters.login.oidc import OidcLogin

        provider = OidcLogin(
            issuer=login.issuer,
            client_id=login.client_id,
            client_secret=login.client_secret.read,
            claim=login.claim,
            redirect_uri=plane.settings.public_url + CALLBACK,
            clock=plane.parts.clock,
        )
    return OAuthParts(plane, provider=provider)


__all__ = ["CALLBACK", "BundleSvids", "OAuthParts", "oauth_of"]
