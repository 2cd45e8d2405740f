"""The certificate authority of our trust domain: one adapter a kind in `adapters/authority`."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.spiffe import X509Svid


class Authority(Protocol):
    """Signs X509-SVIDs. What verifies them is published before anything is signed with it."""

    @property
    def roots(self) -> tuple[bytes, ...]:
        """DER certificates that verify what it signed, signs and will sign next."""
        ...

    @property
    def ends_at(self) -> int:
        """Unix seconds when what it signs with ends; 0 while it cannot sign."""
        ...

    async def start(self) -> None:
        """Be able to sign. `Unavailable` or `Misconfigured` if it cannot."""
        ...

    async def issue(self, spiffe_id: str, *, ttl_s: int, run: str | None = None) -> X509Svid:
        """A fresh key and its certificate, ending with the authority's own at the latest.

        It names the run that its bearer was launched for, if any.

        `Unavailable` if it cannot sign now.
        """
        ...

    async def refresh(self) -> bool:
        """Prepare, switch and retire what is due; whether `roots` may have changed."""
        ...

    async def rotate(self, *, root: bool = False) -> None:
        """Prepare the next signing certificate now, under a new root if asked for.

        `Conflict` where the kind has no root of its own; `Unavailable` while it is offline.
        """
        ...

    def close(self) -> None:
        """Release what it holds; it signs no more."""
        ...


__all__ = ["Authority"]
