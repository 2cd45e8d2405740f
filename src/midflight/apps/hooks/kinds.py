"""How each kind of channel signs, and what it says: bytes in, who and what out.

Nothing of a body counts before its signature holds. Who somebody is comes from the operator's
settings, by the id that the sender gives him; a name in a body is never taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from midflight.apps.server.asgi import Headers, header_values
from midflight.apps.server.body import check_json
from midflight.apps.settings_escalation import HookSection
from midflight.apps.webhooks import keys_of, webhook_of
from midflight.domain.errors import Forbidden, Malformed, Unauthenticated
from midflight.domain.identity import Author
from midflight.domain.value import Discreet
from midflight.wire import json
from midflight.wire.hooks import pagerduty, slack
from midflight.wire.webhook import Key, verify


class Said(Discreet):
    """What a channel says.

    Attributes:
        once: what names this very message; the same again is dropped.
        author: who, as the settings know him; None for one that says nothing of interest.
        ticket: of the button that he pressed.
        thread: what he has, where no button of ours was pressed.
        answer_to: where Slack takes an answer that he alone sees.
    """

    shown = ("author",)

    once: str
    author: Author | None = None
    ticket: str = ""
    thread: str = ""
    answer_to: str = ""


def understood(name: str, hook: HookSection, headers: Headers, body: bytes, *, now: float) -> Said:
    """What a request to a hook says.

    Raises:
        Unauthenticated: it is not signed by the channel, or too long ago.
        Malformed, Unsupported: it is not of the channel's form.
        Forbidden: it comes from another workspace, or from somebody whom the settings do not know.
    """
    match hook.kind:
        case "slack":
            return _slack(hook, headers, body, now=now)
        case "webhook":
            return _webhook(name, hook, headers, body, now=now)
        case "pagerduty":
            return _pagerduty(name, hook, headers, body, now=now)


def webhook_keys(name: str, hook: HookSection, *, now: float) -> tuple[Key, ...]:
    """The keys of a hook of kind webhook, read now. `Misconfigured` names the setting."""
    return keys_of(
        f"hooks.{name}",
        hook.secret,
        previous=hook.previous_secret,
        until=hook.previous_until,
        now=now,
    )


def _slack(hook: HookSection, headers: Headers, body: bytes, *, now: float) -> Said:
    timestamp = _one(headers, b"x-slack-request-timestamp")
    signature = _one(headers, b"x-slack-signature")
    slack.verify(
        hook.secret.read().encode(), timestamp=timestamp, signature=signature, body=body, now=now
    )
    pressed = slack.decode_pressed(body)
    if pressed.team != hook.team:
        raise Forbidden("The button was pressed in another workspace.")
    person = _person(hook.people, pressed.user)
    return Said(
        once=hashlib.sha256(f"{timestamp} {signature}".encode()).hexdigest(),
        author=Author(name=person, proof=f"slack:{pressed.team}/{pressed.user}"),
        ticket=pressed.value,
        answer_to=pressed.response_url,
    )


def _webhook(name: str, hook: HookSection, headers: Headers, body: bytes, *, now: float) -> Said:
    sent = verify(webhook_of(headers), body, keys=webhook_keys(name, hook, now=now), now=now)
    check_json(headers)
    document = json.as_object(json.decode(body)) or {}
    data = json.as_object(document.get("data")) or {}
    if document.get("type") != "button.pressed":
        raise Malformed('Only {"type": "button.pressed"} is taken here.')
    sender, ticket = _text(data, "person"), _text(data, "ticket")
    person = _person(hook.people, sender)
    return Said(
        once=hashlib.sha256(sent.id.encode()).hexdigest(),
        author=Author(name=person, proof=f"webhook:{name}/{sender}"),
        ticket=ticket,
    )


def _pagerduty(name: str, hook: HookSection, headers: Headers, body: bytes, *, now: float) -> Said:
    signatures = _one(headers, b"x-pagerduty-signature")
    pagerduty.verify(hook.secret.read().encode(), signatures=signatures, body=body)
    check_json(headers)
    event = pagerduty.decode_event(body, now=now)
    # Resolving it there ends nothing here, but somebody has looked. What an integration does is
    # mostly what we have just told it ourselves.
    is_known = event.kind in (pagerduty.ACKNOWLEDGED, pagerduty.RESOLVED)
    if not is_known or not event.key or not event.agent:
        return Said(once=event.id)
    person = _person(hook.people, event.agent)
    author = Author(name=person, proof=f"pagerduty:{name}/{event.agent}")
    return Said(once=event.id, author=author, thread=event.key)


def _person(people: Mapping[str, str], sender: str) -> str:
    found = people.get(sender)
    if found is None:
        raise Forbidden(
            "Whoever did that is not among the people of this channel.",
            hint="An operator adds him to [hooks.<channel>] people, by his id there.",
        )
    return found


def _one(headers: Headers, name: bytes) -> str:
    found = header_values(headers, name)
    if len(found) != 1 or len(found[0]) > 2_048:
        raise Unauthenticated(f"The request has no {name.decode()} header, or several.")
    return found[0].decode("latin-1")


def _text(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 1_024:
        raise Malformed(f"data.{name} is not a text.")
    return value


__all__ = ["Said", "understood", "webhook_keys"]
