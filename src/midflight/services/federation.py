"""Federation: the bundles of other trust domains are looked at as often as they ask for.

A bundle that does not come, or is not taken, leaves the one before it in force until that is too
old (`services/bundles.py`); the next look is put off longer each time. How a bundle endpoint is
authenticated is its source's matter.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from midflight.domain.errors import MidflightError
from midflight.services.bundles import TrustBundles
from midflight.services.ports.clock import Clock
from midflight.services.ports.spiffe import BundleSource

MIN_S, MAX_S = 60, 3_600
"""Bounds of a refresh hint of another: neither a load on its endpoint nor out of date."""
FIRST_RETRY_S, MAX_RETRY_S = 10, 600
LOOK_S = 5.0

log = structlog.get_logger(__name__)


class Federation:
    """Keeps bundles fresh. Below: sources, one a trust domain."""

    def __init__(
        self, sources: Sequence[BundleSource], *, bundles: TrustBundles, clock: Clock
    ) -> None:
        """Everything is due at once."""
        self._sources = tuple(sources)
        self._bundles = bundles
        self._clock = clock
        self._due: dict[str, float] = {}
        self._failed: dict[str, int] = {}
        self._problems: dict[str, str] = {}

    def problem(self, trust_domain: str) -> str:
        """Why the last look at it failed, or empty."""
        return self._problems.get(trust_domain, "")

    def due_at(self, trust_domain: str) -> float:
        """Monotonic seconds of the next look; 0 for at once."""
        return self._due.get(trust_domain, 0.0)

    async def refresh(self) -> None:
        """Look at every bundle that is due, at once beside each other."""
        now = self._clock.monotonic()
        due = [source for source in self._sources if self.due_at(source.trust_domain) <= now]
        await asyncio.gather(*(self._look(source) for source in due))

    async def run(self) -> None:
        """Do so for ever, each for itself: one that hangs or has a bug holds up no other."""
        await asyncio.gather(*(self._follow(source) for source in self._sources))

    async def _follow(self, source: BundleSource) -> None:
        while True:
            if self.due_at(source.trust_domain) <= self._clock.monotonic():
                await self._look(source)
            await asyncio.sleep(LOOK_S)

    async def _look(self, source: BundleSource) -> None:
        name = source.trust_domain
        try:
            await self._bundles.accept(name, await source.fetch())
            held = self._bundles.bundle(name)
        except Exception as error:  # noqa: BLE001 -- a bug with one must not end all the others
            why = error.message if isinstance(error, MidflightError) else type(error).__name__
            failed = self._failed[name] = self._failed.get(name, 0) + 1
            wait_s = min(FIRST_RETRY_S * 2 ** min(failed - 1, 16), MAX_RETRY_S)
            self._problems[name] = why
            log.warning("bundle_not_refreshed", trust_domain=name, why=why)
        else:
            hint_s = MIN_S if held is None else held.refresh_hint_s
            wait_s = max(MIN_S, min(hint_s, MAX_S))
            self._failed.pop(name, None)
            self._problems.pop(name, None)
        self._due[name] = self._clock.monotonic() + wait_s


__all__ = ["FIRST_RETRY_S", "LOOK_S", "MAX_RETRY_S", "MAX_S", "MIN_S", "Federation"]
