"""Keys: what signs tokens and checkpoints, and what wraps sealing keys. One key a purpose."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Protocol


class Purpose(enum.StrEnum):
    """What a key may sign. No key has two purposes."""

    ACCESS_TOKEN = "access-token"  # noqa: S105 -- the name of a purpose
    JWT_SVID = "jwt-svid"
    X509_AUTHORITY = "x509-authority"
    SET = "set"
    CLIENT = "client"
    """Midflight as an OAuth client of others (`private_key_jwt`, DPoP)."""


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


class TokenSigner(Protocol):
    """Signs workload tokens. ES256 (RFC 7518 §3.4)."""

    def sign(self, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """A compact JWS. `alg` and `kid` are set by the signer."""
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


__all__ = ["KeyWrap", "NoteSigner", "Purpose", "Signer", "TokenSigner"]
