"""Whatever arrives here is decoded or refused cleanly, and scopes only narrow."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain import scopes
from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.traits import Effect
from midflight.wire.oauth.assertions import subject_of, verify_assertion
from midflight.wire.oauth.form import decode_form
from midflight.wire.oauth.pages import visible
from midflight.wire.oauth.redirects import allowed, problem
from midflight.wire.tokens.dpop import verify_key_proof

REGISTERED = ("http://127.0.0.1/callback", "https://app.example/cb?x=1", "com.example.app:/cb")
VALUES = st.sampled_from(
    ["mcp", "mcp:git", "mcp:git/log", "mcp:git/push", "mcp:mail", "mcp:mail/send"]
    + [f"effect:{effect.value}" for effect in Effect]
)
SCOPES = (
    st.sets(VALUES, min_size=1, max_size=5)
    .filter(lambda found: any(value.startswith("mcp") for value in found))
    .map(lambda found: scopes.scopes_of(" ".join(found)))
)


@given(st.binary(max_size=400))
def test_any_bytes_as_a_form(raw: bytes) -> None:
    try:
        found = decode_form(raw)
    except Malformed:
        return
    assert all(isinstance(value, str) and value for value in found.values())


@given(
    st.dictionaries(
        st.text("abc_", min_size=1, max_size=8),
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
        max_size=10,
    )
)
def test_an_encoded_form_is_read_as_others_read_it(form: dict[str, str]) -> None:
    text = urlencode(form)
    assert decode_form(text.encode()) == dict(parse_qsl(text)) == form


@given(st.text(max_size=300))
def test_any_text_as_a_proof(text: str) -> None:
    with pytest.raises(Unauthenticated):
        verify_key_proof(text, method="POST", url="https://a.example/t", now=0)
    with pytest.raises(Unauthenticated):
        verify_assertion(text, client="c", keys=[], audience="https://a.example", now=0)
    with pytest.raises(Unauthenticated):
        subject_of(text)


@given(
    st.text(max_size=100)
    | st.sampled_from(REGISTERED).flatmap(
        lambda uri: st.tuples(st.just(uri), st.text(max_size=6), st.integers(0, len(uri))).map(
            lambda made: made[0][: made[2]] + made[1] + made[0][made[2] :]
        )
    )
)
def test_a_redirect_uri_leads_where_a_registered_one_leads(uri: str) -> None:
    if not allowed(REGISTERED, uri):
        return
    assert problem(uri) is None
    parts = urlsplit(uri)
    if uri not in REGISTERED:
        assert (parts.scheme, parts.hostname, parts.path) == ("http", "127.0.0.1", "/callback")
        assert not parts.query
        assert "@" not in uri


@given(st.text(max_size=400))
def test_text_of_others_stays_text(text: str) -> None:
    shown = visible(text)
    assert not set("<>\"'") & set(shown)
    assert all(character.isprintable() for character in shown)


@given(SCOPES, SCOPES)
def test_what_both_have_is_more_than_neither_has(one: scopes.Scopes, other: scopes.Scopes) -> None:
    both = scopes.meet(one, other)
    assert both == scopes.meet(other, one)
    if both:
        assert scopes.beyond(one, both) == ()
        assert scopes.beyond(other, both) == ()
    assert scopes.meet(one, one) == one
    assert scopes.meet(None, one) == one


@given(SCOPES, SCOPES, SCOPES)
def test_narrowing_twice_is_narrowing(
    one: scopes.Scopes, two: scopes.Scopes, three: scopes.Scopes
) -> None:
    if scopes.beyond(one, two) == () and scopes.beyond(two, three) == ():
        assert scopes.beyond(one, three) == ()
