"""The one door for tokens that others sign: CI tokens, tokens of people, JWT-SVIDs, assertions.

What a token must be is a `Profile`; keys come from the issuer that settings pin, never from the
token. Every row of the table of pitfalls that a token can carry ends here, for every kind at once
(`tests/attacks/test_pitfalls_of_tokens.py`). Not here: single use (`replay_key` is to be spent by
the caller), revocation, what the claims mean, and Midflight's own access tokens (`access.py`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import Any

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.outside_token import Hint, OutsideToken, Profile
from midflight.wire.tokens.jws import Jws, decode_compact, signature_holds
from midflight.wire.tokens.keys import key_for

MAX_NAME = 2_048
"""Characters in `iss`, `sub`, an audience or a `jti`."""
MAX_AUDIENCES = 16
LATEST = 2**36
"""A time above (the year 4147) is not one; floats can be finite and absurd."""

# The allow-list: jwk, jku, x5u, x5c, crit, b64, zip and whatever comes next are refused unseen.
_HEADER = frozenset({"typ", "alg", "kid"})


def verify(text: str, *, profile: Profile, jwks: Mapping[str, Any], now: float) -> OutsideToken:
    """The claims of a token that holds now.

    Args:
        text: the compact JWS.
        profile: what it must be.
        jwks: the key set of the issuer that `profile` names, fetched or configured; never from
            where the token says.
        now: Unix seconds.

    Raises:
        Unauthenticated: with challenge `invalid_token`. Until the signature holds, every failure
            gives the same message; nothing of the token is ever repeated.
    """
    jws = _signed(text, profile=profile, jwks=jwks)
    if jws is None:
        raise _refused(f"The {profile.kind} does not verify.")
    claims = jws.payload
    audience = _check_parties(claims, profile)
    issued_at, ends = _check_times(claims, profile=profile, now=now)
    jti = _name(claims, "jti", profile) if "jti" in claims else ""
    for name in profile.required:
        if claims.get(name) is None:
            raise _refused(f"The {profile.kind} lacks the claim {name}.")
    return OutsideToken(
        subject=_name(claims, "sub", profile),
        issuer=profile.issuer or "",
        audience=audience,
        issued_at=None if issued_at is None else math.floor(issued_at),
        expires_at=math.floor(ends),
        jti=jti,
        replay_key=_replay_key(jws, profile=profile, jti=jti),
        # Acceptable until its end and the leeway; once more for replicas whose clocks are behind.
        until=math.ceil(ends) + 2 * profile.leeway_s + 1,
        claims=claims,
    )


def unverified(text: str) -> Hint:
    """Whose token it claims to be: a key into a fixed table, and good for nothing else.

    Raises:
        Unauthenticated: not a token at all.
    """
    try:
        jws = decode_compact(text)
    except Malformed:
        raise _refused("The token does not verify.") from None
    issuer, kid, kind = jws.payload.get("iss"), jws.header.get("kid"), jws.header.get("typ")
    subject = jws.payload.get("sub")
    return Hint(
        issuer=issuer if isinstance(issuer, str) else "",
        subject=subject if isinstance(subject, str) else "",
        kid=kid if isinstance(kid, str) else "",
        kind=kind if isinstance(kind, str) else "",
    )


def _signed(text: str, *, profile: Profile, jwks: Mapping[str, Any]) -> Jws | None:
    try:
        jws = decode_compact(text)
    except Malformed:
        return None
    header = jws.header
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in profile.algorithms:
        return None
    if header.keys() - profile.extra_headers - _HEADER or not _type_fits(header, profile):
        return None
    key = key_for(
        jwks,
        kid=header.get("kid"),
        algorithm=algorithm,
        use=profile.use,
        kid_required=profile.kid_required or "kid" in header,
    )
    if key is None or not signature_holds(jws, algorithm=algorithm, key=key):
        return None
    return jws


def _type_fits(header: dict[str, Any], profile: Profile) -> bool:
    # A null is not an absent one.
    if "typ" not in header:
        return None in profile.types
    return isinstance(header["typ"], str) and header["typ"] in profile.types


def _check_parties(claims: dict[str, Any], profile: Profile) -> tuple[str, ...]:
    """Issuer and audience, exactly; the audience as a tuple."""
    if profile.issuer is not None and claims.get("iss") != profile.issuer:
        raise _refused(f"The {profile.kind} is from another issuer.")
    audience = claims.get("aud")
    listed: list[Any] = [audience] if isinstance(audience, str) else audience or []
    if (
        not isinstance(listed, list)  # pyright: ignore[reportUnnecessaryIsInstance]  -- JSON
        or not 1 <= len(listed) <= MAX_AUDIENCES
        or not all(isinstance(one, str) and _is_name(one) for one in listed)
        or profile.audience not in listed
    ):
        raise _refused(
            f"The {profile.kind} is not for this audience.", hint=f"Ask for {profile.audience}."
        )
    if len(listed) > 1 and not profile.audience_listed:
        raise _refused(
            f"The {profile.kind} is for others, too.",
            hint=f"Ask for one whose only audience is {profile.audience}.",
        )
    return tuple(listed)


def _check_times(
    claims: dict[str, Any], *, profile: Profile, now: float
) -> tuple[float | None, float]:
    """(iat or None, exp), Unix seconds."""
    ends = _time(claims, "exp", profile)
    if ends is None:
        raise _refused(f"The {profile.kind} has no end.", hint="Ask for one with exp.")
    issued_at, starts = _time(claims, "iat", profile), _time(claims, "nbf", profile)
    leeway = profile.leeway_s
    if any(at is not None and at > now + leeway for at in (issued_at, starts)):
        raise _refused(f"The {profile.kind} is not valid yet.", hint="Compare the clocks.")
    if ends <= now - leeway:
        raise _refused(f"The {profile.kind} has expired.", hint="Get a new one.")
    since = now - leeway if issued_at is None else issued_at
    if not 0 < ends - since <= profile.max_lifetime_s + (leeway if issued_at is None else 0):
        raise _refused(
            f"The {profile.kind} claims to live longer than {profile.max_lifetime_s} seconds.",
            hint="Ask its issuer for one that ends sooner.",
        )
    if profile.max_age_s is not None and (
        issued_at is None or now - issued_at > profile.max_age_s + leeway
    ):
        raise _refused(
            f"The {profile.kind} was issued more than {profile.max_age_s} seconds ago.",
            hint="Get one right before it is used.",
        )
    return issued_at, ends


def _time(claims: dict[str, Any], name: str, profile: Profile) -> float | None:
    if name not in claims:
        return None
    value = claims[name]
    # bool is an int in Python; text such as "123" is what PyJWT takes; the reader of JSON has
    # refused NaN and infinities.
    if type(value) not in (int, float) or not 0 <= value <= LATEST:
        raise _refused(f"The claim {name} of the {profile.kind} is not a time.")
    return value


def _name(claims: dict[str, Any], claim: str, profile: Profile) -> str:
    value = claims.get(claim)
    if not isinstance(value, str) or not _is_name(value):
        raise _refused(f"The claim {claim} of the {profile.kind} is not a name.")
    return value


def _is_name(value: str) -> bool:
    return 1 <= len(value) <= MAX_NAME and value.isprintable()


def _replay_key(jws: Jws, *, profile: Profile, jti: str) -> str:
    what = jti.encode() if jti else hashlib.sha256(jws.signing_input).digest()
    # Lengths first, so that no two pairs of issuer and id are one text.
    issuer = (profile.issuer or "").encode()
    return hashlib.sha256(b"%d:%b%d:%b" % (len(issuer), issuer, bool(jti), what)).hexdigest()


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(message, hint=hint, challenge="invalid_token")


__all__ = ["unverified", "verify"]
