"""Credentials in memory: the whole contract, for tests. What it "logs in" to is itself.

`MemoryServer` stands for the server at the other end, so it outlives a backend as a database
outlives a broker. `before` and `after` are called around each verb with its name: a test raises
there, to fail or to crash at any point.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.lease import NAME_PREFIX, Lease, Revocability, Secret
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import Setup


class MemoryServer:
    """What holds the credentials that exist."""

    def __init__(self) -> None:
        """Empty."""
        self.accounts: dict[str, tuple[str, tuple[str, ...], int]] = {}
        """Name to its password, scopes and end."""
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _verb, _name: None
        self.after: Callable[[str, str], None] = lambda _verb, _name: None

    def works(self, secret: Secret, *, now: float = 0) -> bool:
        """Whether somebody can log in with it."""
        account = self.accounts.get(secret.fields["username"])
        return account is not None and account[0] == secret.fields["token"] and account[2] > now

    def maker(self, setup: Setup) -> MemoryBackend:
        """A backend over this server."""
        return MemoryBackend(setup, self)


class MemoryBackend:
    """See the module."""

    def __init__(self, setup: Setup, server: MemoryServer) -> None:
        """Of its settings it reads `revocability`, `can_renew` and `outlives_s`.

        Accounts last `outlives_s` seconds longer than their leases.
        """
        self._setup = setup
        self._server = server
        self._credential = setup.credential
        settings = setup.credential.settings
        try:
            self._revocability = Revocability(settings.get("revocability", "immediate"))
        except ValueError:
            raise Misconfigured("revocability: immediate, at_expiry or never.") from None
        self._can_renew = bool(settings.get("can_renew", True))
        outlives = settings.get("outlives_s", 0)
        self._outlives_s = outlives if isinstance(outlives, int) else 0

    @property
    def revocability(self) -> Revocability:
        """As configured; `immediate` if it is not."""
        return self._revocability

    @property
    def fields(self) -> frozenset[str] | None:
        """Of an account."""
        return frozenset({"username", "token"})

    async def check(self) -> str:
        """Say how many accounts there are."""
        self._called("check", "")
        return f"{len(self._server.accounts)} accounts in memory."

    async def issue(self, lease: Lease) -> Issued:
        """Make an account named `lease.external`, replacing one of that name."""
        if beyond := set(lease.scopes) - set(self._credential.scopes):
            raise Misconfigured(f"No such scopes: {', '.join(sorted(beyond))}.")
        self._called("issue", lease.external)
        password = secrets.token_urlsafe(24)
        ends = lease.expires_at + self._outlives_s
        self._server.accounts[lease.external] = (password, lease.scopes, ends)
        self._server.after("issue", lease.external)
        secret = Secret(fields={"username": lease.external, "token": password}, expires_at=ends)
        # As real ones: those that can take nothing back have nothing to take it back by.
        takes_back = self._revocability is Revocability.IMMEDIATE
        return Issued(secret=secret, handle=f"account:{lease.external}" if takes_back else "")

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Make it last. `Conflict` if it is gone or accounts here cannot be renewed."""
        self._called("renew", lease.external)
        account = self._server.accounts.get(lease.external)
        if account is None or not self._can_renew:
            raise Conflict(f"{lease.external} cannot be renewed.")
        self._server.accounts[lease.external] = (account[0], account[1], expires_at)
        self._server.after("renew", lease.external)
        return expires_at

    async def revoke(self, lease: Lease) -> int | None:
        """End it, unless accounts here cannot be ended."""
        self._called("revoke", lease.external)
        if self._revocability is Revocability.IMMEDIATE:
            self._server.accounts.pop(lease.external, None)
        self._server.after("revoke", lease.external)
        if self._revocability is Revocability.AT_EXPIRY:
            return lease.expires_at + self._outlives_s
        return None

    async def names(self) -> Sequence[str]:
        """All accounts with the broker's prefix."""
        self._called("names", "")
        return [name for name in self._server.accounts if name.startswith(NAME_PREFIX)]

    async def discard(self, name: str) -> None:
        """End what no lease accounts for."""
        self._called("discard", name)
        self._server.accounts.pop(name, None)
        self._server.after("discard", name)

    async def close(self) -> None:
        """Nothing to release."""

    def _called(self, verb: str, name: str) -> None:
        self._server.calls.append((verb, name))
        self._server.before(verb, name)


__all__ = ["MemoryBackend", "MemoryServer"]
