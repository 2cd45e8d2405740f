"""A store whose revocation log is slow, silent, away, or loses its answers, as a test says."""

from __future__ import annotations

import asyncio
from typing import Any

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import StoreUnavailable
from midflight.domain.revocation import Revocation


class FaultyStore(MemoryStore):
    """Everything but the log works."""

    def __init__(self) -> None:
        super().__init__()
        self.open_to_writes = asyncio.Event()
        self.open_to_writes.set()
        self.asked = asyncio.Event()
        self.is_away = False
        self.loses_answers = False

    async def append_revocation(self, revocation: Revocation) -> int:
        self.asked.set()
        await self.open_to_writes.wait()
        if self.is_away:
            raise StoreUnavailable("The disk is full.")
        position = await super().append_revocation(revocation)
        if self.loses_answers:
            raise StoreUnavailable("The connection broke.")
        return position

    async def revocations(self, *, after: int = 0) -> Any:
        if self.is_away:
            raise StoreUnavailable("The disk is full.")
        return await super().revocations(after=after)


__all__ = ["FaultyStore"]
