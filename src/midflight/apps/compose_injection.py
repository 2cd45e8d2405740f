"""Wires injection: upstreams that repeat no credential, the lease step, and private memory."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.adapters.process.hardening import dumps_forbidden, forbid_dumps
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


def keep_memory_private() -> None:
    """Before a plane gets secrets: nothing dumps its memory.

    Raises:
        Misconfigured: the kernel does not do it.
    """
    forbid_dumps()


def memory_is_private() -> bool:
    """Whether nothing dumps this process."""
    return dumps_forbidden()


__all__ = ["Placing", "keep_memory_private", "memory_is_private"]
