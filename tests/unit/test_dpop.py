"""`wire.tokens.dpop` and `wire.tokens.htu`: the RFC's own example, and which URLs are the same."""

from __future__ import annotations

import pytest
from identity_kit import NOW, URL, EdwardsKey, Key, proof_for

from midflight.domain.errors import Malformed, Unauthenticated
from midflight.wire.tokens.dpop import verify_proof
from midflight.wire.tokens.htu import normalised, same_target

# RFC 9449 §7.1, figure 12 and the decoded proof in figure 13.
RFC_TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"
RFC_PROOF = (
    "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNo"
    "UklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERW"
    "clUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19"
    ".eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxl"
    "Lm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0Ji"
    "MHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9"
    ".2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA"
)
RFC_THUMBPRINT = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"
RFC_TIME = 1_562_262_618


def test_the_proof_of_the_rfc_verifies() -> None:
    proof = verify_proof(
        RFC_PROOF,
        method="GET",
        url="https://resource.example.org/protectedresource",
        token=RFC_TOKEN,
        bound_to=RFC_THUMBPRINT,
        now=RFC_TIME + 10,
    )
    assert proof.until == RFC_TIME + 120


@pytest.mark.parametrize("key", [Key(), EdwardsKey("EdDSA"), EdwardsKey("Ed25519")])
def test_a_proof_verifies_with_the_key_it_is_bound_to_and_no_other(key: Key) -> None:
    text = proof_for("token", key)
    request = {"method": "POST", "url": URL, "token": "token", "now": NOW}
    verify_proof(text, bound_to=key.jkt, **request)
    with pytest.raises(Unauthenticated):
        verify_proof(text, bound_to=Key().jkt, **request)


def test_claims_and_a_key_id_that_clients_add_are_left_to_them() -> None:
    key = Key()
    text = proof_for("t", key, header={"kid": "mine"}, nonce="n", exp=NOW + 5, note={"a": 1})
    verify_proof(text, method="POST", url=URL, token="t", bound_to=key.jkt, now=NOW)


def test_the_members_that_webcrypto_exports_are_taken() -> None:
    key = Key()
    key.public_jwk = {**key.public_jwk, "ext": True, "key_ops": ["verify"], "use": "sig"}
    verify_proof(proof_for("t", key), method="POST", url=URL, token="t", bound_to=key.jkt, now=NOW)


def test_replay_keys_differ_by_key_and_id() -> None:
    one, two = Key(), Key()
    request = {"method": "POST", "url": URL, "token": "t", "now": NOW}
    keys = {
        verify_proof(proof_for("t", key, jti=jti), bound_to=key.jkt, **request).replay_key
        for key in (one, two)
        for jti in ("a", "b")
    }
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("htu", "url"),
    [
        ("https://a.test/mcp", "https://a.test/mcp"),
        ("HTTPS://A.TEST/mcp", "https://a.test/mcp"),
        ("https://a.test:443/mcp", "https://a.test/mcp"),
        ("http://a.test:80/mcp", "http://a.test/mcp"),
        ("https://a.test", "https://a.test/"),
        ("https://a.test/mcp?x=1", "https://a.test/mcp"),
        ("https://a.test/mcp", "https://a.test/mcp?x=1"),
        ("https://a.test/mcp#f", "https://a.test/mcp"),
        ("https://a.test/%6dcp", "https://a.test/mcp"),
        ("https://a.test/%c3%a9", "https://a.test/%C3%A9"),
        ("https://a.test/a/../mcp", "https://a.test/mcp"),
        ("https://a.test/./mcp", "https://a.test/mcp"),
        ("https://a.test/mcp/..", "https://a.test/"),
        ("https://a.test/../mcp", "https://a.test/mcp"),
        ("http://[::1]:8080/mcp", "http://[::1]:8080/mcp"),
        ("http://[::1]:80/mcp", "http://[::1]/mcp"),
        ("http://127.0.0.1:8080/mcp", "http://127.0.0.1:8080/mcp"),
        ("https://a.test:/mcp", "https://a.test/mcp"),
    ],
)
def test_these_are_the_same_target(htu: str, url: str) -> None:
    assert same_target(htu, url)


@pytest.mark.parametrize(
    ("htu", "url"),
    [
        ("https://a.test/mcp", "http://a.test/mcp"),
        ("https://a.test:8443/mcp", "https://a.test/mcp"),
        ("https://a.test:80/mcp", "https://a.test/mcp"),
        ("https://a.test/mcp", "https://a.test/mcp/"),
        ("https://a.test/Mcp", "https://a.test/mcp"),
        ("https://a.test/a%2Fb", "https://a.test/a/b"),
        ("https://a.test/a%3Fb", "https://a.test/a?b"),
        ("https://a.test//mcp", "https://a.test/mcp"),
        ("https://a.test./mcp", "https://a.test/mcp"),
        ("https://a.test/mcp;x", "https://a.test/mcp"),
    ],
)
def test_these_are_different_targets(htu: str, url: str) -> None:
    assert not same_target(htu, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/mcp",
        "//a.test/mcp",
        "ftp://a.test/mcp",
        "javascript:alert(1)",
        "https://",
        "https:///mcp",
        "https://user@a.test/",
        "https://user:pw@a.test/",
        "https://a.test:x/",
        "https://a.test:65536/",
        "https://a.test/%",
        "https://a.test/%zz",
        "https://a.test/\\",
        "https://a.test/ ",
        "https://a.test/\n",
        "https://ä.test/",
        "https://[::1/",
        "https://a.test/" + "a" * 2048,
    ],
    ids=lambda url: repr(url)[:40],
)
def test_these_are_no_urls_of_requests_and_equal_nothing(url: str) -> None:
    with pytest.raises(Malformed):
        normalised(url)
    assert not same_target(url, url)


def test_normal_form_is_a_fixed_point() -> None:
    once = normalised("HTTP://A.test:80/%7euser/./x/../y%2fz?q#f")
    assert once == "http://a.test/~user/y%2Fz"
    assert normalised(once) == once
