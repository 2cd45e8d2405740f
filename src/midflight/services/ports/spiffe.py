"""How SPIFFE documents are read and written; `wire/spiffe` satisfies it as a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject


class SvidClaims(Protocol):
    """What a verified JWT-SVID says."""

    @property
    def spiffe_id(self) -> str:
        """Whom it speaks for."""
        ...

    @property
    def audience(self) -> tuple[str, ...]:
        """Whom it is for."""
        ...

    @property
    def jti(self) -> str:
        """By which it can be revoked, or empty."""
        ...

    @property
    def issued_at(self) -> int | None:
        """Unix seconds, if it says so."""
        ...

    @property
    def expires_at(self) -> int:
        """Unix seconds."""
        ...

    @property
    def run(self) -> str | None:
        """The run that it was issued for; of ours only where the trust domain is ours."""
        ...

    @property
    def claims(self) -> JSONObject:
        """All of them."""
        ...


class Documents(Protocol):
    """See `wire/spiffe`."""

    def encode_bundle(self, bundle: TrustBundle) -> bytes:
        """The JSON of a bundle."""
        ...

    def decode_bundle(self, raw: bytes, *, trust_domain: str) -> TrustBundle:
        """Read a bundle. `Malformed`, `TooLarge`."""
        ...

    def jwt_svid_claims(
        self, *, subject: str, audience: Sequence[str], token: str, issued_at: int, lifetime_s: int
    ) -> tuple[JSONObject, JSONObject]:
        """Header and claims of a JWT-SVID. `Malformed` for an unusable audience."""
        ...

    def wit_svid_claims(
        self, *, subject: str, key: JSONObject, token: str, issued_at: int, lifetime_s: int
    ) -> tuple[JSONObject, JSONObject]:
        """Header and claims of a WIT-SVID bound to a P-256 JWK."""
        ...

    def verify_jwt_svid(
        self,
        text: str,
        *,
        bundles: Callable[[str], TrustBundle | None],
        audience: str,
        now: float,
        alone: bool = False,
    ) -> SvidClaims:
        """Verify a JWT-SVID. `Unauthenticated`."""
        ...

    def verify_x509_svid(self, chain: Sequence[bytes], *, bundle: TrustBundle, now: float) -> str:
        """The SPIFFE ID that a chain proves. `Unauthenticated`."""
        ...


class BundleSource(Protocol):
    """Where the bundle of another trust domain is fetched from (`adapters/federation`)."""

    @property
    def trust_domain(self) -> str:
        """Whose bundle it is."""
        ...

    async def fetch(self) -> bytes:
        """The document, at most 1 MiB. `Unavailable` if there is none to be had."""
        ...


__all__ = ["BundleSource", "Documents", "SvidClaims"]
