"""Where trust bundles come from: our own and those of trust domains we federate with."""

from __future__ import annotations

from typing import Protocol

from midflight.domain.spiffe import TrustBundle


class Bundles(Protocol):
    """Synchronous and in memory: the hot path asks it."""

    def bundle(self, trust_domain: str) -> TrustBundle | None:
        """The bundle in force for a trust domain, or None: then nothing of it verifies."""
        ...


__all__ = ["Bundles"]
