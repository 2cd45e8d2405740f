"""Any bytes at all, and any header, end in a value or in an error of the tree."""

from __future__ import annotations

import contextlib
import json
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed, MidflightError, Unauthenticated
from midflight.domain.ticket import Ticket, Verb, open_ticket, sign_ticket
from midflight.wire.hooks import pagerduty, slack

JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
NEAR = st.fixed_dictionaries(
    {},
    optional={
        "type": st.just("block_actions") | JSONS,
        "team": st.fixed_dictionaries({"id": st.just("T1") | JSONS}) | JSONS,
        "user": st.fixed_dictionaries({"id": st.just("U1") | JSONS}) | JSONS,
        "actions": st.lists(
            st.fixed_dictionaries({"type": st.just("button") | JSONS, "value": JSONS}), max_size=2
        )
        | JSONS,
        "response_url": JSONS,
    },
)
EVENTS = st.fixed_dictionaries(
    {
        "event": st.fixed_dictionaries(
            {},
            optional={
                "id": st.just("E1") | JSONS,
                "event_type": st.just("incident.acknowledged") | JSONS,
                "occurred_at": st.just("2027-01-15T08:00:00Z") | JSONS,
                "agent": st.fixed_dictionaries({"id": JSONS, "type": st.just("user_reference")})
                | JSONS,
                "data": st.fixed_dictionaries({"incident_key": st.just("ntc_1") | JSONS}) | JSONS,
            },
        )
        | JSONS
    }
)
NOW = 1_800_000_000


@given(st.binary(max_size=400) | NEAR.map(lambda p: urlencode({"payload": json.dumps(p)}).encode()))
def test_an_interaction_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Malformed):
        pressed = slack.decode_pressed(body)
        assert pressed.team
        assert pressed.user
        assert pressed.value
        assert pressed.value not in repr(pressed) or len(pressed.value) < 12


@given(st.binary(max_size=400) | EVENTS.map(lambda event: json.dumps(event).encode()))
def test_an_event_is_read_or_refused(body: bytes) -> None:
    with contextlib.suppress(Malformed, Unauthenticated):
        assert pagerduty.decode_event(body, now=NOW).id


@given(st.text(max_size=60), st.text(max_size=200), st.binary(max_size=50))
def test_headers_are_taken_or_refused(timestamp: str, signature: str, body: bytes) -> None:
    for attempt in (
        lambda: slack.verify(b"s", timestamp=timestamp, signature=signature, body=body, now=NOW),
        lambda: pagerduty.verify(b"s", signatures=signature, body=body),
    ):
        with pytest.raises((Malformed, Unauthenticated)):
            attempt()


@given(st.text(max_size=300), st.binary(min_size=1, max_size=40))
def test_a_ticket_is_opened_or_refused(text: str, key: bytes) -> None:
    with pytest.raises(MidflightError):
        open_ticket(text, key, channel="chat", now=NOW)


@given(
    verb=st.sampled_from(list(Verb)),
    subject=st.from_regex(r"(?:apr|ntc)_[a-z2-7]{26}", fullmatch=True),
    digest=st.from_regex(r"[0-9a-f]{64}", fullmatch=True) | st.just(""),
    channel=st.from_regex(r"[a-z0-9][a-z0-9-]{0,31}", fullmatch=True),
    left=st.integers(1, 10**9),
    at=st.integers(0, 10_000),
    other=st.characters(codec="ascii"),
)
def test_a_ticket_says_what_was_signed_and_no_other_text_does(**given_: Any) -> None:
    ticket = Ticket(
        verb=given_["verb"],
        subject=given_["subject"],
        digest=given_["digest"],
        channel=given_["channel"],
        expires_at=NOW + given_["left"],
    )
    text = sign_ticket(ticket, b"key")
    assert open_ticket(text, b"key", channel=ticket.channel, now=NOW) == ticket
    at = given_["at"] % len(text)
    changed = text[:at] + given_["other"] + text[at + 1 :]
    if changed != text:
        with pytest.raises(MidflightError):
            open_ticket(changed, b"key", channel=ticket.channel, now=NOW)
