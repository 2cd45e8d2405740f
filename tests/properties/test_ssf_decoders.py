"""Whatever comes as a SET, a subject, a poll or a request for a stream: read cleanly or refused."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed
from midflight.domain.security_event import SecurityEvent, SetRefused, claims_of
from midflight.domain.shared_stream import Stream
from midflight.domain.subject_identifiers import (
    Complex,
    Email,
    IssSub,
    JwtId,
    Opaque,
    OtherSubject,
    Subject,
    covers,
    described,
)
from midflight.wire.ssf import polls, streams
from midflight.wire.ssf.sets import check_event, hint, verify_set
from midflight.wire.ssf.subjects import decode_subject

TEXT = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S")), min_size=1)
SIMPLE: st.SearchStrategy[Any] = st.one_of(
    st.builds(Email, email=TEXT.map(lambda text: f"x{text}@y{text}")),
    st.builds(IssSub, iss=TEXT, sub=TEXT),
    st.builds(Opaque, id=TEXT),
    st.builds(JwtId, iss=TEXT, jti=TEXT),
)
SUBJECTS: st.SearchStrategy[Any] = SIMPLE | st.builds(
    Complex,
    members=st.dictionaries(
        st.sampled_from(["user", "session", "tenant", "device"]), SIMPLE, min_size=1
    ),
)
MEMBERS = [
    "format", "email", "iss", "sub", "id", "jti", "stream_id", "status", "reason", "delivery",
    "method", "endpoint_url", "events_requested", "subject", "verified", "state", "maxEvents",
    "ack", "setErrs", "err", "sets",
]  # fmt: skip
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(MEMBERS) | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(subject=SUBJECTS)
def test_a_subject_that_is_written_is_read_the_same(subject: Subject) -> None:
    assert decode_subject(described(subject)) == subject
    assert msgspec.json.decode(msgspec.json.encode(subject), type=Subject) == subject
    assert covers(subject, subject)


@given(value=JSON)
def test_any_value_is_a_subject_or_is_refused(value: Any) -> None:
    with contextlib.suppress(Malformed):
        found = decode_subject(value)
        if not isinstance(found, OtherSubject | Complex):
            assert decode_subject(described(found)) == found


@given(text=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_no_set(text: str) -> None:
    for read in (
        hint,
        lambda text: verify_set(
            text, issuer="https://i", audience="a", jwks={"keys": []}, now=0, max_age_s=1
        ),
    ):
        with pytest.raises(SetRefused):
            read(text)


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for read in (polls.decode_poll, polls.decode_polled, streams.body):
        with contextlib.suppress(Malformed):
            read(raw)
    assert len(polls.decode_refused(raw)) == 2


@given(value=JSON)
def test_any_message_is_read_or_refused(value: Any) -> None:
    raw = msgspec.json.encode(value)
    for read in (polls.decode_poll, polls.decode_polled):
        with contextlib.suppress(Malformed):
            read(raw)
    err, description = polls.decode_refused(raw)
    assert (err + description).isprintable()


@given(value=st.dictionaries(st.text(max_size=12), JSON, max_size=4) | JSON)
def test_any_request_is_a_wish_or_is_refused(value: Any) -> None:
    if not isinstance(value, dict):
        value = {"stream_id": "s", "delivery": value, "subject": value, "status": value}
    for read in (streams.wish, streams.status, streams.subject, streams.verification):
        with contextlib.suppress(Malformed):
            assert isinstance(read(value), msgspec.Struct)


@given(
    kind=st.sampled_from(["credential-change", "risk-level-change", "token-claims-change"]).map(
        "https://schemas.openid.net/secevent/caep/event-type/{}".format
    ),
    event=st.dictionaries(
        st.sampled_from(["change_type", "credential_type", "current_level", "principal", "claims"]),
        JSON | st.sampled_from(["revoke", "HIGH", "USER"]),
    ),
)
def test_any_event_says_what_it_must_or_is_refused(kind: str, event: dict[str, Any]) -> None:
    with contextlib.suppress(SetRefused):
        check_event(kind, event)


@given(subject=SUBJECTS, txn=st.just("") | TEXT)
def test_claims_of_a_set_are_what_the_profile_asks_for(subject: Subject, txn: str) -> None:
    event = SecurityEvent(
        issuer="https://i", jti="j", issued_at=5, kind="urn:k", subject=subject, event={}, txn=txn
    )
    claims = claims_of(event, audience="a")
    assert not {"sub", "exp"} & claims.keys()
    assert len(claims["events"]) == 1
    assert ("txn" in claims) == bool(txn)


@given(stream=st.builds(Stream, removed=st.lists(SUBJECTS, max_size=2).map(tuple)))
def test_a_stream_is_kept_whole(stream: Stream) -> None:
    assert msgspec.json.decode(msgspec.json.encode(stream), type=Stream) == stream
