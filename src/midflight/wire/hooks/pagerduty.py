"""PagerDuty's webhooks (v3): their signature, and what happened to an incident.

`X-PagerDuty-Signature` holds one or more `v1=<hex>`, HMAC-SHA256 over the body, with commas between
them while a secret is being changed. Nothing signed says when it was sent: the event's own time
does. Source: PagerDuty, "Verifying Webhook Signatures" and "Webhook payloads".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime
from typing import Any

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.value import Value
from midflight.wire import json

TOLERANCE_S = 900
"""PagerDuty sends again for minutes what was not taken."""
MAX_SIGNATURES = 8
ACKNOWLEDGED = "incident.acknowledged"
RESOLVED = "incident.resolved"

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


class IncidentEvent(Value):
    """What happened. `key` is the `dedup_key` that the incident was made with, or empty.

    `agent` is the id of the person who did it; empty where an integration did.
    """

    id: str
    kind: str
    key: str = ""
    agent: str = ""


def verify(secret: bytes, *, signatures: str, body: bytes) -> None:
    """Accept a request of PagerDuty. `Unauthenticated` if no signature holds."""
    wanted = b"v1=" + hmac.new(secret, body, hashlib.sha256).hexdigest().encode()
    given = signatures.split(",", MAX_SIGNATURES)[:MAX_SIGNATURES]
    if not any(hmac.compare_digest(each.strip().encode(), wanted) for each in given):
        raise Unauthenticated("No signature of the webhook holds.")


def decode_event(body: bytes, *, now: float) -> IncidentEvent:
    """The event of a webhook.

    Raises:
        Malformed: it is none; the message holds none of it.
        Unauthenticated: it happened too long ago to be sent now, or in the future.
    """
    document = json.as_object(json.decode(body)) or {}
    event = json.as_object(document.get("event")) or {}
    kind, key = event.get("event_type"), ""
    if not isinstance(kind, str) or len(kind) > 64:
        raise Malformed("The webhook tells of no event.")
    if abs(now - _moment(event.get("occurred_at"))) > TOLERANCE_S:
        raise Unauthenticated("The event is too old, or in the future.")
    if kind in (ACKNOWLEDGED, RESOLVED):
        data = json.as_object(event.get("data")) or {}
        found = data.get("incident_key")
        # Incidents that others made have other keys, or none.
        key = found if isinstance(found, str) and _IDENTIFIER.match(found) else ""
    agent = json.as_object(event.get("agent")) or {}
    is_person = agent.get("type") == "user_reference"
    return IncidentEvent(
        id=_identifier(event.get("id")),
        kind=kind,
        key=key,
        agent=_identifier(agent.get("id")) if is_person else "",
    )


def _identifier(value: Any) -> str:
    if not isinstance(value, str) or _IDENTIFIER.match(value) is None:
        raise Malformed("The webhook lacks an identifier.")
    return value


def _moment(value: Any) -> float:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Malformed("The event does not say when it happened.")
    return at.timestamp()


__all__ = [
    "ACKNOWLEDGED",
    "RESOLVED",
    "TOLERANCE_S",
    "IncidentEvent",
    "decode_event",
    "verify",
]
