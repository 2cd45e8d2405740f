"""Fuzz of the token and proof readers: total, canonical, and closed to every changed character."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from identity_kit import (
    BUILDS,
    DOMAIN,
    ISSUER,
    NOW,
    RESOURCE,
    URL,
    WORKLOAD,
    Key,
    b64,
    by_hand,
    claims_of,
    header_of,
    proof_claims,
    proof_for,
    proof_header,
    sealed,
    signer_of,
)

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.testing import FakeClock
from midflight.wire import tokens
from midflight.wire.tokens.htu import normalised, same_target
from midflight.wire.tokens.jwk import public_key
from midflight.wire.tokens.jws import base64url, decode_compact

KEY = Key()
CLIENT = Key()
JWKS = signer_of(KEY, FakeClock(NOW)).public_jwks()
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=+/ \n\0é"

TOKENS = [build(header_of(KEY), claims_of(txn="run_1"), KEY) for build in BUILDS.values()]
BOUND = by_hand(header_of(KEY), claims_of(cnf={"jkt": CLIENT.jkt}), KEY)
PROOFS = [proof_for(BOUND, CLIENT, build=build) for build in BUILDS.values()]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def verify(text: str) -> tokens.AccessToken:
    return tokens.verify_access_token(
        text, jwks=JWKS, issuer=ISSUER, resource=RESOURCE, trust_domain_name=DOMAIN, now=NOW
    )


def prove(text: str) -> tokens.Proof:
    return tokens.verify_proof(
        text, method="POST", url=URL, token=BOUND, bound_to=CLIENT.jkt, now=NOW
    )


READERS = {"token": (verify, TOKENS), "proof": (prove, PROOFS)}


@pytest.mark.parametrize("kind", READERS)
@given(text=st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
@example(text="")
@example(text="..")
@example(text="e30.e30.")
def test_random_text_is_refused_and_nothing_else_happens(kind: str, text: str) -> None:
    read, _ = READERS[kind]
    with pytest.raises(Unauthenticated):
        read(text)


@pytest.mark.parametrize("kind", READERS)
@given(parts=st.tuples(st.binary(max_size=200), st.binary(max_size=200), st.binary(max_size=80)))
def test_random_bytes_in_compact_form_are_refused(kind: str, parts: tuple[bytes, ...]) -> None:
    read, _ = READERS[kind]
    with pytest.raises(Unauthenticated):
        read(".".join(b64(part) for part in parts))


@pytest.mark.parametrize("kind", READERS)
@given(header=json_values, payload=json_values, signed=st.booleans())
def test_random_json_is_refused_even_when_it_is_signed(
    kind: str, header: Any, payload: Any, signed: bool
) -> None:
    read, _ = READERS[kind]
    sign = KEY.sign if signed else lambda _: b"\0" * 64
    with pytest.raises(Unauthenticated):
        read(sealed(json.dumps(header).encode(), json.dumps(payload).encode(), sign))


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_a_changed_character_is_refused(kind: str, data: st.DataObject) -> None:
    read, good = READERS[kind]
    text = data.draw(st.sampled_from(good))
    position = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(ALPHABET).filter(lambda c: c != text[position]))
    with pytest.raises(Unauthenticated):
        read(text[:position] + other + text[position + 1 :])


@pytest.mark.parametrize("kind", READERS)
@given(data=st.data())
def test_a_missing_added_or_moved_piece_is_refused(kind: str, data: st.DataObject) -> None:
    read, good = READERS[kind]
    text = data.draw(st.sampled_from(good))
    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    changed = data.draw(
        st.sampled_from(
            [text[:start] + text[end:], text + text[start:end], text[:end] + text[start:], "A"]
        )
    )
    if changed != text:
        with pytest.raises(Unauthenticated):
            read(changed)


@pytest.mark.parametrize("kind", READERS)
def test_every_flipped_bit_of_every_part_is_refused(kind: str) -> None:
    """Of the decoded bytes: header, payload and signature, one bit at a time."""
    read, good = READERS[kind]
    parts = [base64url(part) for part in good[0].split(".")]
    read(good[0])
    for which, raw in enumerate(parts):
        # Every bit of the signature, one bit of each byte of the longer parts.
        step = 1 if which == 2 else 8
        for bit in range(0, len(raw) * 8, step):
            flipped = bytearray(raw)
            flipped[bit // 8] ^= 1 << (bit % 8)
            changed = [*parts[:which], bytes(flipped), *parts[which + 1 :]]
            with pytest.raises(Unauthenticated):
                read(".".join(b64(part) for part in changed))


@given(
    claim=st.sampled_from(sorted(claims_of(nbf=1, txn="", cnf={}))),
    value=json_values,
)
def test_whatever_a_signed_claim_holds_the_reader_answers(claim: str, value: Any) -> None:
    text = by_hand(header_of(KEY), claims_of(**{claim: value}), KEY)
    try:
        token = verify(text)
    except Unauthenticated:
        return
    # What passes is what would have been minted.
    assert token.workload == WORKLOAD
    assert 0 < token.expires_at - token.issued_at <= 900
    assert token.issued_at <= NOW + 30
    assert token.expires_at > NOW - 30


@given(claim=st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce"]), value=json_values)
def test_whatever_a_signed_proof_holds_the_reader_answers(claim: str, value: Any) -> None:
    text = proof_for(BOUND, CLIENT, **{claim: value})
    try:
        proof = prove(text)
    except Unauthenticated:
        return
    assert NOW + 60 <= proof.until <= NOW + 181


@given(member=st.sampled_from(["typ", "alg", "kid", "crit", "jwk", "b64"]), value=json_values)
def test_whatever_a_header_holds_the_reader_answers(member: str, value: Any) -> None:
    with pytest.raises(Unauthenticated):
        verify(by_hand({**header_of(KEY), member: value}, claims_of(), KEY))
    if member != "kid":
        with pytest.raises(Unauthenticated):
            prove(by_hand({**proof_header(CLIENT), member: value}, proof_claims(BOUND), CLIENT))


@given(
    jwk=st.dictionaries(
        st.sampled_from(["kty", "crv", "x", "y", "d", "use", "alg", "kid"]),
        st.sampled_from(["EC", "P-256", "OKP", "Ed25519", "A" * 43, "sig", "ES256"]) | json_values,
    ),
    algorithm=st.sampled_from(["ES256", "EdDSA", "Ed25519", "none"]),
)
def test_a_random_jwk_is_a_key_or_malformed(jwk: dict[str, Any], algorithm: str) -> None:
    try:
        key = public_key(jwk, algorithm=algorithm)
    except Malformed:
        return
    assert algorithm in key.algorithms
    assert key.thumbprint == tokens.thumbprint(jwk)


@given(st.binary(max_size=300))
def test_base64url_is_read_back_and_has_one_text(raw: bytes) -> None:
    text = b64(raw)
    assert base64url(text) == raw
    if text:
        for other in "AQgw_-":
            changed = text[:-1] + other
            try:
                assert (base64url(changed) == raw) == (changed == text)
            except Malformed:
                assert changed != text


@given(st.text(max_size=50))
def test_compact_form_decodes_or_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        decode_compact(text)


@given(st.text() | st.from_regex(r"https?://[^/]{0,20}/.{0,30}"))
def test_every_text_has_one_normal_form_or_none(text: str) -> None:
    try:
        once = normalised(text)
    except Malformed:
        assert not same_target(text, text)
        return
    assert normalised(once) == once
    assert same_target(text, once)
    assert "?" not in once
    assert "#" not in once
    assert "@" not in once.split("/")[2]
