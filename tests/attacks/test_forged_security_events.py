"""Forged, altered, confused and stale security events revoke nothing, and are recorded."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from identity_kit import Key, b64, by_hand
from outside_kit import RsaKey
from set_kit import CAEP, HERE, IDP, REVOKED, Listening, claims_of, idp_key, listening, row, set_of

from gateways import AGENT, OPERATOR
from midflight.domain.errors import Unauthenticated
from midflight.domain.outside_token import Profile
from midflight.domain.records import Observed
from midflight.wire import tokens

pytestmark = pytest.mark.anyio


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Listening]:
    async with listening(tmp_path) as running:
        yield running


async def refused(here: Listening, text: str, err: str) -> None:
    answer = await here.push(text)
    assert answer.status_code == 400, answer.text
    assert answer.json()["err"] == err
    assert here.revoked() == []
    assert await here.plane.parts.store.last_ssf_sets("idp", limit=9) == []


async def test_a_set_without_a_signature_or_signed_with_the_public_key(here: Listening) -> None:
    claims = json.dumps(claims_of()).encode()
    bare = b64(json.dumps({"typ": "secevent+jwt", "alg": "none"}).encode())
    await refused(here, f"{bare}.{b64(claims)}.", "invalid_request")
    await refused(here, f"{bare}.{b64(claims)}.AAAA", "invalid_key")
    pem = (
        idp_key()
        .private.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    header = {"typ": "secevent+jwt", "alg": "HS256", "kid": idp_key().jkt}
    text = f"{b64(json.dumps(header).encode())}.{b64(claims)}"
    signed = b64(hmac.new(pem, text.encode(), hashlib.sha256).digest())
    await refused(here, f"{text}.{signed}", "invalid_key")


async def test_a_set_of_another_key_or_algorithm(here: Listening) -> None:
    await refused(here, set_of(key=RsaKey()), "invalid_key")
    pss = idp_key().with_scheme("PS256")
    await refused(here, set_of(key=pss, alg="PS256"), "invalid_key")
    ours = Key()
    header = {"typ": "secevent+jwt", "alg": "ES256", "kid": idp_key().jkt}
    await refused(here, by_hand(header, claims_of(), ours), "invalid_key")
    await refused(here, set_of(kid="another"), "invalid_key")
    await refused(here, set_of(kid=...), "invalid_key")


async def test_a_key_that_comes_along(here: Listening) -> None:
    mine = RsaKey()
    for more in (
        {"jwk": mine.public_jwk},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example/x"},
        {"crit": ["b64"], "b64": False},
    ):
        await refused(here, set_of(key=mine, **more), "invalid_request")


async def test_a_weak_key_of_the_issuer_itself(tmp_path: Path) -> None:
    weak = RsaKey(1_024)
    keys = tmp_path / "weak.jwks"
    jwk = {**weak.public_jwk, "kid": "weak", "use": "sig", "alg": "RS256"}
    section = row(tmp_path)
    keys.write_text(json.dumps({"keys": [jwk]}))
    async with listening(tmp_path, {**section, "jwks_file": keys}) as here:
        header = {"typ": "secevent+jwt", "alg": "RS256", "kid": "weak"}
        await refused(here, by_hand(header, claims_of(), weak), "invalid_key")


async def test_a_token_of_another_type_is_no_set(here: Listening) -> None:
    for kind in ("JWT", "jwt", "at+jwt", "logout+jwt", "SECEVENT+JWT", "", ...):
        await refused(here, set_of(typ=kind), "invalid_request")


async def test_claims_that_belong_to_another_issuer_receiver_or_kind_of_token(
    here: Listening,
) -> None:
    for changes, err in (
        ({"iss": "https://evil.example"}, "invalid_issuer"),
        ({"iss": ...}, "invalid_issuer"),
        ({"aud": "https://other.example"}, "invalid_audience"),
        ({"aud": []}, "invalid_audience"),
        ({"aud": ...}, "invalid_audience"),
        ({"aud": {"x": 1}}, "invalid_audience"),
        ({"sub": AGENT}, "invalid_request"),
        ({"exp": int(time.time()) + 60}, "invalid_request"),
        ({"events": {}}, "invalid_request"),
        ({"events": {REVOKED: {}, CAEP + "session-established": {}}}, "invalid_request"),
        ({"events": {REVOKED: []}}, "invalid_request"),
        ({"events": [REVOKED]}, "invalid_request"),
        ({"events": ...}, "invalid_request"),
        ({"sub_id": ...}, "invalid_request"),
        ({"sub_id": {"format": "iss_sub"}}, "invalid_request"),
        ({"sub_id": AGENT}, "invalid_request"),
        ({"jti": ...}, "invalid_request"),
        ({"jti": ""}, "invalid_request"),
        ({"jti": 1}, "invalid_request"),
    ):
        await refused(here, set_of(claims_of(**changes)), err)


async def test_a_set_that_is_old_or_of_the_future(here: Listening) -> None:
    now = int(time.time())
    for issued in (now - 8 * 86_400, now + 300, 0, "1", True, None, ...):
        await refused(here, set_of(claims_of(iat=issued)), "invalid_request")


async def test_a_member_that_stands_twice(here: Listening) -> None:
    claims = json.dumps(claims_of())
    twice = claims[:-1] + ', "iss": "https://idp.example.org"}'
    header = json.dumps({"typ": "secevent+jwt", "alg": "RS256", "kid": idp_key().jkt})
    text = f"{b64(header.encode())}.{b64(twice.encode())}"
    await refused(here, f"{text}.{b64(idp_key().sign(text.encode()))}", "invalid_request")


async def test_a_set_that_was_altered_on_its_way(here: Listening) -> None:
    header, payload, signature = set_of().split(".")
    other = b64(json.dumps(claims_of()).encode())
    await refused(here, f"{header}.{other}.{signature}", "invalid_key")
    await refused(here, f"{header}.{payload}.{signature[:-4]}AAAA", "invalid_key")
    await refused(here, f"{header}.{payload}.{signature}=", "invalid_request")


async def test_a_set_that_is_replayed_after_the_revocation_was_lifted(here: Listening) -> None:
    text = set_of()
    assert (await here.push(text)).status_code == 202
    (only,) = here.plane.interruption.listing()
    await here.plane.interruption.lift(only.id, reason="a mistake", author=OPERATOR)
    assert (await here.push(text)).status_code == 202
    assert here.revoked() == []
    assert len(await here.plane.parts.store.revocations()) == 2


async def test_a_name_of_one_format_is_nobody_of_another(tmp_path: Path) -> None:
    """Who may choose his `sub` there calls himself as another one's address is."""
    names = {
        "ann@example.org": "owner ann",
        "sub bob@example.org": "owner bob",
        "opaque cat": "owner cat",
        "dan": "owner dan",
    }
    async with listening(tmp_path, row(tmp_path, names=names)) as here:

        async def reached(**sub_id: str) -> list[str]:
            assert (await here.push(set_of(claims_of(sub_id=sub_id)))).status_code == 202
            found = [scope for scope, _, _ in here.revoked()]
            for each in here.plane.interruption.listing():
                await here.plane.interruption.lift(each.id, reason="next", author=OPERATOR)
            return found

        for name in ("ann@example.org", "email ann@example.org"):
            assert await reached(format="iss_sub", iss=IDP, sub=name) == []
            assert await reached(format="opaque", id=name) == []
        assert await reached(format="email", email="bob@example.org") == []
        assert await reached(format="opaque", id="sub bob@example.org") == []
        assert await reached(format="iss_sub", iss=IDP, sub="cat") == []
        assert await reached(format="email", email="ann@example.org") == ["owner ann"]
        assert await reached(format="iss_sub", iss=IDP, sub="bob@example.org") == ["owner bob"]
        assert await reached(format="iss_sub", iss=HERE, sub="bob@example.org") == []
        assert await reached(format="opaque", id="cat") == ["owner cat"]
        assert await reached(format="opaque", id="dan") == ["owner dan"]
        assert await reached(format="iss_sub", iss=IDP, sub="dan") == ["owner dan"]


async def test_every_refusal_is_recorded(here: Listening) -> None:
    await here.push(set_of(typ="JWT"))
    await here.push(secret="guess")
    seen = [each.details["why"] for each in await here.records(Observed)]
    assert any("typ of the SET" in why for why in seen)
    assert any("not known by this Authorization" in why for why in seen)


async def test_a_set_is_no_token_of_any_other_kind(here: Listening) -> None:
    """SSF 1.0 §4.1.3: what is signed as a SET opens nothing."""
    text = set_of(claims_of(sub=AGENT, exp=int(time.time()) + 60))
    answer = await here.http.post(
        f"{here.url}/mcp", json={}, headers={"authorization": f"Bearer {text}"}
    )
    assert answer.status_code == 401
    profile = Profile(
        kind="CI token",
        issuer="https://idp.example.org",
        audience="https://midflight.example.org",
        algorithms=("RS256",),
        types=("JWT", None),
    )
    jwk = {**idp_key().public_jwk, "kid": idp_key().jkt}
    with pytest.raises(Unauthenticated):
        tokens.verify(text, profile=profile, jwks={"keys": [jwk]}, now=time.time())
