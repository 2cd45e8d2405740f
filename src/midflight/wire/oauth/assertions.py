"""Client assertions (RFC 7523 §2.2, §3): a client proves itself with a key that it registered.

The audience is the issuer and nothing else. An assertion for the token endpoint's URL is refused:
a server that a client also uses could have it made for ours (audience injection, CVE-2025-27370).
It goes through `wire/tokens/verify.py`.
What it does not check: whether the `jti` was used; the caller spends it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import Profile
from midflight.domain.value import JSONObject, Value
from midflight.wire.tokens.verify import unverified, verify

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
SPIFFE_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
ALGORITHMS = ("ES256", "EdDSA", "Ed25519")
MAX_LIFETIME_S = 600

_JTI = re.compile(r"[\x21-\x7e]{1,256}\Z")


class Assertion(Value):
    """A verified assertion: spend (client, `jti`) once, until `until` (Unix seconds)."""

    jti: str
    until: int


def subject_of(text: str) -> str:
    """What an assertion claims to be, unverified: good for nothing but finding the key.

    Raises:
        Unauthenticated: it is no JWT with a subject.
    """
    subject = unverified(text).subject
    if not 0 < len(subject) <= 2048:
        raise _refused()
    return subject


def profile(client: str, audience: str) -> Profile:
    """What an assertion of this client must be."""
    return Profile(
        kind="client assertion",
        issuer=client,
        audience=audience,
        algorithms=ALGORITHMS,
        types=("JWT", "jwt", "client-authentication+jwt", None),
        required=("jti",),
        max_age_s=None,
        max_lifetime_s=MAX_LIFETIME_S,
        kid_required=False,
    )


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
        token = verify(text, profile=profile(client, audience), jwks={"keys": keys}, now=now)
    except Unauthenticated:
        raise _refused() from None
    # An iat of the near future would stretch the life that is counted from it.
    if token.subject != client or token.expires_at > now + MAX_LIFETIME_S:
        raise _refused()
    if _JTI.match(token.jti) is None:
        raise _refused()
    return Assertion(jti=token.jti, until=token.until)


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
    "profile",
    "subject_of",
    "verify_assertion",
]
