"""A static secret, for what offers nothing better: encrypted at rest, handed out as it is.

Nothing ends it but somebody who changes it where it is from (`Revocability.NEVER`), so it is debt,
and posture shows it with its age. A lease of it bounds who may use it here, and for how long.
Settings: each is a field of the secret and names where it is (`token = "sealed:…"`).
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.lease import Lease, Revocability, Secret
from midflight.services.credentials import REFERENCE
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import Setup


class SealedBackend:
    """See the module."""

    def __init__(self, setup: Setup) -> None:
        """`Misconfigured` unless every setting is a reference, and no scopes are claimed."""
        self._secrets = setup.secrets
        self._name = setup.credential.name
        settings = setup.credential.settings
        problems = [
            f"{field}: name the secret by env:NAME, file:PATH or sealed"
            for field, value in sorted(settings.items())
            if not isinstance(value, str) or REFERENCE.match(value) is None
        ]
        if not settings:
            problems.append("--secret token=sealed is missing")
        if setup.credential.scopes:
            problems.append("scopes: a static secret has the width that it has")
        if problems:
            raise Misconfigured(f"Credential {self._name} cannot be used: {'; '.join(problems)}.")
        self._references: dict[str, str] = dict(settings)

    @property
    def revocability(self) -> Revocability:
        """Nothing here ends it."""
        return Revocability.NEVER

    @property
    def fields(self) -> frozenset[str] | None:
        """As many as there are settings."""
        return frozenset(self._references)

    async def check(self) -> str:
        """Open it, and say what it consists of."""
        fields = await self._read()
        return (
            f"A static secret with {', '.join(sorted(fields))}. It never ends by itself: replace "
            "it by a backend that makes short-lived ones as soon as there is one."
        )

    async def issue(self, lease: Lease) -> Issued:
        """Hand out the secret."""
        if lease.scopes:
            raise Misconfigured(f"Credential {self._name} has no scopes.")
        return Issued(secret=Secret(fields=await self._read()))

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Always refused: a new lease reads it again, and so gets a secret that was replaced."""
        del lease, expires_at
        raise Conflict(f"A lease of {self._name} is made anew instead.")

    async def revoke(self, lease: Lease) -> None:
        """Nothing to tell anybody."""

    async def names(self) -> Sequence[str]:
        """None: it makes nothing."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to end."""

    async def close(self) -> None:
        """Nothing to release."""

    async def _read(self) -> dict[str, str]:
        return {field: await self._secrets.read(ref) for field, ref in self._references.items()}


__all__ = ["SealedBackend"]
