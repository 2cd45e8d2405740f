"""Every other kind of token bent as CI tokens are: each goes through the one door.

`test_pitfalls_of_tokens.py` has the whole table; this repeats what a kind's own profile could lose.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from identity_kit import NOW, Key, b64, by_hand, sealed

from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import Profile
from midflight.domain.spiffe import TrustBundle
from midflight.wire.oauth.assertions import verify_assertion
from midflight.wire.oauth.identity_assertions import verify_identity_assertion
from midflight.wire.spiffe import verify_jwt_svid
from midflight.wire.tokens import verify_transaction_token

KEY = Key()
HERE = "https://plane.example.test"
DOMAIN = "example.test"
WHO = "spiffe://example.test/agents/triage"
JWK = {**KEY.public_jwk, "kid": "k1"}


def assertion(text: str) -> None:
    verify_assertion(text, client="client", keys=[JWK], audience=HERE, now=NOW)


def svid(text: str) -> None:
    bundle = TrustBundle(trust_domain=DOMAIN, jwt_authorities=(JWK,))
    verify_jwt_svid(text, bundles={DOMAIN: bundle}.get, audience=HERE, now=NOW, alone=True)


def transaction(text: str) -> None:
    verify_transaction_token(
        text, jwks={"keys": [JWK]}, issuer=HERE, trust_domain_name=DOMAIN, now=NOW
    )


def identity(text: str) -> None:
    verify_identity_assertion(
        text,
        issuer="https://login.example.test",
        audience=HERE,
        algorithms=("ES256",),
        tenant=None,
        jwks={"keys": [JWK]},
        now=NOW,
    )


class Door(NamedTuple):
    """What opens it, and what an honest token of its kind is."""

    check: Callable[[str], None]
    said: dict[str, Any]
    kind: str = "JWT"


DOORS = {
    "client assertion": Door(assertion, {"iss": "client", "sub": "client"}),
    "JWT-SVID": Door(svid, {"sub": WHO}),
    "transaction token": Door(
        transaction,
        {
            "iss": HERE,
            "sub": WHO,
            "aud": DOMAIN,
            "txn": "run_1",
            "scope": "mcp",
            "req_wl": WHO,
            "act": {"sub": WHO},
        },
        "txntoken+jwt",
    ),
    "identity assertion": Door(
        identity,
        {"iss": "https://login.example.test", "sub": "somebody", "client_id": "client"},
        "oauth-id-jag+jwt",
    ),
}
EVERY_DOOR = pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)


def header(door: Door, **changes: Any) -> dict[str, Any]:
    return {"alg": "ES256", "kid": "k1", "typ": door.kind, **changes}


def claims(door: Door, **changes: Any) -> dict[str, Any]:
    values = {"aud": HERE, "iat": NOW, "exp": NOW + 300, "jti": "one", **door.said, **changes}
    return {name: value for name, value in values.items() if value is not ...}


@EVERY_DOOR
def test_an_honest_token_passes(door: Door) -> None:
    door.check(by_hand(header(door), claims(door), KEY))


KINDS = ("at+jwt", "dpop+jwt", "oauth-id-jag+jwt", "txntoken+jwt", "secevent+jwt", None)
HEADERS: tuple[dict[str, Any], ...] = (
    *({"alg": name} for name in ("none", "HS256", "ES384", "RS256", None, ["ES256"])),
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
def test_a_bent_header_is_refused(door: Door, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated):
        door.check(by_hand(header(door, **changes), claims(door), KEY))


@EVERY_DOOR
@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_another_kind_is_refused(door: Door, kind: str | None) -> None:
    if kind == door.kind:
        kind = f"application/{kind}"
    with pytest.raises(Unauthenticated):
        door.check(by_hand(header(door, typ=kind), claims(door), KEY))


@pytest.mark.parametrize("kind", ["transaction token", "identity assertion"])
@pytest.mark.parametrize("typ", ["JWT", "jwt", ..., "TXNTOKEN+JWT", "oauth-id-jag"])
def test_a_kind_with_a_type_of_its_own_has_no_other(kind: str, typ: Any) -> None:
    door = DOORS[kind]
    head = {name: value for name, value in header(door, typ=typ).items() if value is not ...}
    with pytest.raises(Unauthenticated):
        door.check(by_hand(head, claims(door), KEY))


@EVERY_DOOR
def test_the_public_key_as_a_secret_signs_nothing(door: Door) -> None:
    secrets = (json.dumps(JWK).encode(), KEY.public_jwk["x"].encode(), b"")
    head = json.dumps(header(door, alg="HS256")).encode()
    for secret in secrets:
        text = sealed(
            head,
            json.dumps(claims(door)).encode(),
            lambda message, secret=secret: hmac.digest(secret, message, "sha256"),
        )
        with pytest.raises(Unauthenticated):
            door.check(text)


CLAIMS: tuple[dict[str, Any], ...] = (
    {"aud": ...},
    {"aud": ["OURS", "https://other.example.test"]},
    {"aud": ["OURS", ""]},
    {"aud": ["OURS", "OURS"]},
    {"aud": "OURS/"},
    {"aud": "https://other.example.test"},
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
def test_a_bent_claim_is_refused(door: Door, changes: dict[str, Any]) -> None:
    ours = door.said.get("aud", HERE)
    text = json.dumps(claims(door, **changes)).replace("OURS", ours)
    with pytest.raises(Unauthenticated):
        door.check(sealed(json.dumps(header(door)).encode(), text.encode(), KEY.sign))


@EVERY_DOOR
@pytest.mark.parametrize("name", ["sub", "aud", "exp"])
def test_a_name_that_stands_twice_is_refused(door: Door, name: str) -> None:
    said = claims(door)
    text = json.dumps(said)[:-1] + f', "{name}": {json.dumps(said[name])}}}'
    with pytest.raises(Unauthenticated):
        door.check(sealed(json.dumps(header(door)).encode(), text.encode(), KEY.sign))


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
    bundle = TrustBundle(trust_domain=DOMAIN, jwt_authorities=(jwk,))
    door = DOORS["JWT-SVID"]
    head = json.dumps(header(door, alg="ES384")).encode()
    text = sealed(head, json.dumps(claims(door)).encode(), sign)
    found = verify_jwt_svid(text, bundles=lambda _: bundle, audience=HERE, now=NOW)
    assert found.spiffe_id == WHO
    with pytest.raises(Unauthenticated):
        verify_jwt_svid(text[:-8] + "AAAAAAAA", bundles=lambda _: bundle, audience=HERE, now=NOW)
    with pytest.raises(ValueError, match="algorithms are some of"):
        Profile(kind="CI token", issuer=HERE, audience=HERE, algorithms=("ES384",))
