"""Keys: what signs tokens and checkpoints, and what wraps sealing keys. One key a purpose."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol


class Purpose(enum.StrEnum):
    """What a key may sign. No key has two purposes."""

    ACCESS_TOKEN = "access-token"  # noqa: S105 -- the name of a purpose
    JWT_SVID = "jwt-svid"
    WIT_SVID = "wit-svid"
    X509_AUTHORITY = "x509-authority"
    SET = "set"
    CLIENT = "client"
    """Midflight as an OAuth client of others (`private_key_jwt`, DPoP)."""

    @property
    def algorithm(self) -> str:
        """The one JWS algorithm of its keys. SETs are RS256 (CAEP interoperability profile)."""
        return "RS256" if self is Purpose.SET else "ES256"

    @property
    def use(self) -> str:
        """The `use` of its public keys; those of SVIDs are of SPIFFE (JWT-SVID §5, WIT-SVID §6)."""
        return self.value if self in (Purpose.JWT_SVID, Purpose.WIT_SVID) else "sig"

    @property
    def life_s(self) -> int:
        """Seconds that what it signs may live at most, and so what a retired key must verify."""
        return _LIFE_S[self]


_LIFE_S = {
    Purpose.ACCESS_TOKEN: 900,
    Purpose.JWT_SVID: 300,
    Purpose.WIT_SVID: 3_600,
    Purpose.X509_AUTHORITY: 3_600,
    # SETs have no end of their own; a receiver that was away polls them for a day (RFC 8936).
    Purpose.SET: 86_400,
    Purpose.CLIENT: 300,
}


class Signer(Protocol):
    """One private key that stays where it is: in a file, a hardware module, a key service."""

    @property
    def algorithm(self) -> str:
        """Its JWS algorithm (RFC 7518 §3.1): `ES256`, or `RS256` where a profile asks for it."""
        ...

    @property
    def public_jwk(self) -> dict[str, Any]:
        """The public key with `kid` (RFC 7638 thumbprint), `use` and `alg`; no private member."""
        ...

    async def sign(self, message: bytes) -> bytes:
        """The JWS signature of the message: `r || s` for ES256. `Unavailable` if it cannot sign."""
        ...


class LocalSigner(Signer, Protocol):
    """A `Signer` whose key is in this process, so that it need not be waited for."""

    def sign_now(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        ...


class TokenSigner(Protocol):
    """Signs tokens of one purpose as compact JWS (RFC 7515 §7.1)."""

    async def mint(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS, wherever the key is. `alg` and `kid` are set by the signer.

        `Unavailable` if the module or service that holds the key does not sign.
        """
        ...

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """The same at once. `Unavailable` where the key is not in this process."""
        ...

    def public_jwks(self) -> dict[str, Any]:
        """All public keys that still verify, the signing one first (RFC 7517 §5)."""
        ...


class NoteSigner(Protocol):
    """Signs ledger checkpoints: Ed25519 in the C2SP signed-note form."""

    @property
    def name(self) -> str:
        """The key's name, which is also the checkpoint's origin."""
        ...

    def sign(self, text: bytes) -> bytes:
        """The raw Ed25519 signature over the note's text."""
        ...

    def verifier_key(self) -> str:
        """The C2SP verifier key: `<name>+<hash>+<base64>`."""
        ...


class KeyWrap(Protocol):
    """Wraps the sealing keys of runs, so that the store alone opens nothing."""

    def wrap(self, key: bytes, *, key_id: str) -> bytes:
        """Wrap a 32-byte key, bound to its id."""
        ...

    def unwrap(self, wrapped: bytes, *, key_id: str) -> bytes:
        """The key again. `StoreUnavailable` if it does not open."""
        ...


__all__ = ["KeyWrap", "LocalSigner", "NoteSigner", "Purpose", "Signer", "TokenSigner"]
