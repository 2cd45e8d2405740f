"""Keys of other issuers: which member of their key set verifies a token (RFC 7517 §5).

Stricter than `jwk.py` about which key, more lenient about what stands beside it: publishers add
certificates and remarks, which select nothing here and are never fetched. A key with private or
symmetric members is not used: whoever publishes one has lost it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from midflight.domain import jose
from midflight.domain.errors import Malformed
from midflight.domain.value import JSONObject
from midflight.wire.json import as_object
from midflight.wire.tokens.jwk import PublicKey, public_key
from midflight.wire.tokens.jws import base64url

MAX_KEYS = 64
"""Of one set. Google and Microsoft publish about ten."""
MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 4_096
"""Verifying with more costs a flood nothing and us a lot."""

_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# Of trust domains that chose a larger curve: its name, and the characters of a coordinate.
_LARGER = {
    "ES384": ("P-384", re.compile(r"[A-Za-z0-9_-]{64}\Z")),
    "ES512": ("P-521", re.compile(r"[A-Za-z0-9_-]{88}\Z")),
}
_KID = re.compile(r"[\x21-\x7e]{1,256}\Z")
# n of up to 4,096 bits; e of up to 32.
_MODULUS = re.compile(r"[A-Za-z0-9_-]{342,684}\Z")
_EXPONENT = re.compile(r"[A-Za-z0-9_-]{1,6}\Z")


def key_for(
    jwks: Mapping[str, Any], *, kid: object, algorithm: str, use: str, kid_required: bool = True
) -> PublicKey | None:
    """The one key of the set that may verify, or None.

    Args:
        jwks: `{"keys": [...]}` as published, already decoded, otherwise unchecked.
        kid: the header's `kid`, or None. It is compared, never opened, looked up or unescaped.
        algorithm: of the header, already in the issuer's allow-list.
        use: `sig`: keys marked for something else do not count; any other value must be on the key.
        kid_required: whether a token without `kid` finds nothing even in a set of one.
    """
    if kid is None:
        if kid_required:
            return None
    elif not isinstance(kid, str) or _KID.match(kid) is None:
        return None
    entries = jwks.get("keys")
    if not isinstance(entries, (list, tuple)) or len(entries) > MAX_KEYS:  # pyright: ignore[reportUnknownArgumentType]
        return None
    found: list[PublicKey] = []
    for entry in entries:  # pyright: ignore[reportUnknownVariableType]
        jwk = as_object(entry)  # pyright: ignore[reportUnknownArgumentType]
        if jwk is None or (kid is not None and jwk.get("kid") != kid):
            continue
        key = _fitting(jwk, algorithm=algorithm, use=use)
        if key is not None:
            found.append(key)
    # Two keys under one name are an attempt, or a mistake that would look like one.
    return found[0] if len(found) == 1 else None


def _fitting(jwk: JSONObject, *, algorithm: str, use: str) -> PublicKey | None:
    marked = jwk.get("use", "sig" if use == "sig" else None)
    operations = jwk.get("key_ops", ["verify"])
    if marked != use or jwk.get("alg", algorithm) != algorithm or not _SECRET.isdisjoint(jwk):
        return None
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if algorithm in _RSA:
        return _rsa(jwk)
    if algorithm in _LARGER:
        return _larger(jwk, algorithm)
    names = ("kty", "crv", "x", "y") if jwk.get("kty") == "EC" else ("kty", "crv", "x")
    try:
        return public_key({n: jwk[n] for n in names if n in jwk}, algorithm=algorithm)
    except Malformed:
        return None


def _larger(jwk: JSONObject, algorithm: str) -> PublicKey | None:
    curve, form = _LARGER[algorithm]
    x, y = jwk.get("x"), jwk.get("y")
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", curve):
        return None
    if not isinstance(x, str) or not isinstance(y, str) or not (form.match(x) and form.match(y)):
        return None
    return _parsed_larger(algorithm, x, y)


@functools.lru_cache(maxsize=256)
def _parsed_larger(algorithm: str, x: str, y: str) -> PublicKey | None:
    try:
        members: JSONObject = {"kty": "EC", "crv": _LARGER[algorithm][0], "x": x, "y": y}
        key = ECKey.import_key(members)
        key.get_op_key("verify")  # parses the point now: off the curve is a ValueError
    except (ValueError, JoseError):
        return None
    return PublicKey(
        thumbprint=jose.thumbprint(members), algorithms=frozenset({algorithm}), key=key
    )


def _rsa(jwk: JSONObject) -> PublicKey | None:
    modulus, exponent = jwk.get("n"), jwk.get("e")
    if jwk.get("kty") != "RSA" or not isinstance(modulus, str) or not isinstance(exponent, str):
        return None
    if _MODULUS.match(modulus) is None or _EXPONENT.match(exponent) is None:
        return None
    return _parsed_rsa(modulus, exponent)


@functools.lru_cache(maxsize=256)
def _parsed_rsa(modulus: str, exponent: str) -> PublicKey | None:
    try:
        n, e = (int.from_bytes(base64url(text), "big") for text in (modulus, exponent))
        # FIPS 186-5 §5.4: an odd exponent above 2^16.
        if not MIN_RSA_BITS <= n.bit_length() <= MAX_RSA_BITS or e < 65_537 or e % 2 == 0:
            return None
        members: JSONObject = {"kty": "RSA", "n": modulus, "e": exponent}
        key = RSAKey.import_key(members)
        key.get_op_key("verify")  # parses the numbers now
    except (Malformed, ValueError, JoseError):
        return None
    return PublicKey(thumbprint=jose.thumbprint(members), algorithms=_RSA, key=key)


__all__ = ["MAX_KEYS", "MAX_RSA_BITS", "MIN_RSA_BITS", "key_for"]
