"""Transaction tokens: `txntoken+jwt`, for one trust domain and a few minutes.

draft-ietf-oauth-transaction-tokens-10, experimental. They say to the services of a trust domain
what is done for whom, travel in the `Txn-Token` header, and open nothing: they are no access tokens
and no proof of who presents them. A service checks one with `verify_transaction_token` and the keys
at `/.well-known/jwks.json`; it goes through `verify.py` as every token does that somebody else is
to believe. Not here: whether the run was revoked since, which only the issuer knows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.outside_token import Profile
from midflight.domain.value import Discreet, JSONObject
from midflight.wire import json
from midflight.wire.tokens.actors import ActClaim, act_claim, actors_of, scope_values
from midflight.wire.tokens.verify import verify

TYPE = "txntoken+jwt"
ALGORITHM = "ES256"
MAX_LIFETIME_S = 300
"""At most, and less where what it was made from ends sooner."""
MAX_CONTEXT_BYTES = 2_048
"""Of `request_details` and of `request_context`, each: both must fit into a header."""
MAX_CONTEXT_DEPTH = 4
MAX_CONTEXT_VALUES = 64

# Whoever reads a transaction token could replay what stands in it (§ Access Tokens of the draft).
_JWT = re.compile(rb"eyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+\.")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}\Z")


class TransactionToken(Discreet):
    """The claims of a verified transaction token.

    Attributes:
        token: the `jti`, by which it can be revoked.
        run: the `txn`: the transaction is a run of Midflight.
        workload: the `sub`, a SPIFFE ID of the trust domain: for whom it is done.
        requester: the `req_wl`, a SPIFFE ID of the trust domain: who asked for this token.
        scope: what it is for at most.
        actors: everybody who asked for it or acted before, the requester first (`act`).
        issued_at, expires_at: Unix seconds.
        details: the `tctx`, immutable through the chain of calls; empty without.
        context: the `rctx`; empty without.
    """

    shown = ("token", "run", "expires_at")

    token: str
    run: str
    workload: str
    requester: str
    scope: tuple[str, ...]
    actors: tuple[str, ...]
    issued_at: int
    expires_at: int
    details: JSONObject = {}
    context: JSONObject = {}


class _Claims(msgspec.Struct, forbid_unknown_fields=True):
    """As on the wire. `aud` is text: a list, even of one, is not what Midflight mints."""

    iss: str
    sub: str
    aud: str
    jti: str
    iat: int
    exp: int
    txn: str
    scope: str
    req_wl: str
    act: ActClaim
    tctx: dict[str, Any] = {}
    rctx: dict[str, Any] = {}


def transaction_context(text: str) -> JSONObject:
    """The value of `request_details` or `request_context`.

    Raises:
        Malformed: not a JSON object, a member twice, too long, too deep, too many values, or
            another token in it.
    """
    raw = text.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_CONTEXT_BYTES:
        raise Malformed(
            f"It is longer than {MAX_CONTEXT_BYTES} bytes.", hint="Say what it is about, not all."
        )
    value = json.as_object(
        json.decode(raw, max_depth=MAX_CONTEXT_DEPTH, max_values=MAX_CONTEXT_VALUES)
    )
    if value is None:
        raise Malformed("It is not a JSON object.")
    if _JWT.search(json.encode(value)):
        raise Malformed("A token stands in it.", hint="Name it by its jti.")
    return value


def transaction_claims(
    *,
    issuer: str,
    trust_domain_name: str,
    workload: str,
    token: str,
    run: str,
    issued_at: int,
    lifetime_s: int,
    scope: Sequence[str],
    actors: Sequence[str],
    details: JSONObject,
    context: JSONObject,
) -> tuple[JSONObject, JSONObject]:
    """Header and claims for `TokenSigner.mint`. The first of `actors` is the requester."""
    claims: JSONObject = {
        "iss": issuer,
        "sub": workload,
        "aud": trust_domain_name,
        "jti": token,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
        "txn": run,
        "scope": " ".join(scope),
        "req_wl": actors[0],
        "act": act_claim(actors),
    }
    if details:
        claims["tctx"] = details
    if context:
        claims["rctx"] = context
    return {"typ": TYPE}, claims


def transaction_profile(*, issuer: str, trust_domain_name: str) -> Profile:
    """What a transaction token of this issuer and trust domain must be."""
    return Profile(
        kind="transaction token",
        issuer=issuer,
        audience=trust_domain_name,
        algorithms=(ALGORITHM,),
        types=(TYPE,),
        required=("iat", "jti", "txn", "scope", "req_wl"),
        max_age_s=MAX_LIFETIME_S,
        max_lifetime_s=MAX_LIFETIME_S,
    )


def verify_transaction_token(
    text: str, *, jwks: Mapping[str, Any], issuer: str, trust_domain_name: str, now: float
) -> TransactionToken:
    """The only door for transaction tokens.

    Args:
        text: the compact JWS, the whole value of one `Txn-Token` header.
        jwks: the key set of the issuer.
        issuer: what `iss` must be, exactly.
        trust_domain_name: what `aud` must be, exactly and alone, and what `sub` must be in.
        now: Unix seconds.

    Raises:
        Unauthenticated: with challenge `invalid_token`; nothing of the token is ever repeated.
    """
    profile = transaction_profile(issuer=issuer, trust_domain_name=trust_domain_name)
    token = verify(text, profile=profile, jwks=jwks, now=now)
    try:
        claims = msgspec.convert(token.claims, _Claims)
        workload, requester = spiffe_id(claims.sub), spiffe_id(claims.req_wl)
        scope, actors = scope_values(claims.scope), actors_of(claims.act)
    except ValueError:  # msgspec's error is one, too
        raise _refused("The transaction token is not as they are made here.") from None
    named = _NAME.match(claims.jti) and _NAME.match(claims.txn) and actors[0] == requester
    if not named or {trust_domain(workload), trust_domain(requester)} != {trust_domain_name}:
        raise _refused("The transaction token speaks for nobody of this trust domain.")
    return TransactionToken(
        token=claims.jti,
        run=claims.txn,
        workload=workload,
        requester=requester,
        scope=scope,
        actors=actors,
        issued_at=claims.iat,
        expires_at=claims.exp,
        details=claims.tctx,
        context=claims.rctx,
    )


def _refused(message: str) -> Unauthenticated:
    return Unauthenticated(message, challenge="invalid_token")


__all__ = [
    "ALGORITHM",
    "MAX_CONTEXT_BYTES",
    "MAX_LIFETIME_S",
    "TYPE",
    "TransactionToken",
    "transaction_claims",
    "transaction_context",
    "transaction_profile",
    "verify_transaction_token",
]
