"""JWT-SVIDs (SPIFFE JWT-SVID): who somebody is, to one audience, for at most five minutes.

The header has `alg`, `kid` and perhaps `typ`, and nothing else (§2); `sub`, `aud` and `exp` are
mandatory (§3). The trust domain of `sub` chooses the bundle and the bundle the key: a key of one
trust domain never vouches for another; `wire/tokens/verify.py` does the rest. What this does not
check: registration and revocation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.outside_token import (
    MAX_LEEWAY_S,
    SVID_ALGORITHMS,
    SVID_USE,
    Profile,
)
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject, Value
from midflight.wire.tokens.verify import MAX_AUDIENCES, unverified, verify

LEEWAY_S = MAX_LEEWAY_S
MAX_AUDIENCE = 1_024


class JwtSvidClaims(Value):
    """What a verified JWT-SVID says.

    Attributes:
        spiffe_id: the `sub`.
        audience: the `aud`, as a tuple.
        jti: by which it can be revoked; empty where the issuer gave none.
        issued_at: Unix seconds, or None where the issuer gave none.
        expires_at: Unix seconds.
        run: the `txn`: the run that it was issued for, or None. Only an SVID of one's own trust
            domain names a run of one's own.
        claims: all of them.
    """

    spiffe_id: str
    audience: tuple[str, ...]
    jti: str
    issued_at: int | None
    expires_at: int
    claims: JSONObject
    run: str | None = None


def jwt_svid_claims(
    *, subject: str, audience: Sequence[str], token: str, issued_at: int, lifetime_s: int
) -> tuple[JSONObject, JSONObject]:
    """Header and claims for `TokenSigner.sign`, which adds `alg` and `kid`. Times in seconds.

    Raises:
        Malformed: no audience, too many, or one that is empty, long or unprintable.
    """
    wanted = tuple(dict.fromkeys(audience))
    if not wanted or len(wanted) > MAX_AUDIENCES or not all(_is_audience(one) for one in wanted):
        raise Malformed(
            f"A JWT-SVID is for 1 to {MAX_AUDIENCES} audiences of printable text.",
            hint="Name whom it is shown to, such as the SPIFFE ID of the service.",
        )
    return {"typ": "JWT"}, {
        "sub": subject,
        "aud": wanted[0] if len(wanted) == 1 else list(wanted),
        "jti": token,
        "iat": issued_at,
        "exp": issued_at + lifetime_s,
    }


def verify_jwt_svid(
    text: str,
    *,
    bundles: Callable[[str], TrustBundle | None],
    audience: str,
    now: float,
    alone: bool = False,
) -> JwtSvidClaims:
    """The only door for JWT-SVIDs.

    Args:
        text: the compact JWS.
        bundles: the bundle in force for a trust domain, or None.
        audience: what `aud` must hold.
        now: Unix seconds.
        alone: whether it must be the only audience: then nobody else can have presented it.

    Raises:
        Unauthenticated: it does not verify; nothing of the token is repeated.
    """
    try:
        subject = spiffe_id(unverified(text).subject)
    except (Unauthenticated, ValueError):
        raise _refused("The JWT-SVID does not verify.") from None
    bundle = bundles(trust_domain(subject))
    if bundle is None or bundle.trust_domain != trust_domain(subject):
        raise _refused("The JWT-SVID is of a trust domain that is not trusted here.")
    token = verify(
        text,
        profile=profile(audience, alone=alone),
        jwks={"keys": [{**jwk, "use": SVID_USE} for jwk in bundle.jwt_authorities]},
        now=now,
    )
    run: object = token.claims.get("txn")
    if run is not None and not (isinstance(run, str) and _is_audience(run)):
        raise _refused("The JWT-SVID has an ill-formed txn.")
    return JwtSvidClaims(
        spiffe_id=subject,
        audience=token.audience,
        jti=token.jti,
        issued_at=token.issued_at,
        expires_at=token.expires_at,
        claims=token.claims,
        run=run,
    )


def profile(audience: str, *, alone: bool = False) -> Profile:
    """What a JWT-SVID for an audience must be; `alone` as in `verify_jwt_svid`."""
    return Profile(
        kind="JWT-SVID",
        issuer=None,
        audience=audience,
        algorithms=tuple(sorted(SVID_ALGORITHMS)),
        types=("JWT", "JOSE", None),
        audience_listed=not alone,
        required=(),
        max_age_s=None,
        use=SVID_USE,
    )


def _is_audience(text: str) -> bool:
    return 0 < len(text) <= MAX_AUDIENCE and text.isprintable()


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, challenge="invalid_token")


__all__ = ["LEEWAY_S", "JwtSvidClaims", "jwt_svid_claims", "profile", "verify_jwt_svid"]
