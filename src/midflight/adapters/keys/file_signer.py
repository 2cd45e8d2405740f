"""Signers whose key is in this process, and the source of such keys.

The private half is a JWK in the ring itself (`ring_files.py` keeps that 0600 and replaces it
whole), so there is no moment in which a key is in a ring and not on disk, or the other way round.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from midflight.adapters.keys.public_keys import COORDINATE, MIN_RSA_BITS, proven, public_jwk
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import RingKey
from midflight.domain.value import JSONObject
from midflight.services.ports.key_rings import MadeKey
from midflight.services.ports.keys import Purpose, Signer

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_HASH = hashes.SHA256()
_ECDSA = ec.ECDSA(_HASH)
_PKCS1 = padding.PKCS1v15()


class FileSigner:
    """`LocalSigner` for ES256 and RS256. ES256 costs about 35 µs, RS256 about 400."""

    def __init__(self, key: PrivateKey, purpose: Purpose) -> None:
        """`Misconfigured` if the key is not for the purpose's algorithm."""
        self._key = key
        self._jwk = public_jwk(key.public_key(), purpose)
        self._algorithm = purpose.algorithm

    @classmethod
    def fresh(cls, purpose: Purpose) -> FileSigner:
        """With a key that exists in this process alone."""
        return cls(_fresh(purpose), purpose)

    @property
    def algorithm(self) -> str:
        """See `Signer.algorithm`."""
        return self._algorithm

    @property
    def public_jwk(self) -> dict[str, Any]:
        """See `Signer.public_jwk`."""
        return dict(self._jwk)

    async def sign(self, message: bytes) -> bytes:
        """See `Signer.sign`."""
        return self.sign_now(message)

    def sign_now(self, message: bytes) -> bytes:
        """See `LocalSigner.sign_now`."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(message, _PKCS1, _HASH)
        r, s = decode_dss_signature(self._key.sign(message, _ECDSA))
        return r.to_bytes(COORDINATE, "big") + s.to_bytes(COORDINATE, "big")

    def __repr__(self) -> str:
        return f"FileSigner(kid={self._jwk['kid']!r})"


class FileKeySource:
    """`KeySource` for keys that stand in the ring itself."""

    async def make(self, purpose: Purpose) -> MadeKey:
        """A key from the system's random source."""
        key = _fresh(purpose)
        if isinstance(key, rsa.RSAPrivateKey):
            private = RSAKey.import_key(key).as_dict(private=True)
        else:
            private = ECKey.import_key(key).as_dict(private=True)
        handle: JSONObject = {"jwk": dict(private)}
        return MadeKey(jwk=public_jwk(key.public_key(), purpose), handle=handle)

    async def open(self, purpose: Purpose, key: RingKey) -> Signer:
        """See `KeySource.open`."""
        return await proven(FileSigner(_private(key.handle), purpose), key, purpose)

    async def discard(self, key: RingKey) -> None:
        """Nothing: it goes with the ring that no longer holds it."""
        del key

    async def close(self) -> None:
        """Nothing is open."""


def _fresh(purpose: Purpose) -> PrivateKey:
    if purpose.algorithm == "RS256":
        return rsa.generate_private_key(public_exponent=65_537, key_size=MIN_RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def _private(handle: JSONObject) -> PrivateKey:
    key: Any = None
    try:
        jwk = handle["jwk"]
        # joserfc 1.8 imports an EC key whatever its `kty` says.
        imported = {"RSA": RSAKey, "EC": ECKey}[jwk["kty"]].import_key(jwk)
        key = imported.get_op_key("sign")
    except (JoseError, KeyError, ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise Misconfigured(
            "The private half of a signing key is damaged.",
            hint="Restore the rings from a backup; without one, remove them and mint tokens again.",
        )
    return key


__all__ = ["FileKeySource", "FileSigner"]
