"""Wires injection: upstreams that repeat no credential, and the lease step of an action."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.services.echoes import Echoes, ScrubbedUpstream
from midflight.services.injection import Injecting, Signers
from midflight.services.interruption import Interruption
from midflight.services.ports.leases import Leases
from midflight.services.ports.upstream import Upstream


class Placing:
    """The upstreams of a plane as everything in it must see them, and what places into them."""

    def __init__(self, upstreams: Mapping[str, Upstream], *, echoes: Echoes) -> None:
        """Nothing is started."""
        self.echoes = echoes
        self.upstreams: dict[str, Upstream] = {
            name: ScrubbedUpstream(upstream, echoes) for name, upstream in upstreams.items()
        }

    def injecting(
        self, leases: Leases, *, signers: Signers | None, interruption: Interruption
    ) -> Injecting:
        """The lease step, over a broker."""
        return Injecting(
            leases=leases,
            signers=signers,
            interruption=interruption,
            echoes=self.echoes,
            upstreams=self.upstreams,
        )


__all__ = ["Placing"]
