"""Stolen tokens, replayed and borrowed proofs: without the key, and a fresh proof by it, nothing.

Every case starts from a proof that passes and goes through `Identity.identify`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from identity_kit import (
    BUILDS,
    NOW,
    URL,
    EdwardsKey,
    Key,
    b64,
    bearer,
    by_hand,
    claims_of,
    dpop,
    header_of,
    identity_of,
    proof_claims,
    proof_for,
    proof_header,
    sealed,
)

from midflight.adapters.store.memory import MemoryStore
from midflight.adapters.store.sqlite import SqliteStore
from midflight.domain.errors import StoreUnavailable, Unauthenticated
from midflight.services.identity import Identity
from midflight.services.presented import Credentials
from midflight.testing import FakeClock

pytestmark = pytest.mark.anyio

KEY = Key()
CLIENT = Key()
THIEF = Key()
BOUND = by_hand(header_of(KEY), claims_of(cnf={"jkt": CLIENT.jkt}), KEY)
UNBOUND = by_hand(header_of(KEY), claims_of(), KEY)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    store = MemoryStore()
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def identity(store: MemoryStore, clock: FakeClock) -> Identity:
    return identity_of(store, KEY, clock)


async def refused(identity: Identity, credentials: Credentials) -> Unauthenticated:
    with pytest.raises(Unauthenticated) as caught:
        await identity.identify(credentials)
    return caught.value


async def refused_proof(identity: Identity, *proofs: str, **request: Any) -> None:
    """The proof is refused as a proof, and has not been spent on the way."""
    error = await refused(identity, dpop(BOUND, *proofs, **request))
    assert error.challenge == "invalid_dpop_proof"
    assert identity.challenge_header(error).startswith("DPoP ")


@pytest.mark.parametrize("build", BUILDS.values(), ids=BUILDS)
@pytest.mark.parametrize(
    "client", [Key(), EdwardsKey("EdDSA"), EdwardsKey("Ed25519")], ids=["ES256", "EdDSA", "Ed25519"]
)
async def test_the_good_proof_of_every_builder_passes(
    identity: Identity, build: Any, client: Any
) -> None:
    if (client.algorithm, build) in {
        ("EdDSA", BUILDS["joserfc"]),  # joserfc warns of this name
        ("Ed25519", BUILDS["pyjwt"]),  # PyJWT does not know this name
    }:
        build = by_hand
    token = build(header_of(KEY), claims_of(cnf={"jkt": client.jkt}), KEY)
    caller = await identity.identify(dpop(token, proof_for(token, client, build=build)))
    assert caller.proof == "dpop"


# Replay


async def test_a_proof_passes_once(identity: Identity) -> None:
    proof = proof_for(BOUND, CLIENT)
    await identity.identify(dpop(BOUND, proof))
    await refused_proof(identity, proof)


async def test_a_proof_passes_once_among_all_replicas(store: MemoryStore, clock: FakeClock) -> None:
    one, two = identity_of(store, KEY, clock), identity_of(store, KEY, clock)
    proof = proof_for(BOUND, CLIENT)
    await one.identify(dpop(BOUND, proof))
    await refused_proof(two, proof)
    await two.identify(dpop(BOUND, proof_for(BOUND, CLIENT, jti="proof-2")))
    await refused_proof(one, proof_for(BOUND, CLIENT, jti="proof-2"))


async def test_of_many_at_once_one_passes(store: MemoryStore, clock: FakeClock) -> None:
    replicas = [identity_of(store, KEY, clock) for _ in range(4)]
    proof = proof_for(BOUND, CLIENT)
    attempts = [replicas[n % 4].identify(dpop(BOUND, proof)) for n in range(20)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, Unauthenticated) for result in results) == 19


async def test_a_restart_does_not_forget_a_proof(tmp_path: Path, clock: FakeClock) -> None:
    proof = proof_for(BOUND, CLIENT)
    for expected in (True, False):
        store = SqliteStore(tmp_path / "store.db")
        await store.open()
        try:
            identity = identity_of(store, KEY, clock)
            if expected:
                await identity.identify(dpop(BOUND, proof))
            else:
                await refused_proof(identity, proof)
        finally:
            await store.close()


@pytest.mark.parametrize("issued", [NOW - 60, NOW, NOW + 60])
async def test_a_proof_is_remembered_as_long_as_it_could_be_accepted(
    identity: Identity, clock: FakeClock, issued: int
) -> None:
    proof = proof_for(BOUND, CLIENT, iat=issued)
    await identity.identify(dpop(BOUND, proof))
    for _ in range(13):
        clock.advance(10)
        await refused_proof(identity, proof)


async def test_the_same_jti_of_another_key_is_another_proof(identity: Identity) -> None:
    other = Key()
    token = by_hand(header_of(KEY), claims_of(cnf={"jkt": other.jkt}), KEY)
    await identity.identify(dpop(BOUND, proof_for(BOUND, CLIENT)))
    await identity.identify(dpop(token, proof_for(token, other)))


async def test_a_proof_that_fails_is_not_spent(identity: Identity) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, htm="GET"))
    await refused_proof(identity, proof_for(BOUND, THIEF))
    await identity.identify(dpop(BOUND, proof_for(BOUND, CLIENT)))


async def test_when_the_store_cannot_tell_the_answer_is_no(
    identity: Identity, store: MemoryStore
) -> None:
    await store.close()
    with pytest.raises(StoreUnavailable):
        await identity.identify(dpop(BOUND, proof_for(BOUND, CLIENT)))


# Theft and downgrade


async def test_a_stolen_token_is_useless_without_its_key(identity: Identity) -> None:
    await refused_proof(identity)
    await refused_proof(identity, proof_for(BOUND, THIEF))
    # The thief shows the right public key and signs with its own.
    borrowed = proof_header(CLIENT)
    await refused_proof(identity, by_hand(borrowed, proof_claims(BOUND), THIEF))


async def test_a_bound_token_is_no_bearer_token(identity: Identity) -> None:
    error = await refused(identity, bearer(BOUND))
    assert error.challenge == "invalid_token"
    proof = proof_for(BOUND, CLIENT)
    await refused(identity, bearer(BOUND, dpop=(proof,)))
    # Not even when it is warm.
    await identity.identify(dpop(BOUND, proof))
    await refused(identity, bearer(BOUND))


async def test_a_proof_does_not_lift_a_bearer_token(identity: Identity) -> None:
    proof = proof_for(UNBOUND, CLIENT)
    assert (await refused(identity, dpop(UNBOUND, proof))).challenge == "invalid_token"
    assert (await refused(identity, bearer(UNBOUND, dpop=(proof,)))).challenge == "invalid_request"
    assert (await refused(identity, bearer(UNBOUND, dpop=("",)))).challenge == "invalid_request"


async def test_a_bad_token_is_not_helped_by_a_good_proof(
    identity: Identity, store: MemoryStore
) -> None:
    forged = by_hand(header_of(KEY), claims_of(cnf={"jkt": THIEF.jkt}), THIEF)
    proof = proof_for(forged, THIEF)
    error = await refused(identity, dpop(forged, proof))
    assert error.challenge == "invalid_token"
    assert store._used == {}  # strangers fill nothing


# Number and form of headers


async def test_there_is_exactly_one_proof(identity: Identity) -> None:
    one, two = proof_for(BOUND, CLIENT), proof_for(BOUND, CLIENT, jti="proof-2")
    await refused_proof(identity, one, two)
    await refused_proof(identity, one, one)
    await refused_proof(identity, f"{one}, {two}")
    await refused_proof(identity, f"{one},{two}")
    await refused_proof(identity, "")
    await identity.identify(dpop(BOUND, one))


@pytest.mark.parametrize("garbage", ["x", "a.b.c", "é.é.é", "\x00", "A" * 9000, "{}", "e30.e30.AA"])
async def test_garbage_is_no_proof(identity: Identity, garbage: str) -> None:
    await refused_proof(identity, garbage)


# Another request


@pytest.mark.parametrize("method", ["GET", "post", "Post", "DELETE", "", "POST "])
async def test_a_proof_for_another_method_is_refused(identity: Identity, method: str) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, htm=method))


@pytest.mark.parametrize(
    "htu",
    [
        "https://plane.example.test/mcp/mail",
        "https://plane.example.test/mcp/git/",
        "https://plane.example.test/mcp/GIT",
        "https://plane.example.test/mcp/git%2F",
        "https://plane.example.test//mcp/git",
        "https://plane.example.test/",
        "https://plane.example.test",
        "http://plane.example.test/mcp/git",
        "https://plane.example.test:8443/mcp/git",
        "https://evil.example/mcp/git",
        "https://plane.example.test@evil.example/mcp/git",
        "https://user@plane.example.test/mcp/git",
        "https://plane.example.test\\@evil.example/mcp/git",
        "https:///mcp/git",
        "//plane.example.test/mcp/git",
        "/mcp/git",
        "",
        "https://plane.example.test/mcp/git\n",
        "https://plane.example.test:99999/mcp/git",
        "https://[plane.example.test/mcp/git",
    ],
)
async def test_a_proof_for_another_url_is_refused(identity: Identity, htu: str) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, htu=htu))


async def test_a_proof_for_another_token_is_refused(identity: Identity) -> None:
    await refused_proof(identity, proof_for(UNBOUND, CLIENT))
    another = by_hand(header_of(KEY), claims_of(cnf={"jkt": CLIENT.jkt}, jti="tok_2"), KEY)
    await refused_proof(identity, proof_for(another, CLIENT))
    padded = b64(hashlib.sha256(BOUND.encode()).digest()) + "="
    hexadecimal = hashlib.sha256(BOUND.encode()).hexdigest()
    for wrong in (padded, hexadecimal, "", None):
        await refused_proof(identity, proof_for(BOUND, CLIENT, ath=wrong))


@pytest.mark.parametrize(
    "issued",
    [NOW - 61, NOW + 61, 0, -1, NOW * 1000, 10**400, 1e308, float("inf"), float("nan"),
     str(NOW), True, None],
    ids=lambda issued: str(issued)[:20],
)  # fmt: skip
async def test_a_proof_out_of_its_minute_is_refused(identity: Identity, issued: Any) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, iat=issued))


async def test_a_proof_with_a_fraction_of_a_second_passes(identity: Identity) -> None:
    await identity.identify(dpop(BOUND, proof_for(BOUND, CLIENT, iat=NOW - 0.25)))


@pytest.mark.parametrize("claim", ["jti", "htm", "htu", "iat", "ath"])
async def test_a_proof_without_a_claim_is_refused(identity: Identity, claim: str) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, **{claim: ...}))


@pytest.mark.parametrize("jti", ["", " ", "a b", "x" * 257, "é", "a\0", 1, None, []], ids=repr)
async def test_a_proof_without_a_usable_id_is_refused(identity: Identity, jti: Any) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, jti=jti))


# The proof itself


@pytest.mark.parametrize(
    "header",
    [
        {"typ": ...},
        {"typ": "JWT"},
        {"typ": "at+jwt"},
        {"typ": "DPOP+JWT"},
        {"typ": "application/dpop+jwt"},
        {"alg": ...},
        {"alg": "ES384"},
        {"alg": "EdDSA"},
        {"alg": "Ed25519"},
        {"alg": ["ES256"]},
        {"alg": "RS256"},
        {"jwk": ...},
        {"jwk": None},
        {"jwk": []},
        {"jwk": {}},
        {"jwk": json.dumps(CLIENT.public_jwk)},
        {"jwk": CLIENT.private_jwk},
        {"jwk": {**CLIENT.public_jwk, "use": "enc"}},
        {"jwk": {**CLIENT.public_jwk, "alg": "ES384"}},
        {"jwk": {**CLIENT.public_jwk, "crv": "P-384"}},
        {"jwk": {**CLIENT.public_jwk, "kty": "oct", "k": "AAAA"}},
        {"jwk": {**CLIENT.public_jwk, "x5u": "https://evil.example"}},
        {"jwk": {**CLIENT.public_jwk, "x": CLIENT.public_jwk["x"] + "="}},
        {"jwk": {**CLIENT.public_jwk, "x": 1}},
        {"jwk": THIEF.public_jwk},
        {"crit": ["b64"], "b64": False},
        {"crit": []},
        {"jku": "https://evil.example/jwks"},
        {"x5c": ["MIIB"]},
    ],
    ids=lambda header: str(header)[:50],
)
async def test_a_proof_with_another_header_is_refused(
    identity: Identity, header: dict[str, Any]
) -> None:
    await refused_proof(identity, proof_for(BOUND, CLIENT, header=header))


async def test_an_unsigned_proof_is_refused(identity: Identity) -> None:
    for name in ("none", "ES256"):
        header = json.dumps(proof_header(CLIENT, alg=name)).encode()
        claims = json.dumps(proof_claims(BOUND)).encode()
        await refused_proof(identity, sealed(header, claims, lambda _: b""))
        await refused_proof(identity, sealed(header, claims, lambda _: bytes(64)))


async def test_a_proof_signed_with_the_public_key_as_secret_is_refused(identity: Identity) -> None:
    secret = json.dumps(CLIENT.public_jwk).encode()
    header = json.dumps(proof_header(CLIENT, alg="HS256")).encode()
    claims = json.dumps(proof_claims(BOUND)).encode()
    await refused_proof(
        identity, sealed(header, claims, lambda m: hmac.new(secret, m, hashlib.sha256).digest())
    )


async def test_an_rsa_proof_is_refused(identity: Identity) -> None:
    theirs = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = theirs.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": b64(numbers.n.to_bytes(256, "big")), "e": "AQAB"}
    header = json.dumps(proof_header(CLIENT, alg="RS256", jwk=jwk)).encode()
    claims = json.dumps(proof_claims(BOUND)).encode()
    await refused_proof(
        identity,
        sealed(header, claims, lambda m: theirs.sign(m, padding.PKCS1v15(), hashes.SHA256())),
    )


async def test_a_point_off_the_curve_is_refused(store: MemoryStore, clock: FakeClock) -> None:
    # The token is bound to a key that does not exist, as a hostile `--jkt` could have it.
    off = {**CLIENT.public_jwk, "y": b64(b"\x01" * 32)}
    ghost = Key()
    ghost.public_jwk = off
    text = json.dumps(off, sort_keys=True, separators=(",", ":")).encode()
    jkt = b64(hashlib.sha256(text).digest())
    token = by_hand(header_of(KEY), claims_of(cnf={"jkt": jkt}), KEY)
    identity = identity_of(store, KEY, clock)
    error = await refused(identity, dpop(token, proof_for(token, ghost)))
    assert error.challenge == "invalid_dpop_proof"


async def test_an_access_token_is_no_proof(identity: Identity) -> None:
    await refused_proof(identity, BOUND)


async def test_a_claim_or_member_twice_is_refused(identity: Identity) -> None:
    header = json.dumps(proof_header(CLIENT)).encode()
    claims = json.dumps(proof_claims(BOUND)).encode()
    twice = b'{"htu":"https://evil.example/",' + claims[1:]
    await refused_proof(identity, sealed(header, twice, CLIENT.sign))
    twice = b'{"jwk":{},' + header[1:]
    await refused_proof(identity, sealed(twice, claims, CLIENT.sign))


async def test_no_refusal_repeats_the_proof(identity: Identity) -> None:
    marker = "s3cr3tmarker"
    for proof in (
        marker,
        proof_for(BOUND, CLIENT, jti=f"{marker} "),
        proof_for(BOUND, CLIENT, htu=f"https://{marker}.test/"),
        proof_for(BOUND, CLIENT, htm=marker),
        proof_for(BOUND, CLIENT, ath=marker),
        proof_for(BOUND, CLIENT, header={marker: marker}),
        proof_for(BOUND, CLIENT, header={"jwk": {marker: marker}}),
    ):
        credentials = dpop(BOUND, proof, url=f"{URL}?{marker}")
        error = await refused(identity, credentials)
        for text in (str(error), repr(error), identity.challenge_header(error), repr(credentials)):
            assert marker not in text
            assert BOUND not in text
