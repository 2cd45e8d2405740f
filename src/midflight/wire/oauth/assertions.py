"""Client assertions (RFC 7523 §2.2, §3): a client proves itself with a key that it registered.

The audience is the issuer and nothing else. An assertion for the token endpoint's URL is refused:
a server that a client also uses could have it made for ours (audience injection, CVE-2025-27370).
What it does not check: whether the `jti` was used; the caller spends it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.value import JSONObject, Value
from midflight.wire.tokens.jwk import public_key
from midflight.wire.tokens.jws import Jws, decode_compact, signature_holds

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SPIFFE_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
ALGORITHMS = ("ES256", "EdDSA", "Ed25519")
LEEWAY_S = 30
MAX_LIFETIME_S = 600

_HEADER = frozenset({"alg", "typ", "kid"})
_TYPES = frozenset({"JWT", "jwt", "client-authentication+jwt"})
_JTI = re.compile(r"[\x21-\x7e]{1,256}\Z")


class Assertion(Value):
    """A verified assertion: spend (client, `jti`) once, until `until` (Unix seconds)."""

    jti: str
    until: int


class _Claims(msgspec.Struct):
    iss: str
    sub: str
    aud: str | list[str]
    jti: str
    exp: int
    iat: int | None = None
    nbf: int | None = None


def subject_of(text: str) -> str:
    """What an assertion claims to be, unverified: good for nothing but finding the key.

    Raises:
        Unauthenticated: it is no JWT with a subject.
    """
    try:
        subject = decode_compact(text).payload.get("sub")
    except Malformed:
        subject = None
    if not isinstance(subject, str) or not 0 < len(subject) <= 2048:
        raise _refused()
    return subject


def verify_assertion(
    text: str, *, client: str, keys: Sequence[JSONObject], audience: str, now: float
) -> Assertion:
    """The only door for client assertions.

    Args:
        text: the compact JWS.
        client: the `client_id` that `iss` and `sub` must be.
        keys: the client's registered public JWKs.
        audience: the issuer of this authorization server, exactly.
        now: Unix seconds.

    Raises:
        Unauthenticated: with one message for every reason; a stranger learns nothing.
    """
    try:
        jws = decode_compact(text)
        header = jws.header
        algorithm = header.get("alg")
        if header.keys() - _HEADER or header.get("typ", "JWT") not in _TYPES:
            raise _refused()
        if algorithm not in ALGORITHMS:
            raise _refused()
        named = [key for key in keys if "kid" not in header or key.get("kid") == header["kid"]]
        if not any(_signed(key, algorithm, jws) for key in named):
            raise _refused()
        claims = msgspec.convert(jws.payload, _Claims)
    except (Malformed, msgspec.ValidationError):
        raise _refused() from None
    audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if claims.iss != client or claims.sub != client or audiences != [audience]:
        raise _refused()
    began = claims.iat if claims.iat is not None else now
    if not now - LEEWAY_S < claims.exp <= now + MAX_LIFETIME_S:
        raise _refused()
    if max(began, claims.nbf or 0) > now + LEEWAY_S or _JTI.match(claims.jti) is None:
        raise _refused()
    return Assertion(jti=claims.jti, until=claims.exp + 2 * LEEWAY_S)


def _signed(jwk: JSONObject, algorithm: str, jws: Jws) -> bool:
    try:
        key = public_key(jwk, algorithm=algorithm)
    except Malformed:
        return False
    return signature_holds(jws, algorithm=algorithm, key=key)


def _refused() -> Unauthenticated:
    return Unauthenticated(
        "The client assertion does not hold.",
        hint="Sign iss, sub, aud (the issuer), exp and a fresh jti with a registered key.",
    )


__all__ = [
    "ALGORITHMS",
    "SPIFFE_TYPE",
    "TYPE",
    "Assertion",
    "subject_of",
    "verify_assertion",
]
