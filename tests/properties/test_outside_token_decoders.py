"""Fuzz of what reads tokens and certificates of strangers: a claim or a clean refusal, always."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from identity_kit import NOW, sealed
from outside_kit import RsaKey, claims_of, header_of, jwks_of, profile_of

from midflight.adapters.documents.addresses import problem_of
from midflight.domain.errors import Unauthenticated
from midflight.domain.job_federation import IssuerKind, Rule, fits, job_of, kept, no_write
from midflight.wire.tokens import read_certificate, unverified, verify

KEY = RsaKey()
GOOD = sealed(json.dumps(header_of(KEY)).encode(), json.dumps(claims_of()).encode(), KEY.sign)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
NAMES = ("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "kubernetes.io", "event_name")


def outcome(text: str, jwks: Any = None) -> str:
    try:
        token = verify(
            text, profile=profile_of(KEY), jwks=jwks_of(KEY) if jwks is None else jwks, now=NOW
        )
    except Unauthenticated:
        return "refused"
    return token.subject


@given(st.text(max_size=300) | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_clean_refusal(text: str) -> None:
    assert outcome(text) == "refused"
    with contextlib.suppress(Unauthenticated):
        unverified(text)


@given(st.sampled_from(NAMES), json_values)
def test_any_claim_that_is_signed_is_read_or_refused(name: str, value: Any) -> None:
    claims = json.dumps(claims_of(**{name: value})).encode()
    outcome(sealed(json.dumps(header_of(KEY)).encode(), claims, KEY.sign))


@given(st.dictionaries(st.sampled_from(("typ", "alg", "kid", "crit", "jwk")), json_values))
def test_any_header_is_read_or_refused(changes: dict[str, Any]) -> None:
    header = json.dumps(header_of(KEY, **changes)).encode()
    found = outcome(sealed(header, json.dumps(claims_of()).encode(), KEY.sign))
    assert found == "refused" or json.loads(header) == header_of(KEY)


@given(
    st.dictionaries(st.sampled_from(("keys", "x")), json_values)
    | st.lists(
        st.dictionaries(st.sampled_from(("kty", "kid", "n", "e", "use", "alg", "d")), json_values)
    ).map(lambda keys: {"keys": keys})
)
def test_any_key_set_that_holds_no_key_verifies_nothing(jwks: dict[str, Any]) -> None:
    assert outcome(GOOD, jwks) == "refused"


@given(st.integers(0, len(GOOD) - 1), st.sampled_from("Aa0-_.=+/ \n\0é"))
def test_no_changed_character_passes(place: int, character: str) -> None:
    changed = GOOD[:place] + character + GOOD[place + 1 :]
    assert changed == GOOD or outcome(changed) == "refused"


@given(st.binary(max_size=600))
def test_any_bytes_are_no_certificate(raw: bytes) -> None:
    try:
        read_certificate(raw)
    except Unauthenticated:
        return
    raise AssertionError("random bytes are a certificate")


@given(st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=8), json_values))
def test_rules_are_total_over_claims(claims: dict[str, Any]) -> None:
    rule = Rule(workload="spiffe://example.test/a", claims={"made-up-claim": "x"}, write=True)
    for kind in IssuerKind:
        assert not fits(rule, kind=kind, claims=claims)
        job_of(kind, claims)
        no_write(rule, kind=kind, claims=claims)
        assert all(isinstance(value, str) for value in kept(kind, claims).values())


@given(st.text(max_size=50), st.booleans())
def test_any_text_is_an_address_or_none(text: str, private: bool) -> None:
    problem_of(text, allow_private=private)
