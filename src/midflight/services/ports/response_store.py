"""What is kept of responses: an append-only log that is cut off at its old end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.response import Response


class ResponseStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def append_response(self, response: Response) -> None:
        """Keep an entry. One of an id that is there already stays as it is."""
        ...

    async def list_responses(self) -> Sequence[Response]:
        """All entries, in the order they were appended."""
        ...

    async def forget_responses(self, *, ended_before: float) -> int:
        """Forget those that ended before a Unix second; how many. The ledger has them."""
        ...


__all__ = ["ResponseStore"]
