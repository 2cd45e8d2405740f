"""`wire.tokens`: reading, writing, thumbprints, challenges and metadata."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import jwt as pyjwt
import pytest
from httpx2 import Response
from identity_kit import (
    DOMAIN,
    ISSUER,
    JWKS_URI,
    NOW,
    RESOURCE,
    WORKLOAD,
    EdwardsKey,
    Key,
    b64,
    by_hand,
    claims_of,
    header_of,
    signer_of,
)
from joserfc import jwt as joserfc_jwt
from joserfc.jwk import ECKey, KeySet
from joserfc.jwt import JWTClaimsRegistry
from mcp.client.auth.utils import extract_resource_metadata_from_www_auth
from mcp.shared.auth import ProtectedResourceMetadata

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.testing import FakeClock
from midflight.wire import tokens
from midflight.wire.tokens.jwk import public_key
from midflight.wire.tokens.jws import base64url, decode_compact, signature_holds

KEY = Key()


def minted(**changes: Any) -> str:
    values: dict[str, Any] = {
        "issuer": ISSUER,
        "resource": RESOURCE,
        "workload": WORKLOAD,
        "token": "tok_1",
        "issued_at": NOW,
        "lifetime_s": 600,
        "run": "run_1",
        "thumbprint": None,
        **changes,
    }
    header, claims = tokens.access_claims(**values)
    return signer_of(KEY, FakeClock(NOW)).sign(header, claims)


def verified(text: str, **changes: Any) -> tokens.AccessToken:
    values: dict[str, Any] = {
        "jwks": signer_of(KEY, FakeClock(NOW)).public_jwks(),
        "issuer": ISSUER,
        "resource": RESOURCE,
        "trust_domain_name": DOMAIN,
        "now": NOW,
        **changes,
    }
    return tokens.verify_access_token(text, **values)


def test_what_is_minted_verifies_to_the_same_values() -> None:
    token = verified(minted(thumbprint=Key().jkt))
    assert token.workload == WORKLOAD
    assert token.run == "run_1"
    assert token.token == "tok_1"
    assert (token.issued_at, token.expires_at) == (NOW, NOW + 600)
    assert token.thumbprint is not None
    assert verified(minted(run=None)).run is None
    assert verified(minted()).thumbprint is None


def test_pyjwt_verifies_what_is_minted() -> None:
    claims = pyjwt.decode(
        minted(),
        KEY.private.public_key(),
        algorithms=["ES256"],
        audience=RESOURCE,
        issuer=ISSUER,
        options={
            "require": ["iss", "sub", "aud", "exp", "iat", "jti", "client_id"],
            "verify_exp": False,  # it reads the machine's clock
            "verify_iat": False,
        },
    )
    assert claims["sub"] == claims["client_id"] == WORKLOAD
    assert claims["txn"] == "run_1"
    assert pyjwt.get_unverified_header(minted()) == {
        "typ": "at+jwt",
        "alg": "ES256",
        "kid": KEY.jkt,
    }


def test_joserfc_verifies_what_is_minted_with_the_published_set() -> None:
    jwks = KeySet.import_key_set(signer_of(KEY, FakeClock(NOW)).public_jwks())
    token = joserfc_jwt.decode(minted(), jwks, algorithms=["ES256"])
    JWTClaimsRegistry(
        now=lambda: NOW,
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": RESOURCE},
        exp={"essential": True},
    ).validate(token.claims)
    assert token.header["typ"] == "at+jwt"


def test_a_token_that_passes_by_one_setting_fails_by_another() -> None:
    text = minted()
    for change in (
        {"issuer": "https://other.test"},
        {"resource": "https://other.test/mcp"},
        {"trust_domain_name": "other.test"},
        {"now": NOW + 631},
        {"now": NOW - 31},
        {"jwks": {"keys": []}},
        {"jwks": signer_of(Key(), FakeClock(NOW)).public_jwks()},
    ):
        with pytest.raises(Unauthenticated):
            verified(text, **change)


def test_a_key_of_the_set_that_is_not_for_es256_signatures_verifies_nothing() -> None:
    text = by_hand(header_of(KEY), claims_of(), KEY)
    good = {**KEY.public_jwk, "kid": KEY.jkt}
    verified(text, jwks={"keys": [good]})
    for change in ({"use": "enc"}, {"alg": "ES384"}, {"d": "AAAA"}, {"kty": "RSA"}):
        with pytest.raises(Unauthenticated):
            verified(text, jwks={"keys": [{**good, **change}]})


# Compact form


def test_compact_form_decodes_to_its_parts() -> None:
    jws = decode_compact(by_hand({"a": 1}, {"b": [2]}, KEY))
    assert jws.header == {"a": 1}
    assert jws.payload == {"b": [2]}
    assert len(jws.signature) == 64


def test_a_signature_holds_with_its_key_and_algorithm_alone() -> None:
    jws = decode_compact(by_hand(header_of(KEY), claims_of(), KEY))
    key = public_key(KEY.public_jwk, algorithm="ES256")
    assert signature_holds(jws, algorithm="ES256", key=key)
    edwards = public_key(EdwardsKey().public_jwk, algorithm="EdDSA")
    other = public_key(Key().public_jwk, algorithm="ES256")
    for algorithm, wrong in (
        ("EdDSA", key),
        ("none", key),
        ("HS256", key),
        ("ES256", edwards),
        ("EdDSA", edwards),
        ("ES256", other),
    ):
        assert not signature_holds(jws, algorithm=algorithm, key=wrong)


@pytest.mark.parametrize("raw", [b"", b"f", b"fo", b"foo", b"\xff\xfe\xfd\xfc"])
def test_canonical_base64url_decodes(raw: bytes) -> None:
    assert base64url(b64(raw)) == raw


@pytest.mark.parametrize("text", ["Zh", "Zg==", "Zm9", "Z", "Zg\n", "Zm+v", "Zm/v", "Z g", "é"])
def test_any_other_base64_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        base64url(text)


# Keys


def test_the_thumbprint_of_rfc_8037_comes_out() -> None:
    # RFC 8037, appendices A.2 and A.3
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
    assert tokens.thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("key", [Key(), EdwardsKey()])
def test_thumbprints_are_those_of_joserfc(key: Any) -> None:
    expected = key.joserfc().thumbprint()
    assert tokens.thumbprint(key.public_jwk) == expected
    assert tokens.thumbprint({**key.public_jwk, "kid": "x", "use": "sig"}) == expected
    assert tokens.is_thumbprint(expected)


@pytest.mark.parametrize("text", ["", "a", "A" * 42, "A" * 44, "A" * 42 + "B", "A" * 42 + "="])
def test_other_text_is_no_thumbprint(text: str) -> None:
    assert not tokens.is_thumbprint(text)


@pytest.mark.parametrize(
    "change",
    [
        {"d": "AAAA"},
        {"d": None},
        {"x": None},
        {"y": ""},
        {"y": "AAAA"},
        {"x": "A" * 43, "y": "A" * 43},
        {"crv": "P-521"},
        {"crv": "secp256k1"},
        {"kty": "OKP"},
        {"kty": None},
        {"kty": ["EC"]},
        {"use": "enc"},
        {"alg": "EdDSA"},
        {"x5c": []},
        {"oth": []},
    ],
    ids=str,
)
def test_what_is_not_a_plain_public_key_is_malformed(change: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        public_key({**KEY.public_jwk, **change}, algorithm="ES256")


def test_a_key_serves_the_algorithms_of_its_kind_alone() -> None:
    assert public_key(KEY.public_jwk, algorithm="ES256").thumbprint == KEY.jkt
    for algorithm in ("EdDSA", "Ed25519", "HS256", "none", ""):
        with pytest.raises(Malformed):
            public_key(KEY.public_jwk, algorithm=algorithm)
    edwards = EdwardsKey()
    for algorithm in ("EdDSA", "Ed25519"):
        public_key(edwards.public_jwk, algorithm=algorithm)
    with pytest.raises(Malformed):
        public_key(edwards.public_jwk, algorithm="ES256")


# Challenge and metadata

META = "https://plane.example.test/.well-known/oauth-protected-resource/mcp"


def test_the_challenge_names_both_schemes_and_the_metadata() -> None:
    header = tokens.challenge(error="invalid_token", description="It ended.", metadata=META)
    assert header == (
        f'Bearer resource_metadata="{META}", error="invalid_token", '
        'error_description="It ended.", DPoP algs="ES256 EdDSA Ed25519"'
    )


def test_without_credentials_the_challenge_says_no_more_than_where_to_look() -> None:
    header = tokens.challenge(error="", description="Nothing came.", metadata=META)
    assert header == f'Bearer resource_metadata="{META}", DPoP algs="ES256 EdDSA Ed25519"'


def test_a_refused_proof_is_answered_with_a_dpop_challenge() -> None:
    header = tokens.challenge(error="invalid_dpop_proof", description="Old.", metadata=META)
    assert header.startswith("DPoP ")
    assert 'error="invalid_dpop_proof"' in header
    assert 'algs="ES256 EdDSA Ed25519"' in header


def test_nothing_in_a_description_breaks_out_of_the_header() -> None:
    hostile = 'a"b\\c\r\nSet-Cookie: x\x00\u2028é'
    header = tokens.challenge(error="invalid_token", description=hostile, metadata=META)
    assert re.fullmatch(r"[\x20-\x7e]+", header)
    assert header.count('"') == 8


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        (RESOURCE, META),
        ("https://a.test", "https://a.test/.well-known/oauth-protected-resource"),
        ("https://a.test/", "https://a.test/.well-known/oauth-protected-resource"),
        (
            "http://127.0.0.1:8080/x/mcp",
            "http://127.0.0.1:8080/.well-known/oauth-protected-resource/x/mcp",
        ),
    ],
)
def test_the_well_known_path_goes_before_the_path(resource: str, expected: str) -> None:
    assert tokens.metadata_url(resource) == expected


def test_the_metadata_document_has_what_rfc_9728_and_mcp_ask_for() -> None:
    document = tokens.resource_metadata(
        resource=RESOURCE, issuer=ISSUER, jwks_uri=JWKS_URI, name="Midflight"
    )
    assert json.loads(json.dumps(document)) == {
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "jwks_uri": JWKS_URI,
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "Ed25519"],
        "dpop_bound_access_tokens_required": False,
        "resource_name": "Midflight",
    }


def test_the_official_mcp_client_reads_metadata_and_challenge() -> None:
    document = tokens.resource_metadata(
        resource=RESOURCE, issuer=ISSUER, jwks_uri=JWKS_URI, name="Midflight"
    )
    read = ProtectedResourceMetadata.model_validate(document)
    assert str(read.resource) == RESOURCE
    assert [str(server).rstrip("/") for server in read.authorization_servers] == [ISSUER]
    for error in ("", "invalid_token", "invalid_dpop_proof"):
        header = tokens.challenge(error=error, description="No.", metadata=META)
        response = Response(401, headers={"WWW-Authenticate": header})
        assert extract_resource_metadata_from_www_auth(response) == META


def test_a_jwk_of_the_wrong_length_cannot_be_padded_to_fit() -> None:
    short = base64.urlsafe_b64encode(b"\x01" * 31).rstrip(b"=").decode()
    with pytest.raises(Malformed):
        public_key({**KEY.public_jwk, "x": short}, algorithm="ES256")
    assert isinstance(ECKey.import_key(KEY.public_jwk), ECKey)
