"""What is kept of canaries: never their values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.canary import Canary


class CanaryStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def put_canary(self, canary: Canary) -> None:
        """Store a canary. `Conflict` if its name exists."""
        ...

    async def delete_canary(self, name: str) -> bool:
        """Forget a canary. False if there was none of that name."""
        ...

    async def list_canaries(self) -> Sequence[Canary]:
        """All canaries, by name."""
        ...


__all__ = ["CanaryStore"]
