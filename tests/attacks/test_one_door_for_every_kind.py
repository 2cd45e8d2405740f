"""Client assertions and JWT-SVIDs bent as CI tokens are: each kind goes through the one door.

`test_pitfalls_of_tokens.py` has the whole table; this repeats what a kind's own profile could lose.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from identity_kit import NOW, Key, b64, by_hand, sealed

from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import Profile
from midflight.domain.spiffe import TrustBundle
from midflight.wire.oauth.assertions import verify_assertion
from midflight.wire.spiffe import verify_jwt_svid

KEY = Key()
HERE = "https://plane.example.test"
WHO = "spiffe://example.test/agents/triage"
JWK = {**KEY.public_jwk, "kid": "k1"}


def assertion(text: str) -> None:
    verify_assertion(text, client="client", keys=[JWK], audience=HERE, now=NOW)


def svid(text: str) -> None:
    bundle = TrustBundle(trust_domain="example.test", jwt_authorities=(JWK,))
    verify_jwt_svid(text, bundles={"example.test": bundle}.get, audience=HERE, now=NOW, alone=True)


DOORS: dict[str, tuple[Callable[[str], None], dict[str, Any]]] = {
    "client assertion": (assertion, {"iss": "client", "sub": "client"}),
    "JWT-SVID": (svid, {"sub": WHO}),
}
EVERY_DOOR = pytest.mark.parametrize(("door", "who"), DOORS.values(), ids=DOORS)


def header(**changes: Any) -> dict[str, Any]:
    return {"alg": "ES256", "kid": "k1", "typ": "JWT", **changes}


def claims(who: dict[str, Any], **changes: Any) -> dict[str, Any]:
    values = {**who, "aud": HERE, "iat": NOW, "exp": NOW + 300, "jti": "one", **changes}
    return {name: value for name, value in values.items() if value is not ...}


@EVERY_DOOR
def test_an_honest_token_passes(door: Callable[[str], None], who: dict[str, Any]) -> None:
    door(by_hand(header(), claims(who), KEY))


HEADERS: tuple[dict[str, Any], ...] = (
    *({"alg": name} for name in ("none", "HS256", "ES384", "RS256", None, ["ES256"])),
    *({"typ": n} for n in ("at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "txntoken+jwt", None)),
    {"jwk": KEY.public_jwk},
    {"jku": "https://evil.example.test/keys"},
    {"x5c": ["AAAA"]},
    {"x5u": "https://evil.example.test/chain"},
    {"crit": ["b64"], "b64": False},
    {"zip": "DEF"},
    {"kid": "../k1"},
    {"kid": None},
)


@EVERY_DOOR
@pytest.mark.parametrize("changes", HEADERS, ids=str)
def test_a_bent_header_is_refused(
    door: Callable[[str], None], who: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        door(by_hand(header(**changes), claims(who), KEY))


CLAIMS: tuple[dict[str, Any], ...] = (
    {"aud": ...},
    {"aud": [HERE, "https://other.example.test"]},
    {"aud": [HERE, ""]},
    {"aud": HERE + "/"},
    {"exp": ...},
    {"exp": str(NOW + 300)},
    {"exp": True},
    {"exp": NOW - 31},
    {"exp": NOW + 86_500},
    {"exp": NOW + 1e300},
    {"iat": NOW + 31},
    {"iat": "now"},
    {"nbf": NOW + 31},
    {"nbf": None},
    {"sub": ...},
    {"sub": [WHO]},
    {"jti": 7},
    {"jti": "a\nb"},
)


@EVERY_DOOR
@pytest.mark.parametrize("changes", CLAIMS, ids=str)
def test_a_bent_claim_is_refused(
    door: Callable[[str], None], who: dict[str, Any], changes: dict[str, Any]
) -> None:
    with pytest.raises(Unauthenticated):
        door(by_hand(header(), claims(who, **changes), KEY))


@EVERY_DOOR
@pytest.mark.parametrize("name", ["sub", "aud", "exp"])
def test_a_name_that_stands_twice_is_refused(
    door: Callable[[str], None], who: dict[str, Any], name: str
) -> None:
    said = claims(who)
    text = json.dumps(said)[:-1] + f', "{name}": {json.dumps(said[name])}}}'
    with pytest.raises(Unauthenticated):
        door(sealed(json.dumps(header()).encode(), text.encode(), KEY.sign))


def test_a_larger_curve_is_for_trust_domains_alone() -> None:
    private = ec.generate_private_key(ec.SECP384R1())
    numbers = private.public_key().public_numbers()

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, ec.ECDSA(hashes.SHA384())))
        return r.to_bytes(48, "big") + s.to_bytes(48, "big")

    jwk = {
        "kty": "EC",
        "crv": "P-384",
        "kid": "k1",
        "x": b64(numbers.x.to_bytes(48, "big")),
        "y": b64(numbers.y.to_bytes(48, "big")),
    }
    bundle = TrustBundle(trust_domain="example.test", jwt_authorities=(jwk,))
    head = json.dumps(header(alg="ES384")).encode()
    text = sealed(head, json.dumps(claims({"sub": WHO})).encode(), sign)
    found = verify_jwt_svid(text, bundles=lambda _: bundle, audience=HERE, now=NOW)
    assert found.spiffe_id == WHO
    with pytest.raises(Unauthenticated):
        verify_jwt_svid(text[:-8] + "AAAAAAAA", bundles=lambda _: bundle, audience=HERE, now=NOW)
    with pytest.raises(ValueError, match="algorithms are some of"):
        Profile(kind="CI token", issuer=HERE, audience=HERE, algorithms=("ES384",))
