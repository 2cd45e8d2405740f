"""Public keys as they are published: exact members, named by thumbprint, one algorithm.

Everything that holds keys states them through here, and whatever is read from a disk, a module or
a service is held against it. Knows ES256 (P-256) and RS256 (2048 bits and more); no private half.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from midflight.domain import jose
from midflight.domain.errors import Misconfigured
from midflight.domain.key_ring import RingKey
from midflight.domain.value import JSONObject
from midflight.services.ports.keys import Purpose, Signer

MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192
COORDINATE = 32
"""Bytes of a coordinate of P-256, and of each half of an ES256 signature (RFC 7518 §3.4)."""

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def public_jwk(key: PublicKey, purpose: Purpose) -> JSONObject:
    """The key as its purpose publishes it.

    Raises:
        Misconfigured: it is not a key for the algorithm of the purpose.
    """
    members: JSONObject
    if isinstance(key, rsa.RSAPublicKey):
        fits = purpose.algorithm == "RS256" and MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS
        numbers = key.public_numbers()
        members = {"e": _number(numbers.e), "kty": "RSA", "n": _number(numbers.n)}
    else:
        fits = purpose.algorithm == "ES256" and isinstance(key.curve, ec.SECP256R1)
        point = key.public_numbers()
        size = COORDINATE if fits else (key.key_size + 7) // 8
        x, y = _number(point.x, size), _number(point.y, size)
        members = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
    if not fits:
        raise Misconfigured(
            f"A key for {purpose.value} is not for {purpose.algorithm}.",
            hint="ES256 takes P-256, RS256 takes RSA of at least 2048 bits.",
        )
    return {
        **members,
        "kid": jose.thumbprint(members),
        "use": purpose.use,
        "alg": purpose.algorithm,
    }


def public_key(jwk: JSONObject, purpose: Purpose) -> PublicKey:
    """The key that such a JWK states.

    Raises:
        Misconfigured: it is not exactly as `public_jwk` states one for this purpose: another
            algorithm or use, a private member, an id that is not its thumbprint.
    """
    key: PublicKey | None = None
    try:
        if jwk.get("kty") == "RSA":
            key = rsa.RSAPublicNumbers(_read(jwk, "e"), _read(jwk, "n")).public_key()
        else:
            numbers = ec.EllipticCurvePublicNumbers(
                _read(jwk, "x"), _read(jwk, "y"), ec.SECP256R1()
            )
            key = numbers.public_key()
    except (KeyError, ValueError, TypeError, AttributeError):
        key = None
    if key is None or public_jwk(key, purpose) != jwk:
        raise Misconfigured(
            f"What stands as a public key for {purpose.value} is not one.",
            hint="Restore the rings from a backup; no key is used for another purpose.",
        )
    return key


async def proven(signer: Signer, key: RingKey, purpose: Purpose) -> Signer:
    """The signer, if a fresh text that it signs verifies with the published half of `key`.

    Raises:
        Misconfigured: it is another key, or signs otherwise than the algorithm says.
    """
    public = public_key(key.jwk, purpose)
    challenge = b"midflight key check " + secrets.token_bytes(32)
    if signer.algorithm != purpose.algorithm or signer.public_jwk != key.jwk:
        raise _another(key, purpose)
    if not holds(public, challenge, await signer.sign(challenge)):
        raise _another(key, purpose)
    return signer


def holds(key: PublicKey, message: bytes, signature: bytes) -> bool:
    """Whether it is a JWS signature of the message: ES256 for P-256, RS256 for RSA."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            if len(signature) != 2 * COORDINATE:
                return False
            r = int.from_bytes(signature[:COORDINATE], "big")
            s = int.from_bytes(signature[COORDINATE:], "big")
            key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _number(value: int, size: int | None = None) -> str:
    length = (value.bit_length() + 7) // 8 if size is None else size
    return jose.base64url(value.to_bytes(length, "big"))


def _read(jwk: JSONObject, name: str) -> int:
    return int.from_bytes(jose.from_base64url(jwk[name]), "big")


def _another(key: RingKey, purpose: Purpose) -> Misconfigured:
    return Misconfigured(
        f"The private half of key {key.kid} for {purpose.value} is not that of the published one.",
        hint="It may have been swapped. Restore the rings from a backup, or remove them.",
    )


__all__ = [
    "COORDINATE",
    "MIN_RSA_BITS",
    "PublicKey",
    "holds",
    "proven",
    "public_jwk",
    "public_key",
]
