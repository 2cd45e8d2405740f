"""How JOSE writes bytes, digests and names of keys: examples of the RFCs, and any text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey, OKPKey, RSAKey

from midflight.domain import jose

RSA_OF_RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_"
    "BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3"
    "68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lF"
    "d2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
    "alg": "RS256",
    "kid": "2011-04-29",
}


def test_thumbprints_are_those_of_the_rfcs() -> None:
    assert jose.thumbprint(RSA_OF_RFC_7638) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    edwards = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
    }
    assert jose.thumbprint(edwards) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    "key",
    [
        ECKey.generate_key("P-256"),
        OKPKey.generate_key("Ed25519"),
        RSAKey.generate_key(2048, auto_kid=False),
    ],
)
def test_thumbprints_are_those_of_another_library(key: ECKey | OKPKey | RSAKey) -> None:
    private = key.as_dict(private=True)
    assert jose.thumbprint(private) == key.thumbprint()


def test_digests_are_those_of_the_rfcs() -> None:
    # RFC 7636, appendix B; RFC 9449 §7.1.
    verifier = b"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert jose.digest(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    token = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
    assert jose.token_hash(token) == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


@given(st.binary(max_size=100))
def test_bytes_come_back(raw: bytes) -> None:
    text = jose.base64url(raw)
    assert text == base64.urlsafe_b64encode(raw).decode().rstrip("=")
    assert jose.from_base64url(text) == raw


@given(st.one_of(st.text(max_size=40), st.text("Aa09-_+/=\n ", max_size=40)))
def test_any_text_is_its_bytes_in_one_way_or_an_error(text: str) -> None:
    try:
        raw = jose.from_base64url(text)
    except ValueError:
        return
    assert jose.base64url(raw) == text
