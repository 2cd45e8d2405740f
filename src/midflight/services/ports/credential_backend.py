"""What makes and takes back credentials: one adapter a technology (`adapters/credentials`).

The broker (`services/broker.py`) writes the lease down before it calls `issue`, and calls `revoke`
until it succeeds, so both may be called again after a crash at any point between.
Errors: `Unavailable` when the backend does not answer (tried again); `Misconfigured` when it will
never work as configured; no message holds a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.lease import Lease, Revocability, Secret
from midflight.domain.value import Discreet


class Issued(Discreet):
    """A new credential, with what is needed to revoke it (`handle`: no secret, it is stored)."""

    shown = ("handle",)

    secret: Secret
    handle: str = ""


class CredentialBackend(Protocol):
    """One configured source of credentials, such as one database with its administrator."""

    @property
    def revocability(self) -> Revocability:
        """What ends its credentials before their time."""
        ...

    @property
    def fields(self) -> frozenset[str] | None:
        """Names of the fields of its secrets, or None where only issuing one tells."""
        ...

    async def check(self) -> str:
        """Reach the backend and say in a sentence what it can do, without leaving a trace."""
        ...

    async def issue(self, lease: Lease) -> Issued:
        """Make a credential named `lease.external`, no wider than `lease.scopes`.

        The backend itself ends it soon after `lease.expires_at`, whatever becomes of Midflight.
        If one of that name is there already (a crash came between), it is replaced.
        """
        ...

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Make it last until `expires_at`, and return when it ends now (Unix seconds).

        `Conflict` if it cannot be renewed; then a new lease takes its place.
        """
        ...

    async def revoke(self, lease: Lease) -> int | None:
        """End it, and whatever was opened with it. That it is gone already is success.

        Returns:
            None once it is gone (or is a static secret, which nobody ends). Otherwise when it ends
            by itself at the latest (Unix seconds), which may be after `lease.expires_at`, and has
            to be said of a lease as well of which nobody knows whether it was issued.
        """
        ...

    async def names(self) -> Sequence[str]:
        """External names with the broker's prefix that exist at the backend now.

        Empty where the backend cannot list. The sweep ends those that have no lease.
        """
        ...

    async def discard(self, name: str) -> None:
        """End what `names` has listed and no lease accounts for."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


__all__ = ["CredentialBackend", "Issued"]
