"""Public keys in JSON (RFC 7517) and their thumbprints (RFC 7638, RFC 8037 §2).

Two kinds: EC P-256 for ES256, and OKP Ed25519. Only public keys are read here; a key with private
members is refused, so that a client that leaks its key is told so instead of served. Parsing a
point costs some 30 µs, so parsed keys are memoised; which keys count is decided by the callers.
"""

from __future__ import annotations

import functools
import re

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from midflight.domain import jose
from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject, Value

# 32 bytes in canonical base64url: the last of 43 characters has two unused bits, which are zero.
_COORDINATE = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\Z")

# Members that WebCrypto and common libraries add to a public key, and that change nothing.
_DESCRIPTIVE = frozenset({"use", "alg", "kid", "key_ops", "ext"})


class PublicKey(Value):
    """A parsed public key, the algorithms it may be used with, and its thumbprint."""

    thumbprint: str
    algorithms: frozenset[str]
    key: ECKey | OKPKey | RSAKey


def public_key(jwk: JSONObject, *, algorithm: str) -> PublicKey:
    """Parse a public JWK that is to be used with `algorithm`.

    Raises:
        Malformed: another kind of key, private or unknown members, a `use` or `alg` that says
            otherwise, coordinates that are not 32 bytes or not on the curve.
    """
    kind, curve, x, y = _members(jwk)
    if jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
        raise Malformed("The JWK is marked for another use or algorithm.")
    key = _parsed(kind, curve, x, y)
    if key is None or algorithm not in key.algorithms:
        raise Malformed("The JWK is not a valid key for its algorithm.")
    return key


def thumbprint(jwk: JSONObject) -> str:
    """The RFC 7638 SHA-256 thumbprint of a public JWK. `Malformed` as in `public_key`."""
    return _thumbprint(*_members(jwk))


def is_thumbprint(text: str) -> bool:
    """Whether this has the form of a SHA-256 thumbprint: 32 bytes, as a coordinate has."""
    return _COORDINATE.match(text) is not None


def is_verifying_key(jwk: JSONObject) -> bool:
    """Whether this is a public key that some accepted algorithm verifies with."""
    try:
        kind = _members(jwk)[0]
        public_key(jwk, algorithm="ES256" if kind == "EC" else str(jwk.get("alg", "EdDSA")))
    except Malformed:
        return False
    return True


def _members(jwk: JSONObject) -> tuple[str, str, str, str]:
    """(kty, crv, x, y), checked in form; y is empty for OKP."""
    kind, curve, x, y = (jwk.get(name, "") for name in ("kty", "crv", "x", "y"))
    match kind, curve:
        case "EC", "P-256":
            required = {"kty", "crv", "x", "y"}
        case "OKP", "Ed25519":
            required = {"kty", "crv", "x"}
        case _:
            raise Malformed("The JWK is neither EC P-256 nor OKP Ed25519.")
    if jwk.keys() - _DESCRIPTIVE != required:
        raise Malformed("The JWK is not a plain public key.")
    for coordinate in (x, y) if kind == "EC" else (x,):
        if not isinstance(coordinate, str) or _COORDINATE.match(coordinate) is None:
            raise Malformed("A coordinate of the JWK is not 32 bytes of base64url.")
    return kind, curve, x, y


def _thumbprint(kind: str, curve: str, x: str, y: str) -> str:
    return jose.thumbprint({"kty": kind, "crv": curve, "x": x, "y": y})


@functools.lru_cache(maxsize=1024)
def _parsed(kind: str, curve: str, x: str, y: str) -> PublicKey | None:
    name = _thumbprint(kind, curve, x, y)
    try:
        if kind == "EC":
            key = ECKey.import_key({"kty": kind, "crv": curve, "x": x, "y": y})
            key.get_op_key("verify")  # parses the point now: off the curve is a ValueError
            return PublicKey(thumbprint=name, algorithms=frozenset({"ES256"}), key=key)
        edwards = OKPKey.import_key({"kty": kind, "crv": curve, "x": x})
        edwards.get_op_key("verify")
        both = frozenset({"EdDSA", "Ed25519"})
        return PublicKey(thumbprint=name, algorithms=both, key=edwards)
    except (ValueError, JoseError):
        return None


__all__ = ["PublicKey", "is_thumbprint", "is_verifying_key", "public_key", "thumbprint"]
