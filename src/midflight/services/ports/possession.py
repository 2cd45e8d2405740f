"""What checks that somebody holds the key of a certificate of a configured authority."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.attestation import Selector


class Possession(Protocol):
    """Pure: certificates and signature in, selectors out."""

    def prove(
        self,
        chain: Sequence[bytes],
        *,
        algorithm: str,
        message: bytes,
        signature: bytes,
        now: float,
    ) -> Sequence[Selector]:
        """Facts about the holder of the first certificate's key.

        Args:
            chain: DER, the leaf first, then intermediates.
            algorithm: which the holder says it used; it must be the one of its key.
            message: what was signed.
            signature: raw for Ed25519, DER for ECDSA.
            now: Unix seconds.

        Raises:
            Unauthenticated: anything about it does not hold.
        """
        ...


__all__ = ["Possession"]
