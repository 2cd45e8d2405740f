"""Key rings without a plane: kept in a directory or in memory, recorded in a list."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.ring_files import MemoryRings, RingFiles
from midflight.apps.compose_keys import mint
from midflight.services.key_rings import KeyRings
from midflight.services.ports.key_rings import KeySource, RingStore
from midflight.services.ports.keys import Purpose, TokenSigner
from midflight.testing import FakeClock
from midflight.testing.words import OPERATOR


class Recording:
    """A recorder whose records are durable at once."""

    available = True

    def __init__(self) -> None:
        self.records: list[Any] = []

    def append(self, record: Any) -> Any:
        self.records.append(record)
        return self

    id = "r"

    async def durable(self) -> None:
        """At once."""


class SomeRings:
    """Rings and a mint for each of their purposes. For tests that are not asynchronous, too."""

    def __init__(
        self,
        where: Path | RingStore | None = None,
        *,
        clock: FakeClock,
        purposes: Iterable[Purpose] = (Purpose.ACCESS_TOKEN,),
        sources: Mapping[str, KeySource] | None = None,
        backends: Mapping[Purpose, str] | None = None,
    ) -> None:
        store = MemoryRings() if where is None else where
        self.store: RingStore = RingFiles(store) if isinstance(store, Path) else store
        self.recorder = Recording()
        self.rings = KeyRings(
            store=self.store,
            sources={"file": FileKeySource(), **(sources or {})},
            backends=backends or {},
            clock=clock,
        )
        self.mints: dict[Purpose, TokenSigner] = {one: mint(self.rings, one) for one in purposes}

    @property
    def tokens(self) -> TokenSigner:
        return self.mints[Purpose.ACCESS_TOKEN]

    def start(self) -> SomeRings:
        asyncio.run(self.rings.start(self.recorder))
        return self

    def announce(self) -> str:
        return asyncio.run(self.rings.rotate(None, author=OPERATOR))[0].kid

    def rotate(self) -> str:
        return asyncio.run(self.rings.rotate(None, author=OPERATOR, at_once=True))[0].kid

    def sweep(self) -> None:
        asyncio.run(self.rings.sweep())

    def withdraw(self, kid: str) -> str:
        return asyncio.run(self.rings.withdraw(kid, author=OPERATOR)).signs


__all__ = ["Recording", "SomeRings"]
