"""Requests of the stream management API (SSF 1.0 §8.1), and what a stream looks like in answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import msgspec

from midflight.domain.errors import Malformed
from midflight.domain.security_event import SENT
from midflight.domain.shared_stream import (
    MAX_DESCRIPTION,
    MAX_REASON,
    Method,
    Stream,
    StreamStatus,
    StreamWish,
)
from midflight.domain.subject_identifiers import Subject
from midflight.domain.value import JSONObject, Value
from midflight.wire import json
from midflight.wire.ssf.subjects import decode_subject

MAX_BODY: Final = 65_536
MAX_EVENTS: Final = 64
MAX_STATE: Final = 1_024
_MAX_DEPTH: Final = 8
_MAX_HEADER: Final = 8_192


class StatusWish(Value):
    """A new status for a stream."""

    stream_id: str
    status: StreamStatus
    reason: str = ""


class SubjectWish(Value):
    """A subject to be added to a stream, or removed from it."""

    stream_id: str
    subject: Subject


class VerificationWish(Value):
    """A verification event to be sent, with the receiver's own state, or None."""

    stream_id: str
    state: str | None = None


def body(raw: bytes) -> JSONObject:
    """The object in a request's body. `Malformed` if there is none."""
    value = json.as_object(json.decode(raw, max_depth=_MAX_DEPTH))
    if value is None:
        raise Malformed("The request is no JSON object.")
    return value


def wish(found: JSONObject) -> StreamWish:
    """What a receiver asks a stream to be. Other members are for `expected` to look at."""
    return StreamWish(
        requested=_requested(found["events_requested"])
        if "events_requested" in found
        else msgspec.UNSET,
        description=_text(found, "description", MAX_DESCRIPTION)
        if "description" in found
        else msgspec.UNSET,
        **_delivery(found["delivery"]) if "delivery" in found else {},
    )


def stream_id(found: JSONObject) -> str:
    """The `stream_id` of a request. `Malformed` without one."""
    return _text(found, "stream_id", 128)


def expected(found: JSONObject, shown: JSONObject) -> None:
    """Refuse a request that states something else of what only the transmitter says.

    SSF 1.0 §8.1.1.3: such members may be there, and must match.

    Raises:
        Malformed: it does not.
    """
    for name in ("iss", "aud", "events_supported", "events_delivered", "min_verification_interval"):
        if name in found and found[name] != shown.get(name):
            raise Malformed(
                f"{name} is the transmitter's to say, and is something else.",
                hint="Leave it out, or send it as it was read.",
            )


def status(found: JSONObject) -> StatusWish:
    """An Update Stream Status request."""
    try:
        wanted = StreamStatus(_text(found, "status", 16))
    except ValueError:
        raise Malformed("The status is none of enabled, paused, disabled.") from None
    reason = _text(found, "reason", MAX_REASON) if "reason" in found else ""
    return StatusWish(stream_id=stream_id(found), status=wanted, reason=reason)


def subject(found: JSONObject) -> SubjectWish:
    """An Add Subject or Remove Subject request."""
    if type(found.get("verified", True)) is not bool:
        raise Malformed("verified is neither true nor false.")
    return SubjectWish(stream_id=stream_id(found), subject=decode_subject(found.get("subject")))


def verification(found: JSONObject) -> VerificationWish:
    """A Verification request."""
    state = found.get("state")
    if state is not None and (not isinstance(state, str) or len(state) > MAX_STATE):
        raise Malformed(f"The state is no text of up to {MAX_STATE} characters.")
    return VerificationWish(stream_id=stream_id(found), state=state)


def shown(stream: Stream, *, issuer: str, poll_url: str, interval_s: int) -> JSONObject:
    """A stream's configuration (SSF 1.0 §8.1.1). The receiver's own secret is not repeated."""
    found: JSONObject = {
        "stream_id": stream.id,
        "iss": issuer,
        "aud": stream.aud,
        "events_supported": list(SENT),
        "events_requested": list(stream.requested),
        "events_delivered": list(stream.delivered),
        "delivery": {
            "method": stream.method.value,
            "endpoint_url": stream.endpoint_url or poll_url,
        },
        "min_verification_interval": interval_s,
    }
    if stream.description:
        found["description"] = stream.description
    return found


def shown_status(stream: Stream) -> JSONObject:
    """A stream's status (SSF 1.0 §8.1.2)."""
    found: JSONObject = {"stream_id": stream.id, "status": stream.status.value}
    if stream.reason:
        found["reason"] = stream.reason
    return found


def _requested(value: object) -> tuple[str, ...]:
    listed = cast("list[Any]", value) if isinstance(value, list) else None
    if listed is None or len(listed) > MAX_EVENTS:
        raise Malformed(f"events_requested is no list of up to {MAX_EVENTS} URIs.")
    kinds: Sequence[str] = [one for one in listed if isinstance(one, str) and len(one) <= 512]
    if len(kinds) != len(listed):
        raise Malformed("events_requested has something in it that is no URI.")
    return tuple(dict.fromkeys(kinds))


def _delivery(value: object) -> dict[str, Any]:
    found = json.as_object(value)
    if found is None:
        raise Malformed("delivery is no object.")
    try:
        method = Method(found.get("method"))
    except ValueError:
        raise Malformed(
            "The delivery method is not one that is supported here.",
            hint="urn:ietf:rfc:8935 (push) and urn:ietf:rfc:8936 (poll) are.",
        ) from None
    if method is Method.POLL:
        # The URL of a poll is the transmitter's to say; one that is sent is what was read.
        return {"method": method}
    url = _text(found, "endpoint_url", 2_048)
    secret = (
        _text(found, "authorization_header", _MAX_HEADER) if "authorization_header" in found else ""
    )
    if not secret.isascii():
        raise Malformed("The authorization_header cannot stand in a header.")
    return {"method": method, "endpoint_url": url, "authorization": secret}


def _text(found: JSONObject, name: str, limit: int) -> str:
    value = found.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= limit or not value.isprintable():
        raise Malformed(f"{name} is no text of 1 to {limit} visible characters.")
    return value


__all__ = [
    "MAX_BODY",
    "StatusWish",
    "SubjectWish",
    "VerificationWish",
    "body",
    "expected",
    "shown",
    "shown_status",
    "status",
    "stream_id",
    "subject",
    "verification",
    "wish",
]
