"""Passkeys as this server is a relying party of them (WebAuthn Level 3 §7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.value import Discreet, JSONObject


class NewPasskey(Discreet):
    """A credential that was just made: its id (base64url), COSE key, and signature counter."""

    shown = ()

    id: str
    key: bytes
    count: int


class Passkeys(Protocol):
    """User verification is always required. Errors: `Unauthenticated` if a response does not hold.

    A response is the JSON of a `PublicKeyCredential` as browsers write it (`toJSON`).
    """

    def creation(
        self, *, account: str, handle: bytes, challenge: bytes, known: Sequence[str]
    ) -> JSONObject:
        """Options for `navigator.credentials.create`; authenticators with a `known` id decline."""
        ...

    def created(self, response: str, *, challenge: bytes) -> NewPasskey:
        """The credential that was made for this challenge."""
        ...

    def request(self, *, challenge: bytes, allowed: Sequence[str]) -> JSONObject:
        """Options for `navigator.credentials.get`; without `allowed` ids, any that is known."""
        ...

    def named(self, response: str) -> tuple[str, bytes | None]:
        """The credential id and user handle that a response claims, nothing of it checked."""
        ...

    def asserted(self, response: str, *, challenge: bytes, key: bytes, count: int) -> int:
        """Check a response with the key of its credential; the new signature counter.

        A counter that does not go up is refused, unless the authenticator has none (§6.1.1).
        """
        ...


__all__ = ["NewPasskey", "Passkeys"]
