"""Challenges of which nothing is kept until one was answered: for signing in, an answer, a factor.

Whoever loads a page gets one, so keeping them would let whoever loads it often enough push out
those of others. A ticket carries its time and a MAC over what it is for instead, and the challenge
follows from both. What is kept is which were answered rightly, and that is bounded by the people
there are. Above: `approver_factors.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import struct

from midflight.domain.jose import base64url, from_base64url
from midflight.services.ports.clock import Clock

SECONDS = 120.0
MAX_TICKET = 200
_RANDOM = 16
_MAC = 32


class SignInChallenges:
    """See the module. The key is this process's, and ends with it."""

    def __init__(self, *, clock: Clock, seconds: float = SECONDS) -> None:
        """`seconds` is how long a ticket lasts."""
        self._clock = clock
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._spent: dict[str, float] = {}

    def new(self, use: str = "") -> tuple[str, bytes]:
        """A ticket that is good for one `use`, and its challenge (32 bytes)."""
        core = struct.pack(">d", self._clock.monotonic()) + secrets.token_bytes(_RANDOM)
        mac = self._mac(b"ticket", core, use)
        return base64url(core + mac), self._mac(b"challenge", core, use)

    def of(self, ticket: str, use: str = "") -> bytes | None:
        """The challenge of a ticket of ours for this use, while it lasts and was not spent."""
        try:
            raw = from_base64url(ticket[:MAX_TICKET])
        except ValueError:
            return None
        core, mac = raw[: 8 + _RANDOM], raw[8 + _RANDOM :]
        if len(mac) != _MAC or not hmac.compare_digest(mac, self._mac(b"ticket", core, use)):
            return None
        (made,) = struct.unpack(">d", core[:8])
        if self._clock.monotonic() - made > self._seconds or core.hex() in self._spent:
            return None
        return self._mac(b"challenge", core, use)

    def spend(self, ticket: str) -> bool:
        """Spend it: True once. For a ticket that `of` has just known, without a wait in between."""
        now = self._clock.monotonic()
        self._spent = {core: until for core, until in self._spent.items() if until > now}
        core = from_base64url(ticket)[: 8 + _RANDOM].hex()
        if core in self._spent:
            return False
        self._spent[core] = now + self._seconds + 1.0
        return True

    def _mac(self, kind: bytes, core: bytes, use: str) -> bytes:
        # `core` has a fixed length, so no two uses make one message.
        said = kind + b"\0" + core + use.encode("utf-8", "surrogatepass")
        return hmac.digest(self._key, said, hashlib.sha256)


__all__ = ["SECONDS", "SignInChallenges"]
