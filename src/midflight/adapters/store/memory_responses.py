"""Responses in memory: a part of `memory.py`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.response import Response


class MemoryResponses(MemoryPart):
    """See the module, and `services/ports/response_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._responses: dict[str, Response] = {}

    async def append_response(self, response: Response) -> None:
        """Keep an entry. One of an id that is there already stays as it is."""
        self._check_open()
        self._responses.setdefault(response.id, response)

    async def list_responses(self) -> Sequence[Response]:
        """All entries, in the order they were appended."""
        self._check_open()
        return list(self._responses.values())

    async def forget_responses(self, *, ended_before: float) -> int:
        """Forget those that ended before a Unix second; how many. The ledger has them."""
        self._check_open()
        old = [key for key, each in self._responses.items() if each.until < ended_before]
        for key in old:
            del self._responses[key]
        return len(old)


__all__ = ["MemoryResponses"]
