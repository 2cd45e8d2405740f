"""What reads identity assertions; `midflight.wire.oauth.proofs` satisfies it as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class AssertionFacts(Protocol):
    """A verified identity assertion. Times in Unix seconds."""

    @property
    def person(self) -> str:
        """Who it is of, by the name that the issuer has for him."""
        ...

    @property
    def client(self) -> str:
        """The client that it was given to."""
        ...

    @property
    def jti(self) -> str:
        """Its id."""
        ...

    @property
    def replay_key(self) -> str:
        """What must not be used twice."""
        ...

    @property
    def until(self) -> int:
        """When it could not be accepted again."""
        ...

    @property
    def resources(self) -> tuple[str, ...] | None:
        """What it is for, or None where it does not say."""
        ...

    @property
    def scope(self) -> str | None:
        """What it is narrowed to, as text, or None."""
        ...

    @property
    def thumbprint(self) -> str | None:
        """The key it is bound to, or None."""
        ...

    @property
    def certificate(self) -> str | None:
        """The certificate it is bound to, or None."""
        ...


class AssertionProofs(Protocol):
    """Pure. What does not hold raises `Unauthenticated`."""

    def verify_identity_assertion(
        self,
        text: str,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        tenant: str | None,
        jwks: Mapping[str, Any],
        now: float,
    ) -> AssertionFacts:
        """One of this issuer, for this server alone, that holds now."""
        ...


__all__ = ["AssertionFacts", "AssertionProofs"]
