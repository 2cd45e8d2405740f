"""The machine's clock and its source of chance: the `Clock` port for production.

Tests own both through `midflight.testing.FakeClock`.
"""

from __future__ import annotations

import base64
import secrets
import time


class SystemClock:
    """Wall time, monotonic time and the operating system's random numbers."""

    __slots__ = ()

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never step back."""
        return time.monotonic()

    def token(self, nbytes: int = 16) -> str:
        """Fresh unguessable text: lower-case base32 (RFC 4648 §6) of `nbytes` random bytes.

        No padding; 16 bytes give 26 characters.
        """
        return base64.b32encode(secrets.token_bytes(nbytes)).decode("ascii").rstrip("=").lower()


__all__ = ["SystemClock"]
