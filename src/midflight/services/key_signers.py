"""The keys in use in this process: public halves that verify, and an open signer a purpose.

What the hot path asks stands in memory here. `key_rings.py` decides what the rings are and hands
them in; whatever a key source does wrong, a withdrawn key is out of use first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.key_ring import KeyState, Ring, Rings
from midflight.domain.value import JSONObject
from midflight.services.ports.clock import Clock
from midflight.services.ports.key_rings import KeySource
from midflight.services.ports.keys import Purpose, Signer


class KeysInUse:
    """See the module."""

    def __init__(self, *, sources: Mapping[str, KeySource], clock: Clock) -> None:
        """No rings yet; `sources` by backend."""
        self.rings: Rings = {}
        self._sources = dict(sources)
        self._clock = clock
        self._signers: dict[Purpose, Signer] = {}
        self._gone: list[Callable[[], None]] = []

    def signer(self, purpose: Purpose) -> Signer:
        """See `KeyRings.signer`."""
        found = self._signers.get(purpose)
        if found is None:
            raise Unavailable(
                f"There is no key that signs for {purpose.value}.",
                hint="midflight keys list shows the keys; the log says why one cannot be used.",
            )
        return found

    def jwks(self, *purposes: Purpose) -> JSONObject:
        """See `KeyRings.jwks`."""
        now = self._clock.now()
        keys: list[dict[str, Any]] = []
        for purpose in purposes:
            ring = self.rings.get(purpose.value)
            if ring is not None:
                keys += [
                    dict(key.jwk)
                    for key in ring.keys
                    if key.state is not KeyState.RETIRED or key.until > now
                ]
        return {"keys": keys}

    def source(self, backend: str) -> KeySource:
        """What holds keys of that backend. `Misconfigured` if none is set."""
        found = self._sources.get(backend)
        if found is None:
            raise Misconfigured(
                f"Keys are held by {backend}, and no such backend is set.",
                hint=f"Set [keys.{backend}] again until the keys there are retired.",
            )
        return found

    def on_withdrawn(self, act: Callable[[], None]) -> None:
        """See `KeyRings.on_withdrawn`."""
        self._gone.append(act)

    def put(self, purpose: Purpose, signer: Signer) -> None:
        """Sign with this one, which was opened for the current key of the rings to come."""
        self._signers[purpose] = signer

    async def adopt(self, rings: Rings) -> None:
        """Use these rings, and open what signs in them.

        Raises:
            Unavailable, Misconfigured: some key cannot be opened; all others are in use.
        """
        self.forget(rings)
        failed: MidflightError | None = None
        for name, ring in rings.items():
            purpose, current = Purpose(name), ring.current
            signer = self._signers.get(purpose)
            if current is None or (signer and signer.public_jwk["kid"] == current.kid):
                continue
            try:
                self._signers[purpose] = await self.source(current.backend).open(purpose, current)
            except MidflightError as error:
                # The one before signs on as long as what it signs would still verify to its end.
                if signer and not self._outlives(ring, signer.public_jwk["kid"], purpose):
                    del self._signers[purpose]
                failed = failed or error
        if failed is not None:
            raise failed

    def forget(self, rings: Rings) -> None:
        """Use these rings to verify; what is withdrawn in them is out of use at once."""
        gone = _withdrawn(rings) - _withdrawn(self.rings)
        for purpose, signer in list(self._signers.items()):
            if signer.public_jwk["kid"] in gone:
                del self._signers[purpose]
        self.rings = rings
        if gone:
            for act in self._gone:
                act()

    async def close(self) -> None:
        """Release all sources."""
        for source in self._sources.values():
            await source.close()

    def _outlives(self, ring: Ring, kid: str, purpose: Purpose) -> bool:
        ends = self._clock.now() + purpose.life_s
        return any(key.kid == kid and key.until > ends for key in ring.keys)


def _withdrawn(rings: Rings) -> frozenset[str]:
    return frozenset(kid for ring in rings.values() for kid in ring.withdrawn)


__all__ = ["KeysInUse"]
