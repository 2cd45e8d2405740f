"""The one door for SETs that others send (RFC 8417, SSF 1.0 §4, CAEP interoperability profile).

RS256 with a key of at least 2,048 bits, `typ` exactly `secevent+jwt`, exactly one event, `sub_id`
at the top, neither `sub` nor `exp`, issuer and audience exactly. Keys come from the issuer that
settings name. Not here: whether a `jti` was seen, and what an event means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

from midflight.domain.errors import Malformed
from midflight.domain.outside_token import MAX_LEEWAY_S, Hint
from midflight.domain.security_event import (
    ASSURANCE_LEVEL_CHANGE,
    CREDENTIAL_CHANGE,
    DEVICE_COMPLIANCE_CHANGE,
    RISK_LEVEL_CHANGE,
    SET_ALGORITHM,
    SET_TYPE,
    STREAM_UPDATED,
    TOKEN_CLAIMS_CHANGE,
    VERIFICATION,
    SecurityEvent,
    SetError,
    SetRefused,
)
from midflight.domain.subject_identifiers import Subject
from midflight.domain.value import JSONObject
from midflight.wire.json import as_object
from midflight.wire.ssf.subjects import decode_subject
from midflight.wire.tokens.jws import Jws, decode_compact, signature_holds
from midflight.wire.tokens.keys import key_for

HEADER: Final[Mapping[str, str]] = {"typ": SET_TYPE}
"""Of SETs made here; the signer adds `alg` and `kid`."""
MAX_AUDIENCES: Final = 16
MAX_ID: Final = 256
MAX_URI: Final = 512

_ALLOWED = frozenset({"typ", "alg", "kid"})
_LEVELS = frozenset({"LOW", "MEDIUM", "HIGH"})
_COMPLIANCE = frozenset({"compliant", "not-compliant"})
# What an event must say (CAEP 1.0 §3, SSF 1.0 §8.1): the values, or None for any text.
_REQUIRED: Final[Mapping[str, Mapping[str, frozenset[str] | None]]] = {
    CREDENTIAL_CHANGE: {
        "credential_type": None,
        "change_type": frozenset({"create", "revoke", "update", "delete"}),
    },
    ASSURANCE_LEVEL_CHANGE: {"namespace": None, "current_level": None},
    DEVICE_COMPLIANCE_CHANGE: {"previous_status": _COMPLIANCE, "current_status": _COMPLIANCE},
    RISK_LEVEL_CHANGE: {"principal": None, "current_level": _LEVELS},
    STREAM_UPDATED: {"status": frozenset({"enabled", "paused", "disabled"})},
}
_OPTIONAL: Final[Mapping[str, Mapping[str, frozenset[str] | None]]] = {
    ASSURANCE_LEVEL_CHANGE: {
        "previous_level": None,
        "change_direction": frozenset({"increase", "decrease"}),
    },
    RISK_LEVEL_CHANGE: {"previous_level": _LEVELS, "risk_reason": None},
    VERIFICATION: {"state": None},
    STREAM_UPDATED: {"reason": None},
}


def hint(text: str) -> Hint:
    """Which key a SET names, unverified. `SetRefused` if it is no JWS at all."""
    jws = _decoded(text)
    kid = jws.header.get("kid")
    return Hint(kid=kid if isinstance(kid, str) else "")


def verify_set(
    text: str,
    *,
    issuer: str,
    audience: str,
    jwks: Mapping[str, Any],
    now: float,
    max_age_s: int,
) -> SecurityEvent:
    """The event of a SET that holds now.

    Args:
        text: the compact JWS.
        issuer: what `iss` must be.
        audience: what must be in `aud`.
        jwks: the key set of that issuer; never from where the SET says.
        now: Unix seconds.
        max_age_s: how old `iat` may be. SETs have no end of their own; older ones are not known
            to have been seen before.

    Raises:
        SetRefused: with the code of RFC 8935 §2.4. Nothing of the SET is repeated.
    """
    jws = _decoded(text)
    if jws.header.keys() - _ALLOWED:
        raise _refused("The header of the SET has members that are not taken.")
    if jws.header.get("typ") != SET_TYPE:
        raise _refused(f"The typ of the SET is not {SET_TYPE}.")
    if jws.header.get("alg") != SET_ALGORITHM:
        raise _refused(f"The SET is not signed with {SET_ALGORITHM}.", err=SetError.INVALID_KEY)
    key = key_for(jwks, kid=jws.header.get("kid"), algorithm=SET_ALGORITHM, use="sig")
    if key is None or not signature_holds(jws, algorithm=SET_ALGORITHM, key=key):
        raise _refused(
            "The SET does not verify with a key of its issuer.", err=SetError.INVALID_KEY
        )
    claims = jws.payload
    if claims.get("iss") != issuer:
        raise _refused("The SET is of another issuer.", err=SetError.INVALID_ISSUER)
    _check_audience(claims.get("aud"), audience)
    for name in ("sub", "exp"):
        if name in claims:
            raise _refused(f"The SET has a claim {name}, which belongs into no SET.")
    kind, event = _event(claims)
    return SecurityEvent(
        issuer=issuer,
        jti=_id(claims, "jti"),
        issued_at=_issued_at(claims, now=now, max_age_s=max_age_s),
        kind=kind,
        subject=_subject(claims),
        event=event,
        txn=_id(claims, "txn") if "txn" in claims else "",
    )


def check_event(kind: str, event: JSONObject) -> None:
    """Refuse an event of a known type that does not say what it must (`SetRefused`)."""
    for name, values in _REQUIRED.get(kind, {}).items():
        _check(event, name, values)
    for name, values in _OPTIONAL.get(kind, {}).items():
        if name in event:
            _check(event, name, values)
    if kind == TOKEN_CLAIMS_CHANGE and not as_object(event.get("claims")):
        raise _refused("The event names no claims that have changed.")


def _check(event: JSONObject, name: str, values: frozenset[str] | None) -> None:
    value = event.get(name)
    if not isinstance(value, str) or len(value) > 2_048:
        raise _refused(f"The event lacks a usable {name}.")
    if values is not None and value not in values:
        raise _refused(f"The {name} of the event is none of {', '.join(sorted(values))}.")


def _decoded(text: str) -> Jws:
    try:
        return decode_compact(text)
    except Malformed as error:
        raise _refused(f"This is no SET: {error.message}") from None


def _check_audience(found: object, audience: str) -> None:
    listed: list[Any] = [found] if isinstance(found, str) else cast("list[Any]", found or [])
    if (
        not isinstance(listed, list)  # pyright: ignore[reportUnnecessaryIsInstance]  -- JSON
        or len(listed) > MAX_AUDIENCES
        or not all(isinstance(one, str) for one in listed)
        or audience not in listed
    ):
        raise _refused("The SET is for another audience.", err=SetError.INVALID_AUDIENCE)


def _event(claims: JSONObject) -> tuple[str, JSONObject]:
    events = as_object(claims.get("events"))
    if events is None or len(events) != 1:
        raise _refused("The SET does not have exactly one event.")
    ((kind, event),) = events.items()
    found = as_object(event)
    if found is None or not 1 <= len(kind) <= MAX_URI or not kind.isprintable():
        raise _refused("The event of the SET is no object under a URI.")
    check_event(kind, found)
    return kind, found


def _subject(claims: JSONObject) -> Subject:
    try:
        return decode_subject(claims.get("sub_id"))
    except Malformed as error:
        raise _refused(f"The sub_id of the SET cannot be read: {error.message}") from None


def _id(claims: JSONObject, name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ID or not value.isprintable():
        raise _refused(f"The SET has no usable {name}.")
    return value


def _issued_at(claims: JSONObject, *, now: float, max_age_s: int) -> int:
    value = claims.get("iat")
    # bool is an int in Python. RFC 7519 §2 allows fractions.
    if type(value) not in (int, float):
        raise _refused("The SET does not say when it was issued.")
    issued = cast("float", value)
    if issued > now + MAX_LEEWAY_S:
        raise _refused("The SET was issued in the future.", hint="Compare the clocks.")
    if issued < now - max_age_s - MAX_LEEWAY_S:
        raise _refused("The SET is too old.", hint="Send it anew, as a new SET.")
    return int(issued)


def _refused(
    message: str, *, err: SetError = SetError.INVALID_REQUEST, hint: str = ""
) -> SetRefused:
    return SetRefused(err, message, hint=hint)


__all__ = ["HEADER", "MAX_AUDIENCES", "check_event", "hint", "verify_set"]
