"""An OpenID provider that knows people, as this server is a client of it."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.authorization import Person


class LoginProvider(Protocol):
    """Errors: `UpstreamUnavailable` when the provider does not answer."""

    @property
    def issuer(self) -> str:
        """Its issuer, exactly."""
        ...

    async def begin(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser. `verifier` is the PKCE verifier of this sign-in."""
        ...

    async def finish(self, *, code: str, nonce: str, verifier: str) -> Person:
        """Who came back. `Unauthenticated` if what it says does not hold."""
        ...

    async def person_of(self, id_token: str) -> tuple[Person, str, int]:
        """Whom an ID token for us is of, what its single use is of, and when it ends (Unix s).

        `Unauthenticated` if it does not hold.
        """
        ...


__all__ = ["LoginProvider"]
