"""What reads and writes proofs of identity, for `services/identity.py`.

Services do not know bytes and `wire` does not know services, so the reading is handed in:
`midflight.wire.tokens` satisfies `Proofs` as a module. Everything is pure and synchronous; what
does not hold raises `Unauthenticated` with its challenge code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from midflight.domain.outside_token import Hint, OutsideToken, Profile
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject


class TokenClaims(Protocol):
    """The claims of a verified access token. Times in Unix seconds."""

    @property
    def token(self) -> str:
        """Its `jti`."""
        ...

    @property
    def workload(self) -> str:
        """The SPIFFE ID it speaks for."""
        ...

    @property
    def run(self) -> str | None:
        """The run it was minted for."""
        ...

    @property
    def thumbprint(self) -> str | None:
        """The key it is bound to, or None if to none."""
        ...

    @property
    def certificate(self) -> str | None:
        """The certificate it is bound to, as `x5t#S256`, or None if to none."""
        ...

    @property
    def scope(self) -> tuple[str, ...] | None:
        """What it is narrowed to, or None where it is not."""
        ...

    @property
    def actors(self) -> tuple[str, ...]:
        """Who acts for its workload, the one that acts first."""
        ...

    @property
    def client(self) -> str:
        """The client that got it."""
        ...

    @property
    def issued_at(self) -> int:
        """When it was made."""
        ...

    @property
    def expires_at(self) -> int:
        """When it ends."""
        ...


class ProofClaims(Protocol):
    """A verified proof of possession, which must be spent once."""

    @property
    def replay_key(self) -> str:
        """What must not be used twice."""
        ...

    @property
    def until(self) -> int:
        """Unix seconds after which it could not be accepted again."""
        ...


class Proofs(Protocol):
    """Reading and writing of tokens, proofs and challenges."""

    def access_claims(
        self,
        *,
        issuer: str,
        resource: str,
        workload: str,
        token: str,
        issued_at: int,
        lifetime_s: int,
        run: str | None,
        thumbprint: str | None,
        certificate: str | None = None,
        client: str | None = None,
        scope: Sequence[str] | None = None,
        actors: Sequence[str] = (),
    ) -> tuple[JSONObject, JSONObject]:
        """Header and claims of a new access token, for `TokenSigner.sign`."""
        ...

    def verify_access_token(
        self,
        text: str,
        *,
        jwks: Mapping[str, Any],
        issuer: str,
        resource: str,
        trust_domain_name: str,
        now: float,
    ) -> TokenClaims:
        """The claims of an access token that holds now. `Unauthenticated` if it does not."""
        ...

    def verify_proof(
        self, text: str, *, method: str, url: str, token: str, bound_to: str, now: float
    ) -> ProofClaims:
        """A proof that holds now for this request and token. `Unauthenticated` if it does not."""
        ...

    def is_thumbprint(self, text: str) -> bool:
        """Whether this has the form of a key's thumbprint."""
        ...

    def certificate_thumbprint(self, der: bytes) -> str:
        """The `x5t#S256` of a certificate, which a token can be bound to."""
        ...

    def is_access_token(self, text: str) -> bool:
        """Whether its header says that it is one of ours; nothing is verified."""
        ...

    def challenge(self, *, error: str, description: str, metadata: str) -> str:
        """The `WWW-Authenticate` header for a refusal."""
        ...

    def metadata_url(self, resource: str) -> str:
        """Where the metadata document of a resource is."""
        ...

    def resource_metadata(
        self,
        *,
        resource: str,
        issuer: str,
        jwks_uri: str,
        name: str,
        scopes: Sequence[str] = (),
        mtls: bool = False,
    ) -> JSONObject:
        """The metadata document of the resource."""
        ...


class OutsideTokens(Protocol):
    """Reading of tokens that others sign; `midflight.wire.tokens` satisfies it as a module."""

    def unverified(self, text: str) -> Hint:
        """Whose token it claims to be, for a look-up in a fixed table and nothing else."""
        ...

    def verify(
        self, text: str, *, profile: Profile, jwks: Mapping[str, Any], now: float
    ) -> OutsideToken:
        """The claims of a token that holds now. `Unauthenticated` if it does not."""
        ...


class CertificateFacts(Protocol):
    """What a certificate says of itself, unverified, and what it is called by."""

    @property
    def spiffe_id(self) -> str:
        """The one URI of its names, or empty; it chooses the bundle and is believed by none."""
        ...

    @property
    def serial(self) -> str:
        """Its serial number, lower-case hexadecimal: by which it can be revoked."""
        ...

    @property
    def expires_at(self) -> int:
        """Unix seconds when it ends."""
        ...

    @property
    def run(self) -> str | None:
        """The run that it names; of ours only where the trust domain is ours."""
        ...


class Certificates(Protocol):
    """Reading of certificates; `midflight.wire.tokens` satisfies it as a module."""

    def read_certificate(self, der: bytes) -> CertificateFacts:
        """What one says of itself, unverified. `Unauthenticated` where it cannot be read."""
        ...


class JwtSvidFacts(Protocol):
    """A verified JWT-SVID."""

    @property
    def spiffe_id(self) -> str:
        """The SPIFFE ID that it proves."""
        ...

    @property
    def jti(self) -> str:
        """Its id, or empty."""
        ...

    @property
    def run(self) -> str | None:
        """The run that it was issued for; of ours only where the trust domain is ours."""
        ...

    @property
    def expires_at(self) -> int:
        """Unix seconds when it ends."""
        ...


class Svids(Protocol):
    """Reading of SVIDs; `midflight.wire.spiffe` satisfies it. Each raises `Unauthenticated`."""

    def verify_x509_svid(self, chain: Sequence[bytes], *, bundle: TrustBundle, now: float) -> str:
        """The SPIFFE ID that a chain (DER, the leaf first) proves by this bundle, now."""
        ...

    def verify_jwt_svid(
        self,
        text: str,
        *,
        bundles: Callable[[str], TrustBundle | None],
        audience: str,
        now: float,
        alone: bool = False,
    ) -> JwtSvidFacts:
        """What a JWT-SVID for this audience (`alone`: and for no other) proves now."""
        ...


__all__ = [
    "CertificateFacts",
    "Certificates",
    "JwtSvidFacts",
    "OutsideTokens",
    "ProofClaims",
    "Proofs",
    "Svids",
    "TokenClaims",
]
