"""The note signer: Ed25519 in the C2SP signed-note form (c2sp.org/signed-note).

Its text forms are those of Go's `sumdb/note`, so other tools read them:

    PRIVATE+KEY+<name>+<hash>+<base64 of 0x01 and the 32-byte seed>
    <name>+<hash>+<base64 of 0x01 and the 32-byte public key>

`hash` is the first four bytes, in hex, of SHA-256 over name, newline, 0x01 and the public key.
"""

from __future__ import annotations

import base64
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from midflight.domain.checkpoint import VerifierKey
from midflight.domain.errors import Misconfigured

_ALGORITHM = b"\x01"
_PREFIX = "PRIVATE+KEY+"
# Signed-note: non-empty, no Unicode space, no plus. Plain ASCII keeps lookalikes out.
_NAME = re.compile(r"[A-Za-z0-9._/:@-]{1,256}\Z")
_SEED_LENGTH = 32


class Ed25519NoteSigner:
    """`NoteSigner` over a key in memory."""

    def __init__(self, *, name: str, seed: bytes) -> None:
        """`Misconfigured` if the name cannot be a key's name or the seed is not 32 bytes."""
        if _NAME.match(name) is None:
            raise Misconfigured(
                "The name of the checkpoint key is not usable.",
                hint="Letters, digits and . _ / : @ - such as midflight.example.org/ledger.",
            )
        if len(seed) != _SEED_LENGTH:
            raise Misconfigured("The seed of the checkpoint key is not 32 bytes.")
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._verifier = VerifierKey(name=name, public=self._key.public_key().public_bytes_raw())

    @classmethod
    def fresh(cls, *, name: str) -> Ed25519NoteSigner:
        """With a new key."""
        return cls(name=name, seed=Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def from_text(cls, text: str) -> Ed25519NoteSigner:
        """Read the private text form. `Misconfigured` if it is not one, without repeating it."""
        name, _, rest = text.strip().removeprefix(_PREFIX).partition("+")
        _, _, encoded = rest.partition("+")
        raw = b""
        if text.startswith(_PREFIX):
            try:
                raw = base64.b64decode(encoded, validate=True)
            except ValueError:
                raw = b""
        signer = None
        if raw[:1] == _ALGORITHM and len(raw) == 1 + _SEED_LENGTH:
            signer = cls(name=name, seed=raw[1:])
        if signer is None or signer.to_text() != text.strip():
            raise Misconfigured(
                "The checkpoint key is not a C2SP Ed25519 private key with a matching hash."
            )
        return signer

    def to_text(self) -> str:
        """The private text form: a secret."""
        secret = base64.b64encode(_ALGORITHM + self._key.private_bytes_raw()).decode("ascii")
        return f"{_PREFIX}{self.name}+{self._verifier.key_id.hex()}+{secret}"

    @property
    def name(self) -> str:
        """The key's name, which is also the checkpoint's origin."""
        return self._verifier.name

    def sign(self, text: bytes) -> bytes:
        """The raw Ed25519 signature, 64 bytes, over the note's text."""
        return self._key.sign(text)

    def verifier_key(self) -> str:
        """The public text form, to be published."""
        return str(self._verifier)

    def __repr__(self) -> str:
        return f"Ed25519NoteSigner({self.verifier_key()!r})"


__all__ = ["Ed25519NoteSigner"]
