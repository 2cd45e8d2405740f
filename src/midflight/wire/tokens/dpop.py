"""DPoP proofs (RFC 9449): the caller holds the key that its access token is bound to.

A proof is good for one method, one URL, one token, one minute and one use. Everything but the one
use is checked here; the caller of `verify_proof` must then spend `replay_key` in a place that all
replicas share. Server-provided nonces (§8) are not asked for: single use is durable here.
"""

from __future__ import annotations

import hashlib
import math
import re

import msgspec

from midflight.domain import jose
from midflight.domain.errors import Malformed, NotHolder, Unauthenticated
from midflight.domain.value import Value
from midflight.wire.tokens.htu import same_target
from midflight.wire.tokens.jwk import public_key, thumbprint
from midflight.wire.tokens.jws import Jws, decode_compact, signature_holds

TYPE = "dpop+jwt"
ALGORITHMS = ("ES256", "EdDSA", "Ed25519")
"""Accepted proof algorithms. RSA is not: its headers and its verification are a flood's friend."""
WINDOW_S = 60
"""How far `iat` may be from now, either way (§11.1)."""

_REQUIRED = frozenset({"typ", "alg", "jwk"})
_HEADER = _REQUIRED | {"kid"}  # some clients repeat the key's id; it selects nothing here
_JTI = re.compile(r"[\x21-\x7e]{1,256}\Z")


class Proof(Value):
    """A verified proof.

    Attributes:
        replay_key: digest of (key, jti) that must be used once.
        until: Unix seconds after which this proof could not be accepted again.
        thumbprint: the key that it proves.
    """

    replay_key: str
    until: int
    thumbprint: str


class _Claims(msgspec.Struct):
    """As on the wire. Further claims are the client's business (§4.2)."""

    jti: str
    htm: str
    htu: str
    iat: int | float
    ath: str | None = None


def verify_proof(
    text: str, *, method: str, url: str, token: str, bound_to: str, now: float
) -> Proof:
    """The only door for DPoP proofs (RFC 9449 §4.3, §7.1).

    Args:
        text: the one value of the `DPoP` header.
        method: the request's method.
        url: the request's URL as clients see it, built from settings, never from `Host`.
        token: the access token as presented.
        bound_to: the thumbprint in the token's `cnf.jkt`.
        now: Unix seconds.

    Raises:
        Unauthenticated: with challenge `invalid_dpop_proof`; `NotHolder` if it proves another key
            or was made for something else.
    """
    claims = _signed_claims(text, bound_to)
    if claims is None:
        raise _borrowed("does not verify with the key that the token is bound to")
    if claims.htm != method or not same_target(claims.htu, url):
        raise _borrowed("is for another request")
    if claims.ath != jose.token_hash(token):
        raise _borrowed("is for another access token")
    return _proof(claims, bound_to, now)


def verify_key_proof(text: str, *, method: str, url: str, now: float) -> Proof:
    """The door for proofs at the token endpoint, where there is no access token yet (§5).

    Args:
        text: the one value of the `DPoP` header.
        method: the request's method.
        url: the token endpoint as clients see it.
        now: Unix seconds.

    Returns:
        What must be spent once, and the key that a token can be bound to.

    Raises:
        Unauthenticated: with challenge `invalid_dpop_proof`.
    """
    found = _read(text)
    if found is None:
        raise _refused("The DPoP proof does not verify with the key in its header.")
    claims, bound_to = found
    if claims.htm != method or not same_target(claims.htu, url):
        raise _refused("The DPoP proof is for another request.")
    return _proof(claims, bound_to, now)


def _proof(claims: _Claims, bound_to: str, now: float) -> Proof:
    # The JSON reader has refused NaN, infinities and giants.
    if abs(claims.iat - now) > WINDOW_S:
        raise _refused("The DPoP proof is too old or from the future.", hint="Compare the clocks.")
    if _JTI.match(claims.jti) is None:
        raise _refused("The jti of the DPoP proof is not 1 to 256 printable characters.")
    return Proof(
        replay_key=hashlib.sha256(f"{bound_to}.{claims.jti}".encode("ascii")).hexdigest(),
        # Acceptable until iat + window; another window for replicas whose clocks are behind.
        until=math.ceil(claims.iat) + 2 * WINDOW_S,
        thumbprint=bound_to,
    )


def _signed_claims(text: str, bound_to: str) -> _Claims | None:
    found = _read(text, bound_to)
    return None if found is None else found[0]


def _read(text: str, bound_to: str | None = None) -> tuple[_Claims, str] | None:
    """Claims and key of a proof whose signature holds; with `bound_to`, for that key alone."""
    try:
        jws = decode_compact(text)
        if not _header_is_plain(jws):
            return None
        algorithm, jwk = jws.header["alg"], jws.header["jwk"]
        # Compared before the key is parsed: only the bound key is worth the work.
        proved = thumbprint(jwk)
        if bound_to is not None and proved != bound_to:
            return None
        key = public_key(jwk, algorithm=algorithm)
        if not signature_holds(jws, algorithm=algorithm, key=key):
            return None
        return msgspec.convert(jws.payload, _Claims), proved
    except (Malformed, msgspec.ValidationError):
        return None


def _header_is_plain(jws: Jws) -> bool:
    header = jws.header
    return (
        header.keys() >= _REQUIRED
        and header.keys() <= _HEADER
        and header["typ"] == TYPE
        and header["alg"] in ALGORITHMS
        and isinstance(header["jwk"], dict)
    )


def _borrowed(how: str) -> NotHolder:
    return NotHolder(f"The DPoP proof {how}.", challenge="invalid_dpop_proof")


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, challenge="invalid_dpop_proof")


__all__ = ["ALGORITHMS", "TYPE", "WINDOW_S", "Proof", "verify_key_proof", "verify_proof"]
