"""Chains and tokens that somebody would show in order to be another workload."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from identity_kit import BUILDS, Key, by_hand, sealed
from svid_forge import BOTH, DOMAIN, NOW, TRIAGE, Forge, authority, small_rsa, usage

from midflight.domain.errors import Unauthenticated
from midflight.domain.spiffe import TrustBundle
from midflight.wire.spiffe import verify_jwt_svid, verify_x509_svid

ROOT = authority()
MIDDLE = authority(ROOT, path_length=0)
STRANGER = authority(subject="stranger")
BUNDLE = TrustBundle(trust_domain=DOMAIN, x509_authorities=(ROOT.der,))


def checked(*chain: Forge, bundle: TrustBundle = BUNDLE, now: float = NOW) -> str:
    return verify_x509_svid([one.der for one in chain], bundle=bundle, now=now)


def test_an_honest_chain_says_who_it_is() -> None:
    assert checked(Forge(MIDDLE), MIDDLE) == TRIAGE
    assert checked(Forge(MIDDLE), MIDDLE, ROOT) == TRIAGE
    assert checked(Forge(ROOT)) == TRIAGE


UNKNOWN = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")

LEAVES: dict[str, tuple[dict[str, Any], str]] = {
    "two ids": ({"names": (TRIAGE, "spiffe://example.test/admin")}, "exactly one URI"),
    "no id": ({"names": ()}, "exactly one URI"),
    "no path": ({"names": ("spiffe://example.test",)}, "no workload"),
    "not spiffe": ({"names": ("https://example.test/agents/triage",)}, "no workload"),
    "dots": ({"names": ("spiffe://example.test/a/../admin",)}, "no workload"),
    "upper case domain": ({"names": ("spiffe://EXAMPLE.test/a",)}, "no workload"),
    "other trust domain": ({"names": ("spiffe://partner.test/a",)}, "another trust domain"),
    "authority as leaf": ({"authority": True, "usage": usage()}, "is an authority"),
    "signs certificates": ({"usage": usage(certificates=True)}, "may sign certificates"),
    "signs lists": ({"usage": usage(lists=True)}, "may sign certificates"),
    "no key usage": ({"usage": None}, "key usage"),
    "usage not critical": ({"usage_critical": False}, "key usage"),
    "no signatures": ({"usage": usage(sign=False, lists=False)}, "key usage"),
    "for servers alone": ({"purposes": BOTH[:1]}, "extended key usage"),
    "for mail": ({"purposes": (ExtendedKeyUsageOID.EMAIL_PROTECTION,)}, "extended key usage"),
    "expired": ({"begins": NOW - 120, "ends": NOW - 1}, "expired"),
    "from the future": ({"begins": NOW + 60}, "not valid yet"),
    "critical unknown": ({"extra": ((UNKNOWN, True),)}, "not understood"),
    "weak key": ({"key": small_rsa()}, "weak or unknown"),
    "weak curve": ({"key": ec.generate_private_key(ec.SECP224R1())}, "weak or unknown"),
    "weak digest": ({"hash": hashes.SHA224()}, "weak algorithm"),
    "another signer": ({"signer": STRANGER.key}, "not signed by the next one"),
    "another issuer": ({"issuer_name": "somebody"}, "not signed by the next one"),
}


@pytest.mark.parametrize("case", LEAVES)
def test_a_forged_leaf_is_refused(case: str) -> None:
    parts, why = LEAVES[case]
    with pytest.raises(Unauthenticated, match=why):
        checked(Forge(MIDDLE, **parts), MIDDLE)


def test_a_leaf_that_issues_itself_is_refused() -> None:
    own = Forge(None, subject="root", names=(TRIAGE,))
    with pytest.raises(Unauthenticated, match="issued by itself"):
        checked(own)
    as_root = TrustBundle(trust_domain=DOMAIN, x509_authorities=(own.der,))
    with pytest.raises(Unauthenticated, match="issued by itself"):
        checked(own, bundle=as_root)


AUTHORITIES: dict[str, tuple[dict[str, Any], str]] = {
    "no authority": ({"authority": False, "usage": usage(certificates=True)}, "no authority"),
    "no constraints": ({"authority": ..., "usage": usage(certificates=True)}, "no authority"),
    "may not sign": ({"usage": usage()}, "may not sign"),
    "no key usage": ({"usage": None}, "without a key usage"),
    "of another domain": ({"names": ("spiffe://partner.test",)}, "another trust domain"),
    "is a workload": ({"names": (TRIAGE,)}, "another trust domain"),
    "expired": ({"begins": NOW - 120, "ends": NOW - 1}, "expired"),
    "critical unknown": ({"extra": ((UNKNOWN, True),)}, "not understood"),
    "name constraints": (
        {
            "extra": (
                (
                    x509.NameConstraints([x509.UniformResourceIdentifier("other.test")], None),
                    True,
                ),
            )
        },
        "not understood",
    ),
    "of a stranger": ({"signer": STRANGER.key}, "leads to no authority"),
}


@pytest.mark.parametrize("case", AUTHORITIES)
def test_a_leaf_of_a_false_authority_is_refused(case: str) -> None:
    parts, why = AUTHORITIES[case]
    middle = authority(ROOT, **parts)
    with pytest.raises(Unauthenticated, match=why):
        checked(Forge(middle), middle)


def test_a_workload_cannot_sign_for_another() -> None:
    mine = Forge(MIDDLE)
    theirs = Forge(mine, subject="victim", names=("spiffe://example.test/admin",))
    with pytest.raises(Unauthenticated, match="no authority"):
        checked(theirs, mine, MIDDLE)


def test_an_authority_makes_no_authorities_beyond_its_path_length() -> None:
    below = authority(MIDDLE, subject="below")
    with pytest.raises(Unauthenticated, match="more authorities"):
        checked(Forge(below), below, MIDDLE)


def test_an_expired_root_vouches_for_nobody() -> None:
    with pytest.raises(Unauthenticated, match="expired"):
        checked(Forge(MIDDLE, ends=NOW + 200_000), MIDDLE, now=NOW + 90_000)


def test_authorities_of_two_trust_domains_are_never_mixed() -> None:
    # The partner's authority signs our id: under the partner's bundle and under ours alike.
    partner = authority(subject="partner", names=("spiffe://partner.test",))
    forged = Forge(partner)
    theirs = TrustBundle(trust_domain="partner.test", x509_authorities=(partner.der,))
    for bundle in (BUNDLE, theirs):
        with pytest.raises(Unauthenticated):
            checked(forged, bundle=bundle)


def test_an_empty_bundle_verifies_nothing() -> None:
    with pytest.raises(Unauthenticated, match="no authority"):
        checked(Forge(MIDDLE), MIDDLE, bundle=TrustBundle(trust_domain=DOMAIN))


def test_chains_of_nothing_or_of_too_much_are_refused() -> None:
    for chain in ([], [MIDDLE.der] * 9, [b"\x30" * 20_000], [b"no certificate"]):
        with pytest.raises(Unauthenticated):
            verify_x509_svid(chain, bundle=BUNDLE, now=NOW)


# JWT-SVIDs

KEY, OTHER = Key(), Key()
KEYS = {
    DOMAIN: TrustBundle(trust_domain=DOMAIN, jwt_authorities=({**KEY.public_jwk, "kid": "k1"},)),
    "partner.test": TrustBundle(
        trust_domain="partner.test", jwt_authorities=({**OTHER.public_jwk, "kid": "k1"},)
    ),
}


def header(**changes: Any) -> dict[str, Any]:
    values = {"alg": "ES256", "kid": "k1", "typ": "JWT", **changes}
    return {name: value for name, value in values.items() if value is not ...}


def claims(**changes: Any) -> dict[str, Any]:
    values = {"sub": TRIAGE, "aud": "billing", "exp": NOW + 300, "iat": NOW, "jti": "j", **changes}
    return {name: value for name, value in values.items() if value is not ...}


def verified(token: str, **changes: Any) -> Any:
    values: dict[str, Any] = {"bundles": KEYS.get, "audience": "billing", "now": NOW, **changes}
    return verify_jwt_svid(token, **values)


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("typ", ["JWT", "JOSE", ...])
def test_an_honest_token_says_who_it_is(build: Any, typ: Any) -> None:
    if build is BUILDS["pyjwt"] and typ is ...:
        typ = "JWT"  # PyJWT always writes one
    found = verified(build(header(typ=typ), claims(), KEY))
    assert (found.spiffe_id, found.audience, found.expires_at) == (TRIAGE, ("billing",), NOW + 300)
    assert verified(build(header(), claims(aud=["x", "billing"]), KEY)).audience[0] == "x"


HEADERS: dict[str, dict[str, Any]] = {
    "none": {"alg": "none"},
    "hmac": {"alg": "HS256"},
    "other curve": {"alg": "ES384"},
    "rsa": {"alg": "RS256"},
    "no key id": {"kid": ...},
    "key id of nobody": {"kid": "k2"},
    "access token": {"typ": "at+jwt"},
    "dpop proof": {"typ": "dpop+jwt"},
    "own key": {"jwk": KEY.public_jwk},
    "key elsewhere": {"jku": "https://example.test/keys"},
    "chain": {"x5c": ["AAAA"]},
    "critical": {"crit": ["exp"]},
    "list of algorithms": {"alg": ["ES256"]},
}


@pytest.mark.parametrize("case", HEADERS)
def test_a_token_with_a_forged_header_is_refused(case: str) -> None:
    with pytest.raises(Unauthenticated):
        verified(by_hand(header(**HEADERS[case]), claims(), KEY))


CLAIMS: dict[str, dict[str, Any]] = {
    "no audience": {"aud": ...},
    "empty audience": {"aud": []},
    "another audience": {"aud": "payroll"},
    "part of the audience": {"aud": "billing2"},
    "audience of numbers": {"aud": [1]},
    "audience as object": {"aud": {"billing": 1}},
    "no expiry": {"exp": ...},
    "expiry as text": {"exp": str(NOW + 300)},
    "expiry as truth": {"exp": True},
    "expired": {"exp": NOW - 31},
    "not yet": {"nbf": NOW + 31},
    "issued later": {"iat": NOW + 31},
    "no subject": {"sub": ...},
    "subject of a partner": {"sub": "spiffe://partner.test/agents/triage"},
    "subject of nobody": {"sub": "spiffe://unknown.test/agents/triage"},
    "subject is a domain": {"sub": "spiffe://example.test"},
    "subject as list": {"sub": [TRIAGE]},
    "jti as number": {"jti": 7},
}


@pytest.mark.parametrize("case", CLAIMS)
def test_a_token_with_forged_claims_is_refused(case: str) -> None:
    with pytest.raises(Unauthenticated):
        verified(by_hand(header(), claims(**CLAIMS[case]), KEY))


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        verified(by_hand(header(), claims(), OTHER))


def test_an_endless_token_is_refused() -> None:
    text = json.dumps(claims()).replace(str(NOW + 300), "1e999")
    with pytest.raises(Unauthenticated):
        verified(sealed(json.dumps(header()).encode(), text.encode(), KEY.sign))


def test_a_claim_that_stands_twice_is_refused() -> None:
    text = json.dumps(claims())[:-1] + ', "sub": "spiffe://example.test/admin"}'
    with pytest.raises(Unauthenticated):
        verified(sealed(json.dumps(header()).encode(), text.encode(), KEY.sign))


def test_a_token_that_others_were_shown_too_is_refused_where_it_must_be_ours_alone() -> None:
    shared = by_hand(header(), claims(aud=["billing", "mallory"]), KEY)
    assert verified(shared).spiffe_id == TRIAGE
    with pytest.raises(Unauthenticated, match="for others, too"):
        verified(shared, alone=True)


def test_nothing_of_a_trust_domain_whose_bundle_is_empty_verifies() -> None:
    empty = {DOMAIN: TrustBundle(trust_domain=DOMAIN)}
    with pytest.raises(Unauthenticated):
        verified(by_hand(header(), claims(), KEY), bundles=empty.get)


def test_a_bundle_that_is_given_for_another_domain_is_not_believed() -> None:
    def mixed(_: str) -> TrustBundle:
        return KEYS["partner.test"]

    with pytest.raises(Unauthenticated):
        verified(by_hand(header(), claims(), OTHER), bundles=mixed)
