"""JWT-SVIDs (SPIFFE JWT-SVID): who somebody is, to one audience, for at most five minutes.

The header has `alg`, `kid` and perhaps `typ`, and nothing else (§2); `sub`, `aud` and `exp` are
mandatory (§3). The trust domain of `sub` chooses the bundle and the bundle the key: a key of one
trust domain never vouches for another. What this does not check: registration and revocation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard, cast

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.identity import spiffe_id, trust_domain
from midflight.domain.spiffe import TrustBundle
from midflight.domain.value import JSONObject, Value
from midflight.wire.spiffe.keys import ALGORITHMS, signed_by
from midflight.wire.tokens.jws import Jws, decode_compact

LEEWAY_S = 30
MAX_AUDIENCES = 16
MAX_AUDIENCE = 1_024

_HEADER = frozenset({"alg", "kid", "typ"})
_TYPES = frozenset({"JWT", "JOSE"})


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
        jws = decode_compact(text)
        subject = _subject(jws)
        algorithm, kid = _header(jws)
        bundle = bundles(trust_domain(subject))
        if bundle is None or bundle.trust_domain != trust_domain(subject):
            raise _refused("The JWT-SVID is of a trust domain that is not trusted here.")
        held = next((jwk for jwk in bundle.jwt_authorities if jwk.get("kid") == kid), None)
        if held is None or not signed_by(jws, held, algorithm=algorithm):
            raise _refused("The JWT-SVID is not signed by an authority of its trust domain.")
    except (Malformed, ValueError):
        raise _refused("The JWT-SVID does not verify.") from None
    listed = _audience(jws.payload.get("aud"))
    if audience not in listed or (alone and len(listed) != 1):
        raise _refused("The JWT-SVID is for another audience.")
    issued, expires = _times(jws.payload, now)
    token: object = jws.payload.get("jti", "")
    if not isinstance(token, str) or len(token) > MAX_AUDIENCE:
        raise _refused("The JWT-SVID has an ill-formed jti.")
    run: object = jws.payload.get("txn")
    if run is not None and not (isinstance(run, str) and _is_audience(run)):
        raise _refused("The JWT-SVID has an ill-formed txn.")
    return JwtSvidClaims(
        spiffe_id=subject,
        audience=listed,
        jti=token,
        issued_at=issued,
        expires_at=expires,
        claims=jws.payload,
        run=run,
    )


def _subject(jws: Jws) -> str:
    subject = jws.payload.get("sub")
    if not isinstance(subject, str):
        raise Malformed("The JWT-SVID has no subject.")
    return spiffe_id(subject)


def _header(jws: Jws) -> tuple[str, str]:
    """(alg, kid). An allow-list: jwk, jku, x5u, x5c, crit and whatever comes next are refused."""
    header = jws.header
    algorithm, kid = header.get("alg"), header.get("kid")
    if not header.keys() <= _HEADER or header.get("typ", "JWT") not in _TYPES:
        raise Malformed("The header of the JWT-SVID is not plain.")
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or not isinstance(kid, str):
        raise Malformed("The header of the JWT-SVID is not plain.")
    return algorithm, kid


def _audience(value: object) -> tuple[str, ...]:
    listed = cast("list[Any]", [value] if isinstance(value, str) else value)
    if not isinstance(value, str | list) or not 0 < len(listed) <= MAX_AUDIENCES:
        raise _refused("The JWT-SVID has no audience.")
    if not all(isinstance(one, str) and _is_audience(one) for one in listed):
        raise _refused("The JWT-SVID has an ill-formed audience.")
    return tuple(listed)


def _is_audience(text: str) -> bool:
    return 0 < len(text) <= MAX_AUDIENCE and text.isprintable()


def _times(claims: JSONObject, now: float) -> tuple[int | None, int]:
    expires: object = claims.get("exp")
    issued: object = claims.get("iat")
    if not _is_time(expires):
        raise _refused("The JWT-SVID has no expiry.")
    if expires <= now - LEEWAY_S:
        raise _refused("The JWT-SVID has expired.", hint="Fetch a new one.")
    for begins in (issued, claims.get("nbf")):
        if begins is not None and (not _is_time(begins) or begins > now + LEEWAY_S):
            raise _refused("The JWT-SVID is not valid yet.", hint="Compare the clocks.")
    return math.floor(issued) if _is_time(issued) else None, math.floor(expires)


def _is_time(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 2**53


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, challenge="invalid_token")


__all__ = ["LEEWAY_S", "JwtSvidClaims", "jwt_svid_claims", "verify_jwt_svid"]
