"""Wiring of the authorization server: a part of `compose.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from midflight.adapters.documents.https import HttpsDocuments
from midflight.adapters.login.oidc import OidcLogin
from midflight.apps.compose_experimental import identity_assertions, transaction_tokens
from midflight.domain.errors import Unauthenticated
from midflight.domain.identity import trust_domain
from midflight.domain.revocation import scopes_over
from midflight.domain.value import Value
from midflight.services.authorization import Authorization
from midflight.services.authorization_clients import Clients
from midflight.services.authorization_codes import Codes
from midflight.services.authorization_exchange import Exchange
from midflight.services.authorization_people import People
from midflight.services.authorization_subjects import (
    JobTokens,
    OwnTokens,
    PersonTokens,
    Subjects,
    SvidTokens,
)
from midflight.services.authorization_tokens import AuthorizedTokens
from midflight.services.ports.authorization_proofs import SubjectTokens, SvidClaims
from midflight.services.ports.login import LoginProvider
from midflight.services.receipts import refusal
from midflight.wire.oauth import proofs
from midflight.wire.oauth.redirects import LOOPBACK
from midflight.wire.spiffe.x509 import leaf_spiffe_id, verify_x509_svid
from midflight.wire.tokens import read_certificate
from midflight.wire.tokens.certificate import certificate_thumbprint

if TYPE_CHECKING:
    from midflight.apps.compose import Plane

CALLBACK = "/oauth/callback"
PRUNE_S = 60.0
MAX_SVID_S = 3_600
"""What an SVID of another trust domain may live; ours live for five minutes."""


class PlaneSvids:
    """SVIDs of this trust domain and of those it is federated with."""

    def __init__(self, plane: Plane) -> None:
        self._spiffe = plane.spiffe
        self._interruption = plane.interruption
        self._own = plane.settings.identity.trust_domain

    def of_token(self, text: str, *, audience: str, now: float) -> SvidClaims:
        """See `Svids`. Nobody else than this server can have been shown it."""
        found = self._spiffe.svids.validate_jwt(text, audience, alone=True)
        if found.expires_at > now + MAX_SVID_S:
            raise Unauthenticated("The SVID lives longer than is borne with here.")
        # Without a signature, which has two spellings in ECDSA.
        signed = hashlib.sha256(text.rpartition(".")[0].encode("ascii")).hexdigest()
        own = trust_domain(found.spiffe_id) == self._own
        return _Svid(
            spiffe_id=found.spiffe_id,
            id=signed,
            expires_at=found.expires_at,
            run=found.run if own else None,
        )

    def of_certificate(self, chain: Sequence[bytes], *, now: float) -> SvidClaims:
        """See `Svids`."""
        domain = trust_domain(leaf_spiffe_id(chain[0]))
        bundle = self._spiffe.bundles.bundle(domain)
        if bundle is None:
            raise Unauthenticated("The certificate is of no trust domain that is known here.")
        proved = verify_x509_svid(chain, bundle=bundle, now=now)
        said = read_certificate(chain[0])
        # As at the gateway: what is revoked by its serial number gets no token either.
        revocation = self._interruption.covering(scopes_over(proved, token=said.serial))
        if revocation is not None:
            raise refusal(revocation)
        return _Svid(
            spiffe_id=proved,
            id=certificate_thumbprint(chain[0]),
            expires_at=int(now),
            run=said.run if domain == self._own else None,
        )


class _Svid(Value):
    spiffe_id: str
    id: str
    expires_at: int
    run: str | None = None


class OAuthParts:
    """What the authorization server is made of."""

    def __init__(self, plane: Plane, *, provider: LoginProvider | None) -> None:
        settings, made = plane.settings, plane.parts
        self._store = made.store
        self._clock = made.clock
        self._pruned = 0.0
        self.resource = f"{settings.public_url}/mcp"
        self.documents = HttpsDocuments()
        svids = PlaneSvids(plane)
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
            svids=svids,
            documents=self.documents,
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
            job_runs=plane.job_runs,
        )
        own = OwnTokens(identity=plane.identity, tokens=self.tokens)
        kinds: Sequence[SubjectTokens] = (
            own,
            SvidTokens(svids=svids, proofs=proofs, issuer=settings.issuer),
            JobTokens(federation=plane.job_federation, runs=plane.job_runs),
            *(() if provider is None else (PersonTokens(provider),)),
        )
        transactions = transaction_tokens(plane, clients=self.clients, tokens=self.tokens, own=own)
        self.authorization = Authorization(
            clients=self.clients,
            tokens=self.tokens,
            exchange=Exchange(
                clients=self.clients,
                tokens=self.tokens,
                subjects=Subjects(kinds, store=made.store, clock=made.clock),
                runs=plane.runs,
                delegation=plane.delegation,
                inventory=plane.inventory,
                proofs=proofs,
                transactions=transactions,
            ),
            transactions=transactions,
            assertions=identity_assertions(
                plane,
                clients=self.clients,
                tokens=self.tokens,
                documents=self.documents,
                resource=self.resource,
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
        provider = OidcLogin(
            issuer=login.issuer,
            client_id=login.client_id,
            client_secret=login.client_secret.read,
            claim=login.claim,
            redirect_uri=plane.settings.public_url + CALLBACK,
            clock=plane.parts.clock,
        )
    return OAuthParts(plane, provider=provider)


__all__ = ["CALLBACK", "OAuthParts", "PlaneSvids", "oauth_of"]
