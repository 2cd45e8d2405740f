"""A person logs in at an upstream's authorization server once, and leases live on what that gave.

`LogsIn` is the part of a backend that can be logged in to; `Logins` is where it keeps what it got.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from midflight.domain.lease import Credential
from midflight.domain.value import Discreet


class Logins(Protocol):
    """What logins gave, by the name of their credential: a secret, encrypted at rest."""

    async def get(self, name: str) -> str | None:
        """What is kept, or None. `StoreUnavailable` if it does not open."""
        ...

    async def put(self, name: str, text: str) -> None:
        """Keep it in place of what was kept. Durable when this returns."""
        ...

    async def forget(self, name: str) -> None:
        """Keep nothing any more."""
        ...


class BegunLogin(Discreet):
    """A login that waits for its person. `url` is for a browser, `issuer` is who asks there."""

    shown = ("id", "issuer", "scopes")

    id: str
    url: str
    issuer: str
    scopes: tuple[str, ...]


class EndedLogin(Discreet):
    """A login that is done. `lasts` says in words for how long."""

    shown = ("issuer", "scopes", "lasts")

    issuer: str
    scopes: tuple[str, ...]
    lasts: str


@runtime_checkable
class LogsIn(Protocol):
    """A backend whose leases may need a person to log in first."""

    async def begin_login(self, redirect_uri: str) -> BegunLogin:
        """Begin; `redirect_uri` is where the browser is sent back to.

        Raises:
            Conflict: no person is needed. Misconfigured, Unavailable: as of `issue`.
        """
        ...

    async def finish_login(self, login: str, parameters: Mapping[str, str]) -> EndedLogin:
        """End it with what the browser brought back. Whatever comes of it, it is over.

        Raises:
            NotFound: no such login waits. Forbidden: the answer is not one to this login.
            Misconfigured, Unavailable: as of `issue`.
        """
        ...

    async def end_login(self) -> None:
        """Forget what it gave, and tell the server if that listens; it need not."""
        ...


@runtime_checkable
class Pins(Protocol):
    """A backend that can find something whose choice is an operator's."""

    async def pinned(self) -> Credential:
        """Its credential with what was found written into it, for an operator to see and keep."""
        ...


__all__ = ["BegunLogin", "EndedLogin", "Logins", "LogsIn", "Pins"]
