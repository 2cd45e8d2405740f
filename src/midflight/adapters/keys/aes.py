"""The key wrap: AES-256-GCM, with the wrapped key's id as associated data.

Format: 0x01, eight bytes that name the wrapping key, a 12-byte random nonce, ciphertext and tag;
69 bytes for a 32-byte key. Random nonces bound one wrapping key to 2^32 wraps (NIST SP 800-38D
§8.3), which is more runs than one deployment sees.
"""

from __future__ import annotations

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from midflight.domain.errors import Malformed, Misconfigured, StoreUnavailable

_FORMAT = b"\x01"
_KEY_LENGTH = 32
_NONCE_LENGTH = 12
_HEAD_LENGTH = 9
_WRAPPED_LENGTH = _HEAD_LENGTH + _NONCE_LENGTH + _KEY_LENGTH + 16


class AesKeyWrap:
    """`KeyWrap` over a key in memory."""

    def __init__(self, key: bytes) -> None:
        """`Misconfigured` unless the key is 32 bytes."""
        if len(key) != _KEY_LENGTH:
            raise Misconfigured("The wrapping key is not 32 bytes.")
        # The name commits to the key without telling it: SHA-256 with a label of its own.
        self._head = _FORMAT + hashlib.sha256(b"midflight/wrap-key-name/v1\0" + key).digest()[:8]
        self._box = AESGCM(key)

    @classmethod
    def fresh(cls) -> AesKeyWrap:
        """With a key that exists in this process alone."""
        return cls(AESGCM.generate_key(bit_length=256))

    def wrap(self, key: bytes, *, key_id: str) -> bytes:
        """Wrap a 32-byte key, bound to its id. `Malformed` for another length."""
        if len(key) != _KEY_LENGTH:
            raise Malformed("Only 32-byte keys are wrapped.")
        nonce = os.urandom(_NONCE_LENGTH)
        return self._head + nonce + self._box.encrypt(nonce, key, _bound(key_id))

    def unwrap(self, wrapped: bytes, *, key_id: str) -> bytes:
        """The key again.

        Raises:
            StoreUnavailable: altered, moved to another id, or wrapped by another key.
        """
        if len(wrapped) != _WRAPPED_LENGTH or wrapped[:1] != _FORMAT:
            raise StoreUnavailable("A wrapped key in the store is damaged.", hint=_RESTORE)
        if wrapped[:_HEAD_LENGTH] != self._head:
            raise StoreUnavailable(
                "A key in the store was wrapped by another wrapping key.",
                hint="Start with the key directory that belongs to this store.",
            )
        nonce = wrapped[_HEAD_LENGTH : _HEAD_LENGTH + _NONCE_LENGTH]
        box = wrapped[_HEAD_LENGTH + _NONCE_LENGTH :]
        try:
            return self._box.decrypt(nonce, box, _bound(key_id))
        except InvalidTag:
            pass
        raise StoreUnavailable("A wrapped key in the store does not open.", hint=_RESTORE)

    def __repr__(self) -> str:
        return f"AesKeyWrap(name={self._head[1:].hex()!r})"


def _bound(key_id: str) -> bytes:
    return b"midflight/wrap/v1\0" + key_id.encode("utf-8")


_RESTORE = "It was altered or belongs to another id; restore the store from a backup."

__all__ = ["AesKeyWrap"]
