"""Identity assertions as grants: `oauth-id-jag+jwt`.

draft-ietf-oauth-identity-assertion-authz-grant-03, experimental. A provider that an operator trusts
for it says: this person lets this client in here. It goes through `wire/tokens/verify.py`. A claim
that would narrow what is given and is not understood here has the assertion refused: an actor,
authorization details, a tenant, a confirmation by another method. What it does not check: the
single use, the client that sends it, and whether resource and scope are ours; `services` do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from midflight.domain.authorization import is_person_name
from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import OutsideToken, Profile
from midflight.domain.value import Discreet
from midflight.wire import json
from midflight.wire.tokens.jwk import is_thumbprint
from midflight.wire.tokens.verify import verify

TYPE = "oauth-id-jag+jwt"
MAX_AGE_S = 600
MAX_LIFETIME_S = 3_600
MAX_RESOURCES = 16

_NARROWING = ("act", "authorization_details", "aud_tenant")


class IdentityAssertion(Discreet):
    """A verified assertion.

    Attributes:
        person: the `sub`, unique at its issuer (and tenant).
        client: the `client_id` that it was given to.
        jti: its id.
        replay_key, until: what must be used once, and until when (Unix seconds) that is noted.
        expires_at: Unix seconds.
        resources: the `resource`, or None where it names none.
        scope: the `scope`, or None where it does not narrow.
        thumbprint, certificate: the `cnf` that it is bound to, or None.
    """

    shown = ("client", "jti", "expires_at")

    person: str
    client: str
    jti: str
    replay_key: str
    until: int
    expires_at: int
    resources: tuple[str, ...] | None = None
    scope: str | None = None
    thumbprint: str | None = None
    certificate: str | None = None


def assertion_profile(*, issuer: str, audience: str, algorithms: Sequence[str]) -> Profile:
    """What an identity assertion of this issuer for this server must be."""
    return Profile(
        kind="identity assertion",
        issuer=issuer,
        audience=audience,
        algorithms=tuple(algorithms),
        types=(TYPE,),
        required=("iat", "jti", "client_id"),
        max_age_s=MAX_AGE_S,
        max_lifetime_s=MAX_LIFETIME_S,
        kid_required=False,
    )


def verify_identity_assertion(
    text: str,
    *,
    issuer: str,
    audience: str,
    algorithms: Sequence[str],
    tenant: str | None,
    jwks: Mapping[str, Any],
    now: float,
) -> IdentityAssertion:
    """The only door for identity assertions.

    Args:
        text: the compact JWS.
        issuer: the `iss` that settings pin.
        audience: the issuer of this authorization server, exactly and alone.
        algorithms: the allow-list of the issuer.
        tenant: what `tenant` must be; None where there must be none: a subject is unique only
            with it, so that of another tenant is somebody else.
        jwks: the key set of the issuer.
        now: Unix seconds.

    Raises:
        Unauthenticated: with challenge `invalid_token`; nothing of the assertion is repeated.
    """
    profile = assertion_profile(issuer=issuer, audience=audience, algorithms=algorithms)
    token = verify(text, profile=profile, jwks=jwks, now=now)
    claims = token.claims
    if claims.get("tenant") != tenant or (tenant is None and "tenant" in claims):
        raise _refused("The identity assertion is of another tenant.")
    for name in _NARROWING:
        if name in claims:
            raise _refused(f"The identity assertion holds {name}, which is not read here.")
    if not is_person_name(token.subject):
        raise _refused("The identity assertion names nobody that can be recorded.")
    client, scope = claims["client_id"], claims.get("scope")
    if not isinstance(client, str) or not (scope is None or isinstance(scope, str)):
        raise _refused("The identity assertion has an ill-formed client_id or scope.")
    if "scope" in claims and scope is None:
        raise _refused("The identity assertion has an ill-formed client_id or scope.")
    thumbprint, certificate = _bound_to(token)
    return IdentityAssertion(
        person=token.subject,
        client=client,
        jti=token.jti,
        replay_key=token.replay_key,
        until=token.until,
        expires_at=token.expires_at,
        resources=_resources(token),
        scope=scope,
        thumbprint=thumbprint,
        certificate=certificate,
    )


def _resources(token: OutsideToken) -> tuple[str, ...] | None:
    if "resource" not in token.claims:
        return None
    named: Any = token.claims["resource"]
    listed = cast("list[Any]", [named] if isinstance(named, str) else named)
    if (
        not isinstance(listed, list)  # pyright: ignore[reportUnnecessaryIsInstance]  -- JSON
        or not 1 <= len(listed) <= MAX_RESOURCES
        or not all(isinstance(one, str) for one in listed)
    ):
        raise _refused("The identity assertion has an ill-formed resource.")
    return tuple(listed)


def _bound_to(token: OutsideToken) -> tuple[str | None, str | None]:
    """(thumbprint of the key, thumbprint of the certificate) that it is bound to."""
    if "cnf" not in token.claims:
        return None, None
    bound = json.as_object(token.claims["cnf"])
    if (
        not bound
        or bound.keys() - {"jkt", "x5t#S256"}
        or not all(isinstance(one, str) and is_thumbprint(one) for one in bound.values())
    ):
        raise _refused("The identity assertion has an ill-formed cnf.")
    return bound.get("jkt"), bound.get("x5t#S256")


def _refused(message: str) -> Unauthenticated:
    return Unauthenticated(message, challenge="invalid_token")


__all__ = [
    "TYPE",
    "IdentityAssertion",
    "assertion_profile",
    "verify_identity_assertion",
]
