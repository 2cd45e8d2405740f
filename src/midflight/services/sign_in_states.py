"""Sign-ins that are away at an OpenID provider: nothing of one is kept until it has come back.

Anybody may begin one, so a table of them would be emptied by whoever begins often enough. The
`state` that travels along is a sealed box instead, which opens in the browser that it was made for;
the nonce and the PKCE verifier follow from it. What is kept is which came back with a person.
Above: `authorization_people.py`.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.domain.jose import base64url, from_base64url
from midflight.domain.value import Discreet
from midflight.services.ports.clock import Clock

MAX_STATE = 2_000
_NONCE = 12
_RANDOM = 16


class SignIn(Discreet):
    """A sign-in at an OpenID provider that has not come back. `back` is where to go then."""

    shown = ()

    nonce: str
    verifier: str
    back: str


class SignInStates:
    """See the module. Its keys are this process's, and end with it."""

    def __init__(self, *, clock: Clock, seconds: float) -> None:
        """`seconds` is how long somebody may be away."""
        self._clock = clock
        self._seconds = seconds
        self._box = AESGCM(AESGCM.generate_key(bit_length=256))
        self._key = os.urandom(32)
        self._spent: dict[str, float] = {}

    def new(self, *, back: str, browser: str) -> tuple[str, SignIn]:
        """A fresh state, and what it stands for; `browser` is a secret that only it has."""
        nonce = os.urandom(_NONCE)
        inner = struct.pack(">d", self._clock.monotonic()) + os.urandom(_RANDOM) + back.encode()
        state = base64url(nonce + self._box.encrypt(nonce, inner, _of(browser)))
        return state, self._sign_in(inner)

    def of(self, state: str, *, browser: str) -> SignIn | None:
        """What a state of this browser stands for, while it lasts and was not spent."""
        if len(state) > MAX_STATE or state in self._spent:
            return None
        try:
            raw = from_base64url(state)
            inner = self._box.decrypt(raw[:_NONCE], raw[_NONCE:], _of(browser))
        except (ValueError, InvalidTag):
            return None
        (made,) = struct.unpack(">d", inner[:8])
        return None if self._clock.monotonic() - made > self._seconds else self._sign_in(inner)

    def spend(self, state: str) -> bool:
        """Spend it: True once. For one that `of` has known."""
        now = self._clock.monotonic()
        self._spent = {known: until for known, until in self._spent.items() if until > now}
        if state in self._spent:
            return False
        self._spent[state] = now + self._seconds + 1.0
        return True

    def _sign_in(self, inner: bytes) -> SignIn:
        core = inner[: 8 + _RANDOM]
        return SignIn(
            nonce=self._derived(b"nonce", core),
            verifier=self._derived(b"verifier", core),  # 43 characters, as RFC 7636 §4.1 asks
            back=inner[8 + _RANDOM :].decode(),
        )

    def _derived(self, use: bytes, core: bytes) -> str:
        return base64url(hmac.digest(self._key, use + b"\0" + core, hashlib.sha256))


def _of(browser: str) -> bytes:
    return b"sign-in\0" + hashlib.sha256(browser.encode("utf-8", "surrogatepass")).digest()


__all__ = ["SignIn", "SignInStates"]
