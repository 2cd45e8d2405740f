"""Registration over a plane in memory, and processes that tests start and describe."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from midflight.domain.attestation import Attested, Entry, Selector
from midflight.domain.spiffe import JwtSvid, X509Svid
from midflight.services.join_tokens import JoinTokens
from midflight.services.registration import Registration
from midflight.testing import ScriptedUpstream
from midflight.testing.plane import MemoryPlane


class Registered:
    """A plane in memory with registration, as composition puts them together."""

    def __init__(self, plane: MemoryPlane) -> None:
        self.plane = plane
        self.registration = Registration(
            store=plane.store,
            recorder=plane.ledger,
            clock=plane.clock,
            inventory=plane.inventory,
            interruption=plane.interruption,
        )
        self.join_tokens = JoinTokens(
            store=plane.store,
            recorder=plane.ledger,
            clock=plane.clock,
            inventory=plane.inventory,
        )


@contextlib.asynccontextmanager
async def registered() -> AsyncIterator[Registered]:
    """Started, with the workload of `midflight.testing` registered."""
    plane = MemoryPlane(upstream=ScriptedUpstream("one", []))
    await plane.start()
    made = Registered(plane)
    await made.registration.start()
    yield made
    await plane.close()


class StandInMint:
    """Stands in for what makes SVIDs, and says for whom one was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    async def x509(self, entry: Entry, *, proof: str) -> X509Svid:
        self.asked.append((entry.spiffe_id, proof))
        return X509Svid(
            spiffe_id=entry.spiffe_id,
            serial="1",
            chain=(b"leaf",),
            key=b"key",
            issued_at=0,
            expires_at=1,
        )

    async def jwt(self, entry: Entry, audience: Sequence[str], *, proof: str) -> JwtSvid:
        self.asked.append((entry.spiffe_id, proof))
        return JwtSvid(
            spiffe_id=entry.spiffe_id,
            jti="j",
            token="t",
            audience=tuple(audience),
            issued_at=0,
            expires_at=1,
        )


def found(*selectors: str) -> Attested:
    """What attestation would say of somebody with these selectors."""
    return Attested(selectors=frozenset(Selector.parse(text) for text in selectors))


def these(*selectors: str) -> frozenset[Selector]:
    """Selectors from text."""
    return frozenset(Selector.parse(text) for text in selectors)


__all__ = ["Registered", "StandInMint", "found", "registered", "these"]
