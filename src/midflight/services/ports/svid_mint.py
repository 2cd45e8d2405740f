"""What makes SVIDs of entries: `services/svids.py`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.attestation import Entry
from midflight.domain.spiffe import JwtSvid, X509Svid


class SvidMint(Protocol):
    """Records what it issues before it returns. `proof` says what it was issued on."""

    async def x509(self, entry: Entry, *, proof: str) -> X509Svid:
        """A fresh X509-SVID with its key."""
        ...

    async def jwt(self, entry: Entry, audience: Sequence[str], *, proof: str) -> JwtSvid:
        """A fresh JWT-SVID for these audiences."""
        ...


__all__ = ["SvidMint"]
