"""Challenges for people who are not signed in, of which nothing is kept until one was answered.

Every stranger who loads the page gets one, so keeping them would let whoever loads it often enough
push out those of others. A ticket carries its time and a MAC instead, and the challenge follows
from both. What is kept is which were answered rightly, and that is bounded by the people there are.
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

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._spent: dict[str, float] = {}

    def new(self) -> tuple[str, bytes]:
        """A ticket, and its challenge (32 bytes)."""
        core = struct.pack(">d", self._clock.monotonic()) + secrets.token_bytes(_RANDOM)
        return base64url(core + self._mac(b"ticket", core)), self._mac(b"challenge", core)

    def of(self, ticket: str) -> bytes | None:
        """The challenge of a ticket of ours, while it lasts and was not spent."""
        try:
            raw = from_base64url(ticket[:MAX_TICKET])
        except ValueError:
            return None
        core, mac = raw[: 8 + _RANDOM], raw[8 + _RANDOM :]
        if len(mac) != _MAC or not hmac.compare_digest(mac, self._mac(b"ticket", core)):
            return None
        (made,) = struct.unpack(">d", core[:8])
        if self._clock.monotonic() - made > SECONDS or core.hex() in self._spent:
            return None
        return self._mac(b"challenge", core)

    def spend(self, ticket: str) -> bool:
        """Spend it: True once. For a ticket that `of` has just known, without a wait in between."""
        now = self._clock.monotonic()
        self._spent = {core: until for core, until in self._spent.items() if until > now}
        core = from_base64url(ticket)[: 8 + _RANDOM].hex()
        if core in self._spent:
            return False
        self._spent[core] = now + SECONDS + 1.0
        return True

    def _mac(self, use: bytes, core: bytes) -> bytes:
        return hmac.digest(self._key, use + b"\0" + core, hashlib.sha256)


__all__ = ["SECONDS", "SignInChallenges"]
