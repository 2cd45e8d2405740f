"""Access tokens that nobody minted, and good ones bent to another use: each is refused.

Every case starts from a token that passes (`test_the_good_token_…`), changes one thing, and goes
through the public door, `Identity.identify`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
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
    bearer,
    by_hand,
    claims_of,
    dpop,
    header_of,
    identity_of,
    proof_for,
    sealed,
)

from midflight.adapters.store.memory import MemoryStore
from midflight.domain.errors import Unauthenticated
from midflight.services.identity import Identity
from midflight.services.presented import Credentials
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

KEY = Key()
OTHER = Key()


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture
async def identity() -> Identity:
    store = MemoryStore()
    await store.open()
    return identity_of(store, KEY, FakeClock(NOW))


async def refused(identity: Identity, credentials: Credentials | str) -> Unauthenticated:
    if isinstance(credentials, str):
        credentials = bearer(credentials)
    with pytest.raises(Unauthenticated) as caught:
        await identity.identify(credentials)
    return caught.value


# What passes, and what a refusal says


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
async def test_the_good_token_of_every_builder_passes(identity: Identity, build: Any) -> None:
    caller = await identity.identify(bearer(build(header_of(KEY), claims_of(), KEY)))
    assert caller.workload == WORKLOAD
    assert caller.proof == "bearer"
    assert caller.token == "tok_abcdefgh"


@pytest.mark.parametrize(
    "garbage",
    ["", "x", "a.b", "a.b.c", "a.b.c.d", "....", "\x00", "é.é.é", "A" * 9000, "{}", "e30.e30."],
)
async def test_all_garbage_gives_the_same_answer(identity: Identity, garbage: str) -> None:
    error = await refused(identity, garbage)
    assert error.message == "The access token does not verify."
    assert error.challenge == "invalid_token"


# Algorithm


@pytest.mark.parametrize("name", ["none", "None", "nOnE", "NONE", "", None, 0, [], {}])
async def test_an_unsigned_token_is_refused(identity: Identity, name: Any) -> None:
    header, claims = header_of(KEY, alg=name), claims_of()
    await refused(identity, sealed(_json(header), _json(claims), lambda _: b""))
    await refused(identity, sealed(_json(header), _json(claims), KEY.sign))


def _public_forms() -> dict[str, bytes]:
    public = KEY.private.public_key()
    return {
        "pem": public.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "der": public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        "jwk": _json(KEY.public_jwk),
        "empty": b"",
    }


@pytest.mark.parametrize("secret", _public_forms().values(), ids=_public_forms())
@pytest.mark.parametrize("algorithm", ["HS256", "ES256"])
async def test_a_public_key_is_no_shared_secret(
    identity: Identity, secret: bytes, algorithm: str
) -> None:
    token = sealed(
        _json(header_of(KEY, alg=algorithm)),
        _json(claims_of()),
        lambda message: hmac.new(secret, message, hashlib.sha256).digest(),
    )
    await refused(identity, token)


async def test_another_algorithm_under_our_key_id_is_refused(identity: Identity) -> None:
    theirs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    token = sealed(
        _json(header_of(KEY, alg="RS256")),
        _json(claims_of()),
        lambda message: theirs.sign(message, padding.PKCS1v15(), hashes.SHA256()),
    )
    await refused(identity, token)


@pytest.mark.parametrize("algorithm", ["ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "es256"])
async def test_our_own_key_with_another_algorithm_is_refused(
    identity: Identity, algorithm: str
) -> None:
    await refused(identity, by_hand(header_of(KEY, alg=algorithm), claims_of(), KEY))


# Signature


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
async def test_a_key_of_the_attacker_is_refused(identity: Identity, build: Any) -> None:
    await refused(identity, build(header_of(KEY), claims_of(), OTHER))
    await refused(identity, build(header_of(OTHER), claims_of(), OTHER))


def _der(message: bytes) -> bytes:
    return KEY.private.sign(message, ec.ECDSA(hashes.SHA256()))


def _sha512(message: bytes) -> bytes:
    r, s = decode_dss_signature(KEY.private.sign(message, ec.ECDSA(hashes.SHA512())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@pytest.mark.parametrize(
    "sign",
    [
        lambda _: b"",
        lambda _: bytes(64),
        lambda _: P256_ORDER.to_bytes(32, "big") * 2,
        lambda message: KEY.sign(message)[:-1],
        lambda message: KEY.sign(message) + b"\0",
        lambda message: KEY.sign(message)[32:] + KEY.sign(message)[:32],
        lambda message: KEY.sign(message + b" "),
        _der,
        _sha512,
    ],
    ids=["empty", "zeros (CVE-2022-21449)", "order", "short", "long", "swapped", "more", "der",
         "sha512"],
)  # fmt: skip
async def test_a_signature_that_is_not_over_this_is_refused(
    identity: Identity, sign: Callable[[bytes], bytes]
) -> None:
    await refused(identity, sealed(_json(header_of(KEY)), _json(claims_of()), sign))


async def test_a_signature_does_not_carry_over_to_other_claims(identity: Identity) -> None:
    good = by_hand(header_of(KEY), claims_of(), KEY)
    header, _, signature = good.split(".")
    other = b64(_json(claims_of(sub=f"spiffe://{DOMAIN}/agents/admin")))
    await refused(identity, f"{header}.{other}.{signature}")


async def test_a_token_has_one_text(identity: Identity) -> None:
    good = by_hand(header_of(KEY), claims_of(), KEY)
    header, payload, signature = good.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    same_bytes = [
        signature[:-1] + other
        for other in alphabet
        if other != last and _loose(signature[:-1] + other) == _loose(signature)
    ]
    assert len(same_bytes) == 15  # 86 characters carry 64 bytes and 4 unused bits
    for variant in same_bytes:
        await refused(identity, f"{header}.{payload}.{variant}")
    for variant in (f"{good}==", f"{good}\n", f"{good}.", f"{good}\t", good.replace(".", "..", 1)):
        await refused(identity, variant)
    standard = good.replace("-", "+").replace("_", "/")
    if standard != good:
        await refused(identity, standard)


def _loose(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "==")


async def test_other_serialisations_are_refused(identity: Identity) -> None:
    header, payload, signature = by_hand(header_of(KEY), claims_of(), KEY).split(".")
    general = {
        "payload": payload,
        "signatures": [{"protected": header, "signature": signature}],
    }
    await refused(identity, json.dumps(general))
    await refused(identity, b64(_json(general)))
    await refused(identity, f"{header}..{signature}")  # detached


# Header


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
async def test_a_key_in_the_header_is_refused(identity: Identity, build: Any) -> None:
    header = header_of(OTHER, jwk=OTHER.public_jwk)
    await refused(identity, build(header, claims_of(), OTHER))
    header = header_of(KEY, jwk=KEY.public_jwk)  # even ours
    await refused(identity, build(header, claims_of(), KEY))


@pytest.mark.parametrize(
    "member",
    [
        {"jku": "https://evil.example/jwks.json"},
        {"x5u": "https://evil.example/cert.pem"},
        {"x5c": ["MIIB"]},
        {"x5t#S256": "abc"},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"b64": False},
        {"b64": True},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"nonce": "n"},
    ],
    ids="+".join,
)
async def test_any_further_header_member_is_refused(
    identity: Identity, member: dict[str, Any]
) -> None:
    await refused(identity, by_hand(header_of(KEY, **member), claims_of(), KEY))


@pytest.mark.parametrize(
    "kid", [..., None, "", 0, [], {}, "../../../dev/null", "' OR 1=1 --", [KEY.jkt], KEY.jkt + "\0"]
)
async def test_a_key_id_that_is_not_ours_finds_no_key(identity: Identity, kid: Any) -> None:
    await refused(identity, by_hand(header_of(KEY, kid=kid), claims_of(), KEY))


@pytest.mark.parametrize(
    "type_",
    [..., None, "", "JWT", "jwt", "AT+JWT", "application/at+jwt", "at+jwt ", "dpop+jwt",
     "secevent+jwt", "statuslist+jwt", "JOSE", ["at+jwt"]],
)  # fmt: skip
async def test_a_token_of_another_type_is_refused(identity: Identity, type_: Any) -> None:
    await refused(identity, by_hand(header_of(KEY, typ=type_), claims_of(), KEY))


async def test_a_dpop_proof_is_no_access_token(identity: Identity) -> None:
    proof = proof_for("x", KEY, header={"kid": KEY.jkt}, **claims_of())
    await refused(identity, proof)


@pytest.mark.parametrize("where", ["header", "payload", "authorization"])
async def test_a_giant_is_refused_before_it_is_parsed(
    identity: Identity, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parsing(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("midflight.wire.tokens.jws.json.decode", parsing)
    monkeypatch.setattr("midflight.wire.tokens.jws.base64url", parsing)
    giant = "A" * 2_000_000
    token = {
        "header": lambda: by_hand(header_of(KEY, kid=giant), claims_of(), KEY),
        "payload": lambda: by_hand(header_of(KEY), claims_of(jti=giant), KEY),
        "authorization": lambda: giant,
    }[where]()
    await refused(identity, token)


# JSON


@pytest.mark.parametrize(
    "payload",
    [
        b'{"sub":"spiffe://example.test/agents/admin",%s',
        b'{"aud":"https://evil.example",%s',
        b'{"exp":1,%s',
        b'{"cnf":{"jkt":"a","jkt":"b"},%s',
        b'{"\\u0073ub":"spiffe://example.test/agents/admin",%s',
    ],
)
async def test_a_claim_twice_is_refused(identity: Identity, payload: bytes) -> None:
    raw = payload % _json(claims_of())[1:]
    await refused(identity, sealed(_json(header_of(KEY)), raw, KEY.sign))


async def test_a_header_member_twice_is_refused(identity: Identity) -> None:
    raw = b'{"alg":"none",' + _json(header_of(KEY))[1:]
    await refused(identity, sealed(raw, _json(claims_of()), KEY.sign))


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'"text"',
        b"null",
        b"",
        b"{",
        b"\xff{}",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b'{"a":' * 1000 + b"1" + b"}" * 1000,
        b"[" * 3000,
        b'{"exp":' + b"9" * 5000 + b"}",
        b'{"sub":"\\ud800"}',
    ],
)
async def test_what_is_not_one_flat_json_object_is_refused(identity: Identity, raw: bytes) -> None:
    await refused(identity, sealed(_json(header_of(KEY)), raw, KEY.sign))
    await refused(identity, sealed(raw, _json(claims_of()), KEY.sign))


# Claims


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize("claim", sorted(claims_of()))
async def test_a_claim_left_out_is_refused(identity: Identity, build: Any, claim: str) -> None:
    await refused(identity, build(header_of(KEY), claims_of(**{claim: ...}), KEY))


NO_TIMES = [
    "1800000100", True, None, [], {}, 1e308, float("inf"), float("nan"), 2**63, "Infinity"
]  # fmt: skip


@pytest.mark.parametrize(
    ("claim", "value"),
    [(claim, value) for claim in ("exp", "iat", "nbf") for value in NO_TIMES]
    + [("exp", -1), ("iat", -1), ("exp", NOW + 600.5), ("iat", NOW - 0.5)],
    ids=str,
)
async def test_a_time_that_is_no_time_is_refused(
    identity: Identity, claim: str, value: Any
) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(**{claim: value}), KEY))


@pytest.mark.parametrize("claim", ["iss", "sub", "aud", "client_id", "jti", "txn"])
@pytest.mark.parametrize("value", [None, 1, True, [], {}, [WORKLOAD]], ids=str)
async def test_a_name_that_is_no_text_is_refused(
    identity: Identity, claim: str, value: Any
) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(**{claim: value}), KEY))


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize(
    "audience",
    [
        [RESOURCE],
        [RESOURCE, "https://evil.example"],
        "https://evil.example",
        RESOURCE + "/",
        RESOURCE + "/git",
        RESOURCE[:-1],
        RESOURCE.upper(),
        RESOURCE.replace("https", "http"),
        "",
        "*",
    ],
    ids=str,
)
async def test_another_audience_is_refused(identity: Identity, build: Any, audience: Any) -> None:
    await refused(identity, build(header_of(KEY), claims_of(aud=audience), KEY))


@pytest.mark.parametrize("issuer", ["https://evil.example", ISSUER + "/", ISSUER.upper(), ""])
async def test_another_issuer_is_refused(identity: Identity, issuer: str) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(iss=issuer), KEY))


@pytest.mark.parametrize(
    "times",
    [
        {"iat": NOW - 700, "exp": NOW - 31},
        {"iat": NOW + 31, "exp": NOW + 300},
        {"nbf": NOW + 31},
        {"exp": NOW + 901},
        {"iat": 0, "exp": NOW + 600},
        {"exp": NOW},  # ends when it begins
        {"exp": NOW - 10},
        {"exp": NOW + 10**15},
    ],
    ids=str,
)
async def test_a_token_out_of_its_time_is_refused(
    identity: Identity, times: dict[str, int]
) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(**times), KEY))


@pytest.mark.parametrize(
    "times",
    [
        {"iat": NOW - 870, "exp": NOW + 30},
        {"iat": NOW - 600, "exp": NOW - 29},
        {"iat": NOW + 30, "exp": NOW + 300},
        {"nbf": NOW + 30},
        {"nbf": NOW - 5},
    ],
    ids=str,
)
async def test_clocks_half_a_minute_apart_do_not_refuse(
    identity: Identity, times: dict[str, int]
) -> None:
    await identity.identify(bearer(by_hand(header_of(KEY), claims_of(**times), KEY)))


@pytest.mark.parametrize(
    "subject",
    [
        "spiffe://evil.test/agents/triage",
        "spiffe://example.test.evil.test/agents/triage",
        "spiffe://sub.example.test/agents/triage",
        "spiffe://example.test",
        "spiffe://example.test/",
        "spiffe://example.test/agents/../admin",
        "spiffe://EXAMPLE.test/agents/triage",
        "spiffe://example.test:443/agents/triage",
        "spiffe://user@example.test/agents/triage",
        "spiffe://example.test/agents/triage?x=1",
        "spiffe://example.test/agents/triage\n",
        "https://example.test/agents/triage",
        "triage",
        "",
        "spiffe://example.test/" + "a" * 2048,
    ],
    ids=lambda subject: repr(subject)[:60],
)
async def test_a_subject_outside_the_trust_domain_is_refused(
    identity: Identity, subject: str
) -> None:
    claims = claims_of(sub=subject, client_id=subject)
    await refused(identity, by_hand(header_of(KEY), claims, KEY))


@pytest.mark.parametrize("client", ["", "two words", "a\nb", "x" * 2_049, 7, None, ["a"]])
async def test_a_client_that_is_no_name_is_refused(identity: Identity, client: Any) -> None:
    claims = claims_of(client_id=client)
    await refused(identity, by_hand(header_of(KEY), claims, KEY))


@pytest.mark.parametrize(
    "confirmation",
    [
        None,
        {},
        "jkt",
        {"x5t#S256": OTHER.jkt},
        {"jkt": OTHER.jkt, "x5t#S256": OTHER.jkt},
        {"jkt": ""},
        {"jkt": OTHER.jkt + "="},
        {"jkt": OTHER.jkt[:-1]},
        {"jkt": None},
        {"jwk": OTHER.public_jwk},
        {"kid": OTHER.jkt},
    ],
    ids=str,
)
async def test_a_binding_that_is_not_understood_does_not_make_a_bearer_token(
    identity: Identity, confirmation: Any
) -> None:
    token = by_hand(header_of(KEY), claims_of(cnf=confirmation), KEY)
    await refused(identity, token)
    await refused(identity, dpop(token, proof_for(token, OTHER)))


@pytest.mark.parametrize("claim", ["may_act", "roles", "ext", "authorization_details"])
async def test_a_claim_that_could_narrow_and_is_not_understood_is_refused(
    identity: Identity, claim: str
) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(**{claim: "x"}), KEY))


@pytest.mark.parametrize("claim", ["jti", "txn"])
@pytest.mark.parametrize("value", ["", "a b", "a\nb", "../x", "x" * 129, "run_é", "a\0"])
async def test_an_id_that_could_not_be_ours_is_refused(
    identity: Identity, claim: str, value: str
) -> None:
    await refused(identity, by_hand(header_of(KEY), claims_of(**{claim: value}), KEY))


# The way it is presented


async def test_without_a_token_the_challenge_names_no_error(identity: Identity) -> None:
    for credentials in (bearer("x", authorization=()), bearer("x", authorization=("Basic eA==",))):
        error = await refused(identity, credentials)
        assert error.challenge == ""
        assert "error=" not in identity.challenge_header(error)


async def test_a_token_in_the_query_does_not_count(identity: Identity) -> None:
    token = by_hand(header_of(KEY), claims_of(), KEY)
    credentials = bearer("x", authorization=(), url=f"{URL}?access_token={token}")
    await refused(identity, credentials)


async def test_two_authorization_headers_are_refused_though_each_would_pass(
    identity: Identity,
) -> None:
    token = by_hand(header_of(KEY), claims_of(), KEY)
    value = f"Bearer {token}"
    error = await refused(identity, bearer("x", authorization=(value, value)))
    assert error.challenge == "invalid_request"
    await refused(identity, bearer("x", authorization=(f"{value}, {value}",)))
    await refused(identity, bearer("x", authorization=(f"{value} {token}",)))


@pytest.mark.parametrize(
    "form", ["{0}", "Bearer", "Bearer{0}", "Bearer:{0}", "Bearer\t{0}", " Bearer {0}", "Token {0}",
             "Bearer\u00a0{0}", 'Bearer "{0}"', "Bearer token={0}"],
)  # fmt: skip
async def test_another_form_of_the_header_is_refused(identity: Identity, form: str) -> None:
    token = by_hand(header_of(KEY), claims_of(), KEY)
    await refused(identity, bearer("x", authorization=(form.format(token),)))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_scheme_is_read_without_case(identity: Identity, scheme: str) -> None:
    token = by_hand(header_of(KEY), claims_of(), KEY)
    await identity.identify(bearer("x", authorization=(f"{scheme}  {token}",)))


# Secrets


async def test_no_refusal_repeats_what_was_presented(
    identity: Identity, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(0)
    marker = "s3cr3tmarker"
    hidden = [
        marker,
        f"{marker}.{marker}.{marker}",
        by_hand(header_of(KEY, kid=marker), claims_of(), KEY),
        by_hand(header_of(KEY, **{marker: marker}), claims_of(), KEY),
        by_hand(header_of(KEY), claims_of(jti=marker, aud=marker), KEY),
        by_hand(header_of(KEY), claims_of(jti=marker, sub=f"spiffe://{marker}/{marker}"), KEY),
        by_hand(header_of(KEY), claims_of(exp=marker), KEY),
        by_hand(header_of(KEY), claims_of(cnf={marker: marker}), KEY),
        by_hand(header_of(KEY), claims_of(txn=marker + " "), KEY),
        sealed(marker.encode(), marker.encode(), KEY.sign),
    ]
    for token in hidden:
        for credentials in (
            bearer(token),
            dpop(token, marker),
            bearer(token, authorization=(marker, token)),
            bearer(token, authorization=(f"Basic {marker}",)),
        ):
            error = await refused(identity, credentials)
            shown = [str(error), repr(error), error.hint, identity.challenge_header(error)]
            shown += [repr(credentials), str(credentials), repr(list(credentials.__rich_repr__()))]
            chain: BaseException | None = error
            while chain is not None:
                shown.append(repr(chain))
                chain = chain.__cause__ or chain.__context__
            for text in shown:
                assert marker not in text
                assert all(part not in text for part in re.findall(r"[\w-]{20,}", token))
    assert marker not in caplog.text
    printed = capsys.readouterr()
    assert marker not in printed.out + printed.err
