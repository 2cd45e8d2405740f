"""Slack's interactions: their signature, and the button that was pressed.

`X-Slack-Signature: v0=<hex>` is HMAC-SHA256 over `v0:<X-Slack-Request-Timestamp>:<body>`; the body
is a form with one parameter `payload`, JSON. Source: Slack, "Verifying requests from Slack" and
"block_actions payload".
"""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Any, cast

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.value import Discreet
from midflight.wire import json
from midflight.wire.oauth.form import decode_form

TOLERANCE_S = 300
_SECONDS = re.compile(r"[0-9]{1,12}\Z")
_IDENTIFIER = re.compile(r"[A-Z0-9]{1,32}\Z")


class Pressed(Discreet):
    """A button that somebody pressed: whose workspace, who, and what the button carries."""

    shown = ("team", "user")

    team: str
    user: str
    value: str
    response_url: str = ""


def verify(secret: bytes, *, timestamp: str, signature: str, body: bytes, now: float) -> None:
    """Accept a request of Slack.

    Raises:
        Malformed: a header is not of its form.
        Unauthenticated: the signature does not hold, or the time is off.
    """
    if _SECONDS.match(timestamp) is None:
        raise Malformed("X-Slack-Request-Timestamp is not a time.")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise Unauthenticated("The request was signed too long ago, or in the future.")
    signed = b"v0:" + timestamp.encode() + b":" + body
    wanted = "v0=" + hmac.new(secret, signed, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), wanted.encode()):
        raise Unauthenticated("The signature of the request does not hold.")


def decode_pressed(body: bytes) -> Pressed:
    """The one button that an interaction tells of.

    Raises:
        Malformed: anything else; the message holds none of it.
    """
    form = decode_form(body)
    if set(form) != {"payload"}:
        raise Malformed("An interaction is a form with a payload and nothing else.")
    payload = json.as_object(json.decode(form["payload"].encode()))
    if payload is None or payload.get("type") != "block_actions":
        raise Malformed("Only buttons are taken here.")
    found: Any = payload.get("actions")
    actions = cast("list[object]", found) if isinstance(found, list) else []
    if len(actions) != 1:
        raise Malformed("One button is pressed at a time.")
    action = json.as_object(actions[0])
    if action is None or action.get("type") != "button":
        raise Malformed("Only buttons are taken here.")
    response_url = payload.get("response_url")
    return Pressed(
        # `team` is the workspace that the app is in; a guest's own can be another one.
        team=_identifier(payload, "team"),
        user=_identifier(payload, "user"),
        value=_text(action.get("value")),
        response_url=response_url if isinstance(response_url, str) else "",
    )


def _identifier(payload: dict[str, Any], name: str) -> str:
    found = json.as_object(payload.get(name))
    text = None if found is None else found.get("id")
    if not isinstance(text, str) or _IDENTIFIER.match(text) is None:
        raise Malformed(f"The interaction names no {name}.")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 2_000:
        raise Malformed("The button carries nothing.")
    return value


__all__ = ["TOLERANCE_S", "Pressed", "decode_pressed", "verify"]
