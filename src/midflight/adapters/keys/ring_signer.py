"""The signing key of a ring as a `Signer`, whichever key that is when it signs.

For parts that are made before the rings are started, and that must follow a rotation.
"""

from __future__ import annotations

from typing import Any

from midflight.services.key_rings import KeyRings
from midflight.services.ports.keys import Purpose


class RingSigner:
    """`Signer` over one purpose of the rings."""

    def __init__(self, rings: KeyRings, purpose: Purpose) -> None:
        """The ring will be made: to be called before `KeyRings.start`."""
        rings.want(purpose)
        self._rings = rings
        self._purpose = purpose

    @property
    def algorithm(self) -> str:
        """The algorithm of the purpose."""
        return self._purpose.algorithm

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public key that signs now. `Unavailable` if there is none."""
        return self._rings.signer(self._purpose).public_jwk

    async def sign(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return await self._rings.signer(self._purpose).sign(message)


__all__ = ["RingSigner"]
