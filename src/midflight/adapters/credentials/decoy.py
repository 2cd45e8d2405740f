"""A decoy: a credential that nobody has a reason to lease. Whoever does is found.

It lends nothing and reaches nothing. It goes along with no call by itself: only the placeholder of
its name asks for it, and that stands where its operator has planted it. The broker refuses it and
says so (`services/broker.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.errors import Conflict, Misconfigured
from midflight.domain.lease import Lease, Placement, Revocability
from midflight.services.ports.credential_backend import Issued
from midflight.services.ports.secret_reader import Setup


class DecoyBackend:
    """See the module."""

    def __init__(self, setup: Setup) -> None:
        """`Misconfigured` if it has settings, or would go along with calls that do not ask."""
        credential = setup.credential
        problems: list[str] = []
        if credential.settings or credential.scopes:
            problems.append("a decoy has neither settings nor scopes")
        if {rule.placement for rule in credential.injections} != {Placement.ARGUMENT}:
            problems.append("a decoy is placed as an argument only, or honest calls would lease it")
        if problems:
            raise Misconfigured(
                f"Credential {credential.name} cannot be used: {'; '.join(problems)}.",
                hint="midflight canary plant NAME --in credential makes one.",
            )
        self._name = credential.name

    @property
    def revocability(self) -> Revocability:
        """There is nothing to end."""
        return Revocability.NEVER

    @property
    def fields(self) -> frozenset[str] | None:
        """One, which nobody gets."""
        return frozenset({"token"})

    async def check(self) -> str:
        """What it is."""
        return "A decoy. It lends nothing, and whoever asks for it is found."

    async def issue(self, lease: Lease) -> Issued:
        """Never."""
        del lease
        raise Misconfigured(f"Credential {self._name} lends nothing.")

    async def renew(self, lease: Lease, *, expires_at: int) -> int:
        """Never."""
        del lease, expires_at
        raise Conflict(f"Credential {self._name} lends nothing.")

    async def revoke(self, lease: Lease) -> None:
        """Nothing to tell anybody."""

    async def names(self) -> Sequence[str]:
        """None: it makes nothing."""
        return ()

    async def discard(self, name: str) -> None:
        """Nothing to end."""

    async def close(self) -> None:
        """Nothing to release."""


__all__ = ["DecoyBackend"]
