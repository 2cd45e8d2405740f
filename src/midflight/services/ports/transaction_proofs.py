"""What reads and writes transaction tokens: `midflight.wire.tokens` satisfies it as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from midflight.domain.value import JSONObject


class TransactionClaims(Protocol):
    """A verified transaction token. Times in Unix seconds."""

    @property
    def token(self) -> str:
        """Its `jti`."""
        ...

    @property
    def run(self) -> str:
        """Its `txn`."""
        ...

    @property
    def workload(self) -> str:
        """Its `sub`, a SPIFFE ID."""
        ...

    @property
    def scope(self) -> tuple[str, ...]:
        """What it is for at most."""
        ...

    @property
    def actors(self) -> tuple[str, ...]:
        """Who asked for it or acted before, the last one first."""
        ...

    @property
    def expires_at(self) -> int:
        """When it ends."""
        ...

    @property
    def details(self) -> JSONObject:
        """Its `tctx`."""
        ...

    @property
    def context(self) -> JSONObject:
        """Its `rctx`."""
        ...


class TransactionProofs(Protocol):
    """Pure. What does not hold raises `Unauthenticated`."""

    def transaction_context(self, text: str) -> JSONObject:
        """A small JSON object. `Malformed` if it is none."""
        ...

    def transaction_claims(
        self,
        *,
        issuer: str,
        trust_domain_name: str,
        workload: str,
        token: str,
        run: str,
        issued_at: int,
        lifetime_s: int,
        scope: Sequence[str],
        actors: Sequence[str],
        details: JSONObject,
        context: JSONObject,
    ) -> tuple[JSONObject, JSONObject]:
        """Header and claims of a new one, for `TokenSigner.mint`."""
        ...

    def verify_transaction_token(
        self,
        text: str,
        *,
        jwks: Mapping[str, Any],
        issuer: str,
        trust_domain_name: str,
        now: float,
    ) -> TransactionClaims:
        """The claims of one that holds now."""
        ...


__all__ = ["TransactionClaims", "TransactionProofs"]
