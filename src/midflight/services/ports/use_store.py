"""What counts once: proofs, messages and answers that came before are known again."""

from __future__ import annotations

from typing import Protocol


class UseStore(Protocol):
    """Errors: `StoreUnavailable` when the store does not answer."""

    async def use_once(self, purpose: str, key: str, *, until: int, now: int) -> bool:
        """Note that `key` was used; False if it already was. Entries end after `until` (Unix s).

        Also False if `until` has passed: such a use could not be remembered.
        """
        ...

    async def was_used(self, purpose: str, key: str, *, now: int) -> bool:
        """Whether `key` was used and has not ended; nothing is noted."""
        ...


__all__ = ["UseStore"]
