"""What all parts of the store in memory share: whether it is open."""

from __future__ import annotations

from midflight.domain.errors import StoreUnavailable


class MemoryPart:
    """A part of a store that answers nothing unless it is open."""

    def __init__(self) -> None:
        super().__init__()
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise StoreUnavailable(
                "The store is closed.", hint="Open it, or start Midflight again."
            )


__all__ = ["MemoryPart"]
