"""Keys: what signs tokens and checkpoints, and what wraps sealing keys. One key a purpose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


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


__all__ = ["KeyWrap", "NoteSigner", "TokenSigner"]
