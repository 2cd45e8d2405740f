"""Access tokens of workloads: `at+jwt` (RFC 9068), ES256, five to fifteen minutes, one audience.

Midflight mints them and is the only one to accept them, so everything is exact: the members of the
header, the names of the claims, their types, the audience. A claim that this version does not know
is refused, since it could narrow the token. What this does not check: revocation, registration of
the workload, and the proof of possession that `thumbprint` calls for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.value import JSONObject, Value
from midflight.wire import json
from midflight.wire.tokens.actors import (
    ActClaim,
    act_claim,
    actors_of,
    is_party,
    scope_values,
)
from midflight.wire.tokens.jwk import PublicKey, is_thumbprint, public_key
from midflight.wire.tokens.jws import (
    MAX_DEPTH,
    MAX_TOKEN_CHARS,
    Jws,
    base64url,
    decode_compact,
    signature_holds,
)

TYPE = "at+jwt"
ALGORITHM = "ES256"
LEEWAY_S = 30
"""How far the clocks of replicas may differ (identity.md §8: at most 30 s)."""
MAX_LIFETIME_S = 900
"""Refused above, even if signed: a stolen signing request must not yield an endless token."""

_HEADER = frozenset({"typ", "alg", "kid"})
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class AccessToken(Value):
    """The claims of a verified access token.

    Attributes:
        token: the `jti`, by which it can be revoked.
        workload: the `sub`, a SPIFFE ID of the trust domain.
        run: the `txn`, or None for an implicit run.
        thumbprint: the `cnf.jkt`, or None if it is bound to no key.
        certificate: the `cnf.x5t#S256`, or None if it is bound to no certificate (RFC 8705 §3.1).
        issued_at, expires_at: Unix seconds.
        client: the `client_id` that got it; the workload itself unless it was exchanged.
        scope: the `scope`, or None where the token is not narrowed.
        actors: the subjects of the `act` chain, the one that acts first (RFC 8693 §4.1).
    """

    token: str
    workload: str
    run: str | None
    thumbprint: str | None
    issued_at: int
    expires_at: int
    certificate: str | None = None
    client: str = ""
    scope: tuple[str, ...] | None = None
    actors: tuple[str, ...] = ()


class _Confirmation(msgspec.Struct, forbid_unknown_fields=True):
    # Another method must not turn a bound token into a bearer token: unknown is refused.
    jkt: str | msgspec.UnsetType = msgspec.UNSET
    x5t: str | msgspec.UnsetType = msgspec.field(default=msgspec.UNSET, name="x5t#S256")


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    """As on the wire. `aud` is text: a list, even of one, is not what Midflight mints."""

    iss: str
    sub: str
    aud: str
    client_id: str
    jti: str
    iat: int
    exp: int
    nbf: int | msgspec.UnsetType = msgspec.UNSET
    txn: str | msgspec.UnsetType = msgspec.UNSET
    cnf: _Confirmation | msgspec.UnsetType = msgspec.UNSET
    scope: str | msgspec.UnsetType = msgspec.UNSET
    act: ActClaim | msgspec.UnsetType = msgspec.UNSET


def access_claims(
    *,
    issuer: str,
    resource: str,
    workload: str,
    token: str,
    issued_at: int,
    lifetime_s: int,
    run: str | None,
    thumbprint: str | None,
    certificate: str | None = None,
    client: str | None = None,
    scope: Sequence[str] | None = None,
    actors: Sequence[str] = (),
) -> tuple[JSONObject, JSONObject]:
    """Header and claims for `TokenSigner.sign`, which adds `alg` and `kid`.

    `client_id` equals `sub` unless `client` is given: the workload is the client (RFC 9068 §2.2).
    `actors` become the `act` chain, the first one outermost. Times in Unix seconds.
    """
    claims: JSONObject = {
        "iss": issuer,
        "sub": workload,
        "aud": resource,
        "client_id": client or workload,
        "jti": token,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
    }
    if run is not None:
        claims["txn"] = run
    bound = {"jkt": thumbprint, "x5t#S256": certificate}
    if any(bound.values()):
        claims["cnf"] = {name: value for name, value in bound.items() if value is not None}
    if scope is not None:
        claims["scope"] = " ".join(scope)
    chain = act_claim(actors)
    if chain is not None:
        claims["act"] = chain
    return {"typ": TYPE}, claims


def verify_access_token(
    text: str,
    *,
    jwks: Mapping[str, Any],
    issuer: str,
    resource: str,
    trust_domain_name: str,
    now: float,
) -> AccessToken:
    """The only door for access tokens.

    Args:
        text: the compact JWS.
        jwks: the issuer's own key set; a key is found by `kid` in it and nowhere else.
        issuer: what `iss` must be, exactly.
        resource: what `aud` must be, exactly and alone.
        trust_domain_name: the trust domain that `sub` must be in.
        now: Unix seconds.

    Raises:
        Unauthenticated: with challenge `invalid_token`. Until the signature holds, every failure
            gives the same message; nothing of the token is ever repeated.
    """
    claims = _signed_claims(text, jwks)
    if claims is None:
        raise _refused("The access token does not verify.")
    if claims.iss != issuer or claims.aud != resource:
        raise _refused("The access token is for another issuer or resource.")
    _check_times(claims, now)
    return _check_names(claims, trust_domain_name)


def is_access_token(text: str) -> bool:
    """Whether its header says that it is one; nothing is verified, it only finds the door.

    What cannot be read is one, too: this door's answer to garbage is the one that all get.
    """
    head, _, _ = text.partition(".")
    if len(text) > MAX_TOKEN_CHARS or len(head) > MAX_TOKEN_CHARS:
        return True
    try:
        header = json.as_object(json.decode(base64url(head), max_depth=MAX_DEPTH))
    except (Malformed, UnicodeError):
        return True
    return header is None or header.get("typ") not in {None, "JWT", "JOSE"}


def _signed_claims(text: str, jwks: Mapping[str, Any]) -> _Claims | None:
    try:
        jws = decode_compact(text)
        key = _key_of(jws, jwks)
        if key is None or not signature_holds(jws, algorithm=ALGORITHM, key=key):
            return None
        return msgspec.convert(jws.payload, _Claims)
    except (Malformed, msgspec.ValidationError):
        return None


def _key_of(jws: Jws, jwks: Mapping[str, Any]) -> PublicKey | None:
    header = jws.header
    # An allow-list, so jwk, jku, x5u, x5c, crit, b64 and whatever comes next are all refused.
    if header.keys() != _HEADER or header["typ"] != TYPE or header["alg"] != ALGORITHM:
        return None
    for jwk in jwks["keys"]:
        if jwk["kid"] == header["kid"]:
            return public_key(jwk, algorithm=ALGORITHM)
    return None


def _check_times(claims: _Claims, now: float) -> None:
    if not 0 < claims.exp - claims.iat <= MAX_LIFETIME_S:
        raise _refused("The access token claims a lifetime that is not issued here.")
    starts = claims.iat if claims.nbf is msgspec.UNSET else max(claims.iat, claims.nbf)
    if starts > now + LEEWAY_S:
        raise _refused("The access token is not valid yet.", hint="Compare the clocks.")
    if claims.exp <= now - LEEWAY_S:
        raise _refused(
            "The access token has expired.", hint="Get a new one: midflight workload token."
        )


def _check_names(claims: _Claims, domain: str) -> AccessToken:
    try:
        in_domain = trust_domain(spiffe_id(claims.sub)) == domain
    except ValueError:
        in_domain = False
    if not in_domain or not is_party(claims.client_id):
        raise _refused("The access token speaks for no workload of this trust domain.")
    run = None if claims.txn is msgspec.UNSET else claims.txn
    jkt, certificate = _bound_to(claims)
    named = _NAME.match(claims.jti) and (run is None or _NAME.match(run))
    if not named or not all(is_thumbprint(one) for one in (jkt, certificate) if one is not None):
        raise _refused("The access token has an ill-formed jti, txn or cnf.")
    try:
        scope = None if claims.scope is msgspec.UNSET else scope_values(claims.scope)
        actors = actors_of(claims.act)
    except ValueError as error:
        raise _refused(f"The access token has {error}.") from None
    return AccessToken(
        certificate=certificate,
        client=claims.client_id,
        scope=scope,
        actors=actors,
        token=claims.jti,
        workload=claims.sub,
        run=run,
        thumbprint=jkt,
        issued_at=claims.iat,
        expires_at=claims.exp,
    )


def _bound_to(claims: _Claims) -> tuple[str | None, str | None]:
    """(thumbprint of the key, thumbprint of the certificate) that it is bound to."""
    if claims.cnf is msgspec.UNSET:
        return None, None
    jkt = None if claims.cnf.jkt is msgspec.UNSET else claims.cnf.jkt
    certificate = None if claims.cnf.x5t is msgspec.UNSET else claims.cnf.x5t
    if jkt is None and certificate is None:
        raise _refused("The access token has an ill-formed jti, txn or cnf.")
    return jkt, certificate


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, challenge="invalid_token")


__all__ = [
    "ALGORITHM",
    "LEEWAY_S",
    "MAX_LIFETIME_S",
    "TYPE",
    "AccessToken",
    "access_claims",
    "is_access_token",
    "verify_access_token",
]
