"""A `Signer` whose private key stays elsewhere: in a hardware module, in a key service.

It knows the public half and whom to ask; `pkcs11_keys.py` and `transit_keys.py` say how.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from midflight.domain.key_ring import RingKey
from midflight.services.ports.keys import Purpose


class RemoteSigner:
    """See the module."""

    def __init__(
        self, key: RingKey, purpose: Purpose, ask: Callable[[bytes], Awaitable[bytes]]
    ) -> None:
        """`ask` makes the JWS signature of a message; whoever opens the key has it prove itself."""
        self._jwk = key.jwk
        self._algorithm = purpose.algorithm
        self._ask = ask

    @property
    def algorithm(self) -> str:
        """See `Signer.algorithm`."""
        return self._algorithm

    @property
    def public_jwk(self) -> dict[str, Any]:
        """See `Signer.public_jwk`."""
        return dict(self._jwk)

    async def sign(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return await self._ask(message)


__all__ = ["RemoteSigner"]
