"""Every known way to bend a token, row by row of the table that the design keeps of them.

Each case takes a token that passes, made by joserfc, by PyJWT and by hand, changes one thing, and
goes through the one door for tokens of others, `wire.tokens.verify`. The id of each test begins
with its row. Midflight's own access tokens and DPoP proofs have doors of their own, and
`test_forged_tokens.py` bends those in the same ways through the gateway's `Identity`.

Rows that no token can carry are proved elsewhere; `ELSEWHERE` names the test of each, and
`test_the_battery_is_complete` looks that every one of them is there.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib.util
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from identity_kit import NOW, EdwardsKey, Key, b64, by_hand, sealed
from outside_kit import (
    AUDIENCE,
    BUILDS,
    CI,
    LIBRARIES,
    AnyKey,
    RsaKey,
    claims_of,
    header_of,
    jwks_of,
    profile_of,
)

from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import OutsideToken
from midflight.wire.tokens import unverified, verify

RSA = RsaKey()
KEYS: dict[str, AnyKey] = {
    "RS256": RSA,
    "PS256": RSA.with_scheme("PS256"),
    "ES256": Key(),
    "EdDSA": EdwardsKey(),
}
EVERY_KEY = pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
EVERY_BUILD = pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
BOTH_LIBRARIES = pytest.mark.parametrize("build", LIBRARIES.values(), ids=LIBRARIES)
TESTS = Path(__file__).parent.parent

ROWS = (
    "alg confusion",
    "embedded keys",
    "unknown crit",
    "giant header",
    "claims not checked",
    "exp as string",
    "duplicate JSON keys",
    "token-type confusion",
    "multi-audience",
    "confused deputy",
    "replay",
    "clock skew",
    "DNS rebinding",
    "SSRF in metadata fetch",
    "AS mix-up",
    "PID reuse",
    "workload endpoint SSRF",
    "CI subject recycling",
    "lease leak",
)

OPERATORS = "unit/test_operators.py"
WORKLOAD_API = "conformance/test_spiffe_client.py"

ELSEWHERE: dict[str, tuple[str, ...]] = {
    "confused deputy": (
        "attacks/test_passing_a_token_on.py::test_the_token_of_a_caller_reaches_no_upstream",
    ),
    "replay": (
        "attacks/test_dpop_replay.py",
        "attacks/test_borrowed_pipelines.py::test_a_token_is_exchanged_once",
    ),
    "DNS rebinding": (
        "attacks/test_dns_rebinding.py",
        "attacks/test_documents_that_bite.py::test_a_name_that_changes_its_mind_is_not_followed",
    ),
    "SSRF in metadata fetch": ("attacks/test_documents_that_bite.py",),
    "AS mix-up": ("unit/test_key_sets.py::test_a_discovery_document_of_another_issuer_is_refused",),
    "CI subject recycling": ("attacks/test_borrowed_pipelines.py",),
    "PID reuse": (
        f"{OPERATORS}::test_a_process_number_that_was_reused_since_it_connected_is_refused",
    ),
    "workload endpoint SSRF": (
        "conformance/test_spiffe_client.py::test_no_call_is_answered_without_the_security_header",
    ),
}
"""Where the rows are that a token alone cannot carry: files, or tests in them."""

LEASES = ("functional/test_broker_crash.py::test_a_broker_that_is_killed_leaves_nothing_unreaped",)
"""Of the row about leases, which holds for planes that have a broker of them."""


def row(name: str, *cases: Any) -> list[Any]:
    """Parameters whose ids begin with their row."""
    assert name in ROWS
    return [pytest.param(*case[1:], id=f"{name}: {case[0]}") for case in cases]


def good(key: AnyKey, build: Any = by_hand, **claims: Any) -> str:
    return build(header_of(key), claims_of(**claims), key)


def check(text: str, *keys: AnyKey, jwks: Any = None, **profile: Any) -> OutsideToken:
    return verify(
        text,
        profile=profile_of(*keys, **profile),
        jwks=jwks_of(*keys) if jwks is None else jwks,
        now=NOW,
    )


def refused(text: str, *keys: AnyKey, jwks: Any = None, **profile: Any) -> str:
    with pytest.raises(Unauthenticated) as caught:
        check(text, *keys, jwks=jwks, **profile)
    assert caught.value.challenge == "invalid_token"
    told = str(caught.value)
    # Nothing of a token is ever repeated, so that no log and no answer carries it on.
    assert not any(part in told for part in text.split(".") if len(part) > 8)
    assert "repo:acme" not in told
    return told


def unsigned(text: str, *keys: AnyKey, jwks: Any = None, **profile: Any) -> None:
    """Refused before anything that it says was believed."""
    assert refused(text, *keys, jwks=jwks, **profile) == "The CI token does not verify."


# What passes


@EVERY_KEY
@EVERY_BUILD
def test_the_good_token_passes(key: AnyKey, build: Any) -> None:
    token = check(good(key, build), key)
    assert token.subject == "repo:acme@1/app@2:ref:refs/heads/main"
    assert (token.issuer, token.audience, token.jti) == (CI, (AUDIENCE,), "ci-token-1")
    assert (token.issued_at, token.expires_at) == (NOW - 5, NOW + 300)
    assert token.claims["nbf"] == NOW - 5


def test_what_publishers_add_to_their_sets_hinders_nothing() -> None:
    others = {"kty": "RSA", "kid": "old", "n": "AQAB", "e": "AQAB"}
    mine = jwks_of(RSA, x5c=["MIIB"], x5t="abc", x5u="https://evil.example.test/", made_up=1)
    jwks = {"keys": [others, "not a key", None, *mine["keys"]], "more": True}
    assert check(good(RSA), RSA, jwks=jwks).jti == "ci-token-1"


def test_a_header_member_that_selects_nothing_passes_where_the_issuer_is_known_to_send_it() -> None:
    text = by_hand(header_of(RSA, x5t="eC1mN2ZzLWhhc2g"), claims_of(), RSA)
    unsigned(text, RSA)
    assert check(text, RSA, extra_headers=frozenset({"x5t"})).jti == "ci-token-1"


# alg confusion


@pytest.mark.parametrize(
    "name",
    row(
        "alg confusion",
        *(
            (repr(n), n)
            for n in ("none", "None", "nOnE", "", None, 0, True, [], {}, ["RS256"], ...)
        ),
    ),
)
def test_an_unsigned_token_is_refused(name: Any) -> None:
    header, claims = header_of(RSA, alg=name), claims_of()
    unsigned(sealed(json.dumps(header).encode(), json.dumps(claims).encode(), lambda _: b""), RSA)
    unsigned(by_hand(header, claims, RSA), RSA)


def _public_forms() -> dict[str, bytes]:
    public = RSA.private.public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    return {
        "pem": public.public_bytes(serialization.Encoding.PEM, spki),
        "der": public.public_bytes(serialization.Encoding.DER, spki),
        "jwk": json.dumps(RSA.public_jwk).encode(),
        "modulus": RSA.public_jwk["n"].encode(),
        "empty": b"",
    }


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
@pytest.mark.parametrize("secret", row("alg confusion", *_public_forms().items()))
def test_a_public_key_is_no_shared_secret(secret: bytes, algorithm: str) -> None:
    text = sealed(
        json.dumps(header_of(RSA, alg=algorithm)).encode(),
        json.dumps(claims_of()).encode(),
        lambda message: hmac.new(secret, message, hashlib.sha256).digest(),
    )
    unsigned(text, RSA)


@pytest.mark.parametrize(
    "algorithm",
    row(
        "alg confusion",
        *((n, n) for n in ("HS256", "HS512", "RS384", "RS512", "ES384", "ES256K", "rs256", "RS1")),
    ),
)
def test_an_algorithm_that_is_not_allowed_at_all_is_in_no_profile(algorithm: str) -> None:
    with pytest.raises(ValueError, match="algorithms"):
        profile_of(algorithms=(algorithm,))
    unsigned(by_hand(header_of(RSA, alg=algorithm), claims_of(), RSA), RSA)


@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "key",
    row(
        "alg confusion",
        *[(f"{n} where RS256 is asked", k) for n, k in KEYS.items() if n != "RS256"],
    ),
)
def test_the_list_of_algorithms_is_the_issuers(build: Any, key: AnyKey) -> None:
    unsigned(good(key, build), key, algorithms=("RS256",), jwks=jwks_of(*KEYS.values()))


@pytest.mark.parametrize(
    ("claimed", "signed"),
    row(
        "alg confusion",
        ("a PSS signature called PKCS1", "RS256", KEYS["PS256"]),
        ("a PKCS1 signature called PSS", "PS256", RSA),
    ),
)
def test_one_scheme_is_not_another(claimed: str, signed: RsaKey) -> None:
    text = by_hand(header_of(signed, alg=claimed), claims_of(), signed)
    jwks = jwks_of(RSA, alg=...)
    unsigned(text, RSA, jwks=jwks, algorithms=("RS256", "PS256"))


# embedded keys, kid tricks


@pytest.mark.parametrize("keep_kid", [True, False])
@pytest.mark.parametrize(
    "extra",
    row(
        "embedded keys",
        ("jwk", lambda key: {"jwk": key.public_jwk}),
        ("jku", lambda _: {"jku": "https://evil.example.test/jwks.json"}),
        ("x5u", lambda _: {"x5u": "https://evil.example.test/chain.pem"}),
        ("x5c", lambda _: {"x5c": ["MIIB"]}),
        ("x5t", lambda _: {"x5t": "AAAA"}),
        ("jwk null", lambda _: {"jwk": None}),
    ),
)
def test_a_key_in_the_token_counts_for_nothing(
    extra: Callable[[AnyKey], dict[str, Any]], keep_kid: bool
) -> None:
    theirs = Key()
    header = header_of(theirs, **extra(theirs), kid=KEYS["ES256"].jkt if keep_kid else ...)
    unsigned(by_hand(header, claims_of(), theirs), KEYS["ES256"])
    mine = header_of(KEYS["ES256"], **extra(KEYS["ES256"]))
    unsigned(by_hand(mine, claims_of(), KEYS["ES256"]), KEYS["ES256"])


def test_embedded_keys_cannot_be_let_in_by_a_profile() -> None:
    for name in ("jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "alg"):
        with pytest.raises(ValueError, match="extra_headers"):
            profile_of(extra_headers=frozenset({name}))


@pytest.mark.parametrize(
    "kid",
    row(
        "embedded keys",
        ("kid missing", ...),
        ("kid null", None),
        ("kid empty", ""),
        ("kid a path", "../../../../dev/null"),
        ("kid a file", "/proc/self/environ"),
        ("kid a URL", "https://evil.example.test/key"),
        ("kid a query", "x' UNION SELECT 'secret"),
        ("kid a command", "|/bin/id"),
        ("kid a number", 0),
        ("kid a list", ["a"]),
        ("kid an object", {"a": 1}),
        ("kid with a NUL", "rsa\x00"),
        ("kid unknown", "another"),
        ("kid long", "k" * 300),
    ),
)
def test_a_kid_that_names_no_key_of_the_issuer_finds_none(kid: Any) -> None:
    unsigned(by_hand(header_of(RSA, kid=kid), claims_of(), RSA), RSA)
    # Even where the set holds a key of that very name, what is no name finds nothing.
    if not (
        isinstance(kid, str) and kid.isprintable() and kid and len(kid) < 257 and " " not in kid
    ):
        jwks = jwks_of(RSA, kid=... if kid is ... else kid)
        unsigned(by_hand(header_of(RSA, kid=kid), claims_of(), RSA), RSA, jwks=jwks)


def test_a_set_of_one_needs_no_kid_where_the_profile_says_so() -> None:
    text = by_hand(header_of(RSA, kid=...), claims_of(), RSA)
    assert check(text, RSA, kid_required=False).jti == "ci-token-1"
    unsigned(text, RSA, kid_required=False, jwks=jwks_of(RSA, RsaKey()))
    unsigned(by_hand(header_of(RSA, kid=None), claims_of(), RSA), RSA, kid_required=False)


def test_two_keys_of_one_name_verify_nothing() -> None:
    evil = RsaKey()
    jwks = jwks_of(RSA, evil, kid="same")
    for key in (RSA, evil):
        unsigned(by_hand(header_of(key, kid="same"), claims_of(), key), RSA, jwks=jwks)


@pytest.mark.parametrize(
    "jwks",
    row(
        "embedded keys",
        ("no keys", {}),
        ("keys null", {"keys": None}),
        ("keys empty", {"keys": []}),
        ("keys an object", {"keys": {"kid": RSA.jkt}}),
        ("keys of text", {"keys": [RSA.jkt]}),
        ("too many", {"keys": jwks_of(RSA)["keys"] * 65}),
        ("use enc", jwks_of(RSA, use="enc")),
        ("use null", jwks_of(RSA, use=None)),
        ("another alg", jwks_of(RSA, alg="PS256")),
        ("key_ops sign", jwks_of(RSA, key_ops=["sign"])),
        ("key_ops text", jwks_of(RSA, key_ops="verify")),
        ("another kty", jwks_of(RSA, kty="EC")),
        ("oct", jwks_of(RSA, kty="oct", k="c2VjcmV0")),
        ("private", jwks_of(RSA, d="AQAB")),
        ("exponent 1", jwks_of(RSA, e="AQ")),
        ("exponent 3", jwks_of(RSA, e="Aw")),
        ("exponent even", jwks_of(RSA, e="AQAA")),
        ("exponent huge", jwks_of(RSA, e="AQABAQABAQAB")),
        ("no modulus", jwks_of(RSA, n=...)),
        ("modulus a number", jwks_of(RSA, n=5)),
        ("modulus padded", jwks_of(RSA, n=RSA.public_jwk["n"] + "==")),
    ),
)
def test_a_key_that_does_not_fit_verifies_nothing(jwks: Any) -> None:
    unsigned(good(RSA), RSA, jwks=jwks)


@pytest.mark.parametrize("bits", [1024, 1536, 2047])
def test_a_short_rsa_key_verifies_nothing(bits: int) -> None:
    short = RsaKey(bits)
    unsigned(good(short), short)


@pytest.mark.parametrize(
    "changes",
    row(
        "embedded keys",
        ("P-384 by name", {"crv": "P-384"}),
        ("secp256k1", {"crv": "secp256k1"}),
        ("off the curve", {"y": b64(b"\x01" * 32)}),
        ("infinity", {"x": b64(b"\x00" * 32), "y": b64(b"\x00" * 32)}),
        ("kty OKP", {"kty": "OKP"}),
        ("Ed448", {"kty": "OKP", "crv": "Ed448"}),
    ),
)
def test_a_curve_that_is_not_meant_verifies_nothing(changes: dict[str, Any]) -> None:
    key = KEYS["ES256"]
    unsigned(good(key), key, jwks=jwks_of(key, **changes))


def test_a_use_of_its_own_must_be_on_the_key() -> None:
    """A bundle's keys say what they are for (SPIFFE Trust bundle §4.2.2)."""
    text = good(RSA)
    for use in ("sig", "x509-svid", ...):
        unsigned(text, RSA, jwks=jwks_of(RSA, use=use), use="jwt-svid")
    assert check(text, RSA, jwks=jwks_of(RSA, use="jwt-svid"), use="jwt-svid").jti
    unsigned(text, RSA, jwks=jwks_of(RSA, use="jwt-svid"))


@pytest.mark.parametrize("signature", row("alg confusion", ("zeros", b"\0" * 64), ("empty", b"")))
def test_a_signature_of_nothing_is_none(signature: bytes) -> None:
    """CVE-2022-21449: r = s = 0 held for every message."""
    key = KEYS["ES256"]
    header, claims = header_of(key), claims_of()
    made = sealed(json.dumps(header).encode(), json.dumps(claims).encode(), lambda _: signature)
    unsigned(made, key)


@EVERY_KEY
@BOTH_LIBRARIES
def test_a_key_of_the_attacker_is_refused(key: AnyKey, build: Any) -> None:
    theirs: AnyKey
    match key:
        case RsaKey():
            theirs = RsaKey(algorithm=key.algorithm)
        case Key():
            theirs = Key()
        case _:
            theirs = EdwardsKey()
    unsigned(build(header_of(theirs, kid=key.jkt), claims_of(), theirs), key)


# unknown crit, b64, giant header


@EVERY_KEY
@pytest.mark.parametrize(
    "extra",
    row(
        "unknown crit",
        ("unknown", {"crit": ["exp-new"], "exp-new": 1}),
        ("b64", {"crit": ["b64"], "b64": False}),
        ("b64 alone", {"b64": False}),
        ("empty", {"crit": []}),
        ("text", {"crit": "exp"}),
        ("zip", {"zip": "DEF"}),
        ("cty", {"cty": "JWT"}),
        ("made up", {"cnf": {}}),
    ),
)
def test_a_header_that_asks_for_more_is_refused(key: AnyKey, extra: dict[str, Any]) -> None:
    unsigned(by_hand(header_of(key, **extra), claims_of(), key), key)


@pytest.mark.parametrize("size", row("giant header", ("8 KiB", 8_192), ("2 MB", 2_000_000)))
def test_a_giant_is_refused_unread(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(
        "midflight.wire.tokens.jws.json.decode", lambda raw, **_: read.append(len(raw))
    )
    unsigned(by_hand(header_of(RSA, pad="x" * size), claims_of(), RSA), RSA)
    unsigned(by_hand(header_of(RSA), claims_of(pad="x" * size), RSA), RSA)
    assert read == []


def test_deep_claims_are_refused() -> None:
    deep: Any = 1
    for _ in range(8):
        deep = {"a": deep}
    unsigned(good(RSA, deep=deep), RSA)


# claims not checked


@EVERY_KEY
@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "claim",
    row(
        "claims not checked", *((f"no {n}", n) for n in ("iss", "aud", "exp", "sub", "iat", "jti"))
    ),
)
def test_a_token_that_leaves_a_claim_out_is_refused(key: AnyKey, build: Any, claim: str) -> None:
    refused(good(key, build, **{claim: ...}), key)


@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "changes",
    row(
        "claims not checked",
        ("another issuer", {"iss": "https://evil.example.test"}),
        ("issuer with a slash", {"iss": CI + "/"}),
        ("issuer in another case", {"iss": CI.upper()}),
        ("issuer listed", {"iss": [CI]}),
        ("issuer null", {"iss": None}),
        ("another audience", {"aud": "https://other.example.test"}),
        ("audience with a slash", {"aud": AUDIENCE + "/"}),
        ("audience empty", {"aud": ""}),
        ("audience null", {"aud": None}),
        ("audience an empty list", {"aud": []}),
        ("audience a number", {"aud": 1}),
        ("audience an object", {"aud": {AUDIENCE: 1}}),
        ("audience a list of lists", {"aud": [[AUDIENCE]]}),
        ("subject empty", {"sub": ""}),
        ("subject null", {"sub": None}),
        ("subject a list", {"sub": ["a"]}),
        ("subject with a NUL", {"sub": "a\x00b"}),
        ("subject with a line", {"sub": "a\nb"}),
        ("subject turned round", {"sub": "a\u202eb"}),
        ("subject long", {"sub": "s" * 2_049}),
        ("jti empty", {"jti": ""}),
        ("jti a number", {"jti": 1}),
        ("required null", {"iat": NOW, "jti": None}),
    ),
)
def test_a_claim_that_is_not_what_is_asked_is_refused(build: Any, changes: dict[str, Any]) -> None:
    refused(good(RSA, build, **changes), RSA)


def test_a_claim_that_the_profile_requires_must_be_there() -> None:
    required = ("iat", "jti", "repository_id")
    refused(good(RSA), RSA, required=required)
    refused(good(RSA, repository_id=None), RSA, required=required)
    assert (
        check(good(RSA, repository_id="7"), RSA, required=required).claims["repository_id"] == "7"
    )


def test_a_profile_that_would_check_nothing_is_none() -> None:
    wrong: list[dict[str, Any]] = [
        {"algorithms": ()},
        {"audience": ""},
        {"issuer": ""},
        {"types": ()},
        {"leeway_s": 31},
        {"leeway_s": -1},
        {"max_age_s": 0},
        {"max_lifetime_s": 0},
        {"required": ("jti",)},
    ]
    for changes in wrong:
        with pytest.raises(ValueError):  # noqa: PT011 -- each has words of its own
            profile_of(**({"algorithms": ("RS256",)} | changes))


# exp as string, and other times that are none


_NOT_TIMES: tuple[tuple[str, str], ...] = (
    ("text", f'"{NOW + 300}"'),
    ("NaN", "NaN"),
    ("Infinity", "Infinity"),
    ("1e999", "1e999"),
    ("1e300", "1e300"),
    ("2^63", str(2**63)),
    ("2^64", str(2**64)),
    ("negative", "-1"),
    ("true", "true"),
    ("null", "null"),
    ("list", f"[{NOW + 300}]"),
    ("object", "{}"),
    ("empty text", '""'),
    ("date", '"2027-01-15T08:00:00Z"'),
    ("hexadecimal", "0x7fffffff"),
    ("leading zero", f"0{NOW + 300}"),
)


@EVERY_KEY
@pytest.mark.parametrize("claim", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", row("exp as string", *_NOT_TIMES))
def test_what_is_no_time_is_none(key: AnyKey, claim: str, value: str) -> None:
    claims = json.dumps(claims_of(**{claim: "@"})).replace('"@"', value)
    made = sealed(json.dumps(header_of(key)).encode(), claims.encode(), key.sign)
    refused(made, key)


def test_a_time_may_have_a_fraction() -> None:
    """RFC 7519 §2: NumericDate, non-integer values can be represented."""
    assert check(good(RSA, exp=NOW + 300.5, iat=NOW - 0.5), RSA).expires_at == NOW + 300


# duplicate JSON keys


@EVERY_KEY
@pytest.mark.parametrize(
    ("header", "claims"),
    row(
        "duplicate JSON keys",
        ("sub", "", ',"sub":"admin"'),
        ("aud", "", f',"aud":"{AUDIENCE}"'),
        ("exp", "", f',"exp":{NOW + 300}'),
        ("sub escaped", "", ',"s\\u0075b":"admin"'),
        ("deep", "", ',"a":{"b":1,"b":2}'),
        ("alg", ',"alg":"none"', ""),
        ("kid", ',"kid":"x"', ""),
        ("typ escaped", ',"t\\u0079p":"JWT"', ""),
    ),
)
def test_a_name_that_stands_twice_is_refused(key: AnyKey, header: str, claims: str) -> None:
    h = json.dumps(header_of(key))[:-1] + header + "}"
    c = json.dumps(claims_of())[:-1] + claims + "}"
    unsigned(sealed(h.encode(), c.encode(), key.sign), key)


@pytest.mark.parametrize(
    "payload",
    row(
        "duplicate JSON keys",
        ("mark of byte order", b"\xef\xbb\xbf{}"),
        ("not UTF-8", b'{"sub":"\xff"}'),
        ("lone surrogate", b'{"sub":"\\ud800"}'),
        ("comment", b"{}//"),
        ("list", b"[]"),
        ("text", b'"a"'),
        ("nothing", b""),
        ("two", b"{}{}"),
    ),
)
def test_what_parsers_disagree_about_is_refused(payload: bytes) -> None:
    unsigned(sealed(json.dumps(header_of(RSA)).encode(), payload, RSA.sign), RSA)


# token-type confusion


@EVERY_KEY
@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "kind",
    row(
        "token-type confusion",
        *(
            (repr(n), n)
            for n in (
                "at+jwt",
                "application/at+jwt",
                "dpop+jwt",
                "secevent+jwt",
                "statuslist+jwt",
                "oauth-id-jag+jwt",
                "txntoken+jwt",
                "logout+jwt",
                "jwt",
                "JWS",
                "JOSE",
                "",
                "JWT ",
            )
        ),
    ),
)
def test_a_token_of_another_type_is_refused(key: AnyKey, build: Any, kind: str) -> None:
    unsigned(build(header_of(key, typ=kind), claims_of(), key), key)


@pytest.mark.parametrize(
    "kind",
    row(
        "token-type confusion",
        ("absent", ...),
        ("null", None),
        ("a list", ["JWT"]),
        ("a number", 1),
    ),
)
def test_a_token_without_a_type_is_refused(kind: Any) -> None:
    unsigned(by_hand(header_of(RSA, typ=kind), claims_of(), RSA), RSA)


def test_a_token_without_a_type_passes_where_its_kind_has_none() -> None:
    """Kubernetes sends none; a null is still not an absent one."""
    assert check(by_hand(header_of(RSA, typ=...), claims_of(), RSA), RSA, types=(None, "JWT")).jti
    unsigned(by_hand(header_of(RSA, typ=None), claims_of(), RSA), RSA, types=(None, "JWT"))


# multi-audience


@EVERY_KEY
@BOTH_LIBRARIES
@pytest.mark.parametrize(
    "audience",
    row(
        "multi-audience",
        ("another beside ours", [AUDIENCE, "https://other.example.test"]),
        ("another before ours", ["https://other.example.test", AUDIENCE]),
        ("ours twice", [AUDIENCE, AUDIENCE]),
        ("a wildcard", "*"),
        ("a part of ours", AUDIENCE[:-1]),
        ("ours in a longer one", AUDIENCE + ".evil.example"),
        ("ours among words", f"{AUDIENCE} other"),
    ),
)
def test_a_token_for_others_is_refused(key: AnyKey, build: Any, audience: Any) -> None:
    refused(good(key, build, aud=audience), key)


def test_an_audience_of_one_may_be_a_list_and_a_listed_one_must_still_be_ours() -> None:
    assert check(good(RSA, aud=[AUDIENCE]), RSA).audience == (AUDIENCE,)
    both = good(RSA, aud=[AUDIENCE, "https://other.example.test"])
    assert len(check(both, RSA, audience_listed=True).audience) == 2
    refused(good(RSA, aud=["https://other.example.test"]), RSA, audience_listed=True)
    refused(good(RSA, aud=[AUDIENCE] * 17), RSA, audience_listed=True)
    refused(good(RSA, aud=[AUDIENCE, 1]), RSA, audience_listed=True)


# replay


@EVERY_KEY
def test_replay_key_does_not_change_with_the_spelling_of_a_token(key: AnyKey) -> None:
    with_jti = {check(good(key, **c), key).replay_key for c in ({}, {"more": 1}, {"exp": NOW + 9})}
    assert len(with_jti) == 1
    required = ("iat",)
    one = good(key, jti=...)
    other = good(key, jti=..., more=1)
    keys = {check(text, key, required=required).replay_key for text in (one, other)}
    assert len(keys) == 2
    assert not keys & with_jti


def test_replay_by_the_other_spelling_of_a_signature_is_seen() -> None:
    """ECDSA: whoever knows (r, s) knows (r, n - s), which is another text of the same token."""
    key = KEYS["ES256"]
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

    def mirrored(message: bytes) -> bytes:
        signature = key.sign(message)
        s = int.from_bytes(signature[32:], "big")
        return signature[:32] + (order - s).to_bytes(32, "big")

    header, claims = json.dumps(header_of(key)).encode(), json.dumps(claims_of(jti=...)).encode()
    texts = [sealed(header, claims, how) for how in (key.sign, mirrored)]
    assert texts[0] != texts[1]
    assert len({check(t, key, required=("iat",)).replay_key for t in texts}) == 1


def test_replay_keys_of_two_issuers_never_meet() -> None:
    there = "https://ci2.example.test"
    mine = check(good(RSA), RSA)
    theirs = check(good(RSA, iss=there), RSA, issuer=there)
    assert mine.replay_key != theirs.replay_key
    assert mine.until >= mine.expires_at + 60


def test_a_token_with_another_end_of_base64_is_another_text_and_refused() -> None:
    head, body, signature = good(RSA).split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(signature[-1]) ^ 1]
    for text in (
        f"{head}.{body}.{signature[:-1]}{last}",
        f"{head}.{body}.{signature}==",
        f"{head}.{body}.{signature}\n",
        f" {head}.{body}.{signature}",
    ):
        with pytest.raises(Unauthenticated):
            check(text, RSA)


# clock skew


@pytest.mark.parametrize(
    ("changes", "message"),
    row(
        "clock skew",
        ("expired", {"exp": NOW - 31}, "expired"),
        ("expired at the edge", {"exp": NOW - 30}, "expired"),
        ("iat from the future", {"iat": NOW + 31}, "not valid yet"),
        ("nbf from the future", {"nbf": NOW + 31}, "not valid yet"),
        ("too old", {"iat": NOW - 631}, "issued more than 600"),
        ("endless", {"exp": NOW + 86_401}, "live longer"),
        ("ends before it begins", {"iat": NOW + 20, "nbf": NOW, "exp": NOW + 20}, "live longer"),
    ),
)
def test_a_time_that_is_off_is_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refused(good(RSA, **changes), RSA)


def test_clocks_may_differ_by_thirty_seconds_and_no_more() -> None:
    for changes in (
        {"exp": NOW - 29, "iat": NOW - 60},
        {"iat": NOW + 30},
        {"nbf": NOW + 30},
        {"iat": NOW - 630},
    ):
        assert check(good(RSA, **changes), RSA)
    refused(good(RSA, exp=NOW - 29, iat=NOW - 60), RSA, leeway_s=0)


def test_without_iat_the_lifetime_is_measured_from_now() -> None:
    loose = {"required": ("jti",), "max_age_s": None, "max_lifetime_s": 300}
    assert check(good(RSA, iat=..., exp=NOW + 300), RSA, **loose).issued_at is None
    refused(good(RSA, iat=..., exp=NOW + 361), RSA, **loose)


# The hint


@pytest.mark.parametrize(
    "text", ["", "x", "a.b.c", "....", "\x00", "é.é.é", "A" * 9_000, "e30.e30."]
)
def test_garbage_names_no_issuer(text: str) -> None:
    with pytest.raises(Unauthenticated):
        unverified(text)


def test_a_hint_is_what_the_token_claims_and_nothing_else() -> None:
    hint = unverified(by_hand(header_of(RSA, kid=5), claims_of(iss=["x"]), RSA))
    assert (hint.issuer, hint.kid, hint.kind) == ("", "", "JWT")
    assert unverified(good(RSA)).issuer == CI


# The table


def test_the_battery_is_complete() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    carried = set(re.findall(r'row\(\s*"([^"]+)"', here)) | {"replay", "clock skew"}
    assert carried <= set(ROWS)
    elsewhere = dict(ELSEWHERE)
    if importlib.util.find_spec("midflight.services.broker") is not None:
        elsewhere["lease leak"] = LEASES
    missing = set(ROWS) - carried - elsewhere.keys() - {"lease leak"}
    assert not missing, f"no test proves {sorted(missing)}"
    for name, tests in elsewhere.items():
        for test in tests:
            file, _, function = test.partition("::")
            text = (TESTS / file).read_text(encoding="utf-8")
            assert "def test_" in text, f"{name}: {test}"
            assert not function or f"def {function}(" in text, f"{name}: {test}"


def test_a_token_shows_nothing_of_itself() -> None:
    token = check(good(RSA), RSA)
    assert "repo:acme" not in repr(token)
