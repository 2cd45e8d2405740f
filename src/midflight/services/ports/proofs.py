"""What reads and writes proofs of identity, for `services/identity.py`.

Services do not know bytes and `wire` does not know services, so the reading is handed in:
`midflight.wire.tokens` satisfies `Proofs` as a module. Everything is pure and synchronous; what
does not hold raises `Unauthenticated` with its challenge code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

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


__all__ = ["ProofClaims", "Proofs", "TokenClaims"]
