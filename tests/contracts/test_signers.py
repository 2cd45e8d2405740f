"""The contract of `KeySource` and `Signer`, over keys in files, in a module and in a service.

The module is SoftHSM and the service OpenBao; what is signed is verified by PyJWT.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt as pyjwt
import msgspec
import pkcs11
import pytest
from counterpart_kit import OpenBao, openbao
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from key_kit import Recording
from softhsm_kit import MISSING, SoftToken, installed, soft_token
from upstream_kit import certificate_for_localhost

from midflight.adapters.keys.file_signer import FileKeySource
from midflight.adapters.keys.jws_mint import JwsMint
from midflight.adapters.keys.pkcs11_keys import Pkcs11KeySource
from midflight.adapters.keys.ring_files import MemoryRings
from midflight.adapters.keys.transit_keys import TransitKeySource
from midflight.domain.errors import MidflightError, Misconfigured, Unavailable
from midflight.domain.key_ring import KeyState, RingKey
from midflight.services.key_rings import KeyRings
from midflight.services.ports.key_rings import KeySource, MadeKey
from midflight.services.ports.keys import Purpose
from midflight.testing import FakeClock
from midflight.testing.words import OPERATOR

pytestmark = pytest.mark.anyio
PURPOSES = list(Purpose)
BACKENDS = [
    "file",
    pytest.param(
        "pkcs11",
        marks=[pytest.mark.softhsm, pytest.mark.skipif(not installed(), reason=MISSING)],
    ),
    pytest.param("transit", marks=pytest.mark.openbao),
]


@pytest.fixture(scope="module")
def bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    with openbao(tmp_path_factory.mktemp("bao")) as server:
        server.call("POST", "sys/mounts/transit", {"type": "transit"})
        yield server


@pytest.fixture(scope="module")
def token() -> SoftToken:
    return soft_token()


def source_for(backend: str, request: pytest.FixtureRequest) -> KeySource:
    match backend:
        case "file":
            return FileKeySource()
        case "pkcs11":
            soft: SoftToken = request.getfixturevalue("token")
            return Pkcs11KeySource(module=soft.module, token=soft.label, pin=lambda: soft.pin)
        case _:
            server: OpenBao = request.getfixturevalue("bao")
            return TransitKeySource(url=server.url, token=lambda: server.token)


@pytest.fixture(params=BACKENDS)
async def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def source(backend: str, request: pytest.FixtureRequest) -> AsyncIterator[KeySource]:
    made = source_for(backend, request)
    yield made
    await made.close()


def ring_key(made: MadeKey, backend: str = "file") -> RingKey:
    return RingKey(
        kid=made.jwk["kid"],
        jwk=made.jwk,
        backend=backend,
        handle=made.handle,
        state=KeyState.CURRENT,
        since=0,
    )


def verified(token: str, jwk: dict[str, Any]) -> dict[str, Any]:
    key = pyjwt.PyJWK({**jwk, "use": "sig"})
    return pyjwt.decode(token, key, algorithms=[jwk["alg"]], options={"verify_exp": False})


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_what_is_signed_verifies_with_the_published_half_alone(
    source: KeySource, purpose: Purpose
) -> None:
    made = await source.make(purpose)
    signer = await source.open(purpose, ring_key(made))
    header = {"alg": signer.algorithm, "typ": "x", "kid": made.jwk["kid"]}
    parts = [json.dumps(part).encode() for part in (header, {"sub": "é", "n": 1})]
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(await signer.sign(text)).rstrip(b"=")
    assert verified((text + b"." + signature).decode(), made.jwk) == {"sub": "é", "n": 1}
    other = await source.make(purpose)
    with pytest.raises(pyjwt.InvalidSignatureError):
        verified((text + b"." + signature).decode(), other.jwk)


@pytest.mark.parametrize("purpose", PURPOSES)
async def test_the_published_half_says_what_it_is_for_and_nothing_private(
    source: KeySource, purpose: Purpose
) -> None:
    made = await source.make(purpose)
    members = {"kty", "n", "e"} if purpose is Purpose.SET else {"kty", "crv", "x", "y"}
    assert made.jwk.keys() == members | {"kid", "use", "alg"}
    assert made.jwk["alg"] == ("RS256" if purpose is Purpose.SET else "ES256")
    svids = {Purpose.JWT_SVID: "jwt-svid", Purpose.WIT_SVID: "wit-svid"}
    assert made.jwk["use"] == svids.get(purpose, "sig")
    signer = await source.open(purpose, ring_key(made))
    assert signer.public_jwk == made.jwk
    if purpose is Purpose.SET:
        assert len(base64.urlsafe_b64decode(made.jwk["n"] + "==")) >= 256


async def test_signatures_made_at_once_do_not_get_mixed_up(source: KeySource) -> None:
    rings = KeyRings(
        store=MemoryRings(), sources={"x": source}, backends=BY_X, clock=FakeClock(1_000)
    )
    rings.want(Purpose.ACCESS_TOKEN)
    await rings.start(Recording())
    mint = JwsMint(rings, Purpose.ACCESS_TOKEN)
    tokens = await asyncio.gather(*(mint.mint({"typ": "x"}, {"n": n}) for n in range(40)))
    (jwk,) = mint.public_jwks()["keys"]
    assert [verified(token, jwk)["n"] for token in tokens] == list(range(40))
    assert {pyjwt.get_unverified_header(token)["kid"] for token in tokens} == {jwk["kid"]}


async def test_a_private_half_in_place_of_another_is_refused(source: KeySource) -> None:
    mine, theirs = [await source.make(Purpose.ACCESS_TOKEN) for _ in range(2)]
    swapped = msgspec.structs.replace(ring_key(mine), handle=theirs.handle)
    with pytest.raises(Misconfigured):
        await source.open(Purpose.ACCESS_TOKEN, swapped)


async def test_a_key_made_for_another_purpose_is_refused(source: KeySource) -> None:
    made = await source.make(Purpose.JWT_SVID)
    for purpose in (Purpose.ACCESS_TOKEN, Purpose.SET, Purpose.CLIENT):
        with pytest.raises((Misconfigured, Unavailable)):
            await source.open(purpose, ring_key(made))


@pytest.mark.parametrize("change", [{"alg": "HS256"}, {"alg": "none"}, {"alg": "RS256"}, {"d": ""}])
async def test_a_jwk_that_says_otherwise_than_its_purpose_is_refused(
    source: KeySource, change: dict[str, str]
) -> None:
    made = await source.make(Purpose.ACCESS_TOKEN)
    changed = msgspec.structs.replace(made, jwk={**made.jwk, **change})
    with pytest.raises(Misconfigured):
        await source.open(Purpose.ACCESS_TOKEN, ring_key(changed))


async def test_what_is_discarded_signs_no_more(source: KeySource, backend: str) -> None:
    made = await source.make(Purpose.ACCESS_TOKEN)
    key = ring_key(made)
    await source.open(Purpose.ACCESS_TOKEN, key)
    await source.discard(key)
    await source.discard(key)  # again, and nothing is wrong
    if backend == "file":
        key = msgspec.structs.replace(key, handle={})  # as the ring that dropped it stands
    with pytest.raises(MidflightError):
        await source.open(Purpose.ACCESS_TOKEN, key)


@pytest.mark.parametrize(
    "handle", [{}, {"id": 7}, {"id": "zz"}, {"name": "../../sys/seal"}, {"jwk": 1}]
)
async def test_a_handle_that_names_nothing_is_refused_with_words(
    source: KeySource, handle: dict[str, Any]
) -> None:
    made = await source.make(Purpose.ACCESS_TOKEN)
    with pytest.raises(Misconfigured):
        await source.open(
            Purpose.ACCESS_TOKEN, msgspec.structs.replace(ring_key(made), handle=handle)
        )


async def test_rotated_rings_keep_what_was_signed_and_destroy_what_signed_it(
    source: KeySource,
) -> None:
    clock = FakeClock(1_000)
    rings = KeyRings(store=MemoryRings(), sources={"x": source}, backends=BY_X, clock=clock)
    rings.want(Purpose.ACCESS_TOKEN)
    await rings.start(Recording())
    mint = JwsMint(rings, Purpose.ACCESS_TOKEN)
    old = await mint.mint({}, {"n": 1})
    (before,) = mint.public_jwks()["keys"]
    (rotation,) = await rings.rotate(Purpose.ACCESS_TOKEN, author=OPERATOR)
    clock.advance(rotation.signs_from - 1_000)
    await rings.sweep()
    new = await mint.mint({}, {"n": 2})
    assert pyjwt.get_unverified_header(new)["kid"] == rotation.kid
    by_kid = {jwk["kid"]: jwk for jwk in mint.public_jwks()["keys"]}
    assert verified(old, by_kid[before["kid"]])["n"] == 1
    assert verified(new, by_kid[rotation.kid])["n"] == 2


BY_X = dict.fromkeys(Purpose, "x")


# What only some can suffer


@pytest.mark.softhsm
@pytest.mark.skipif(not installed(), reason=MISSING)
class TestModule:
    async def test_the_private_half_cannot_be_read(self, token: SoftToken) -> None:
        source = Pkcs11KeySource(module=token.module, token=token.label, pin=lambda: token.pin)
        made = await source.make(Purpose.ACCESS_TOKEN)
        id_ = bytes.fromhex(made.handle["id"])

        def read(session: Any) -> None:
            (key,) = session.get_objects(
                {
                    pkcs11.Attribute.ID: id_,
                    pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY,
                }
            )
            assert key[pkcs11.Attribute.SENSITIVE]
            assert not key[pkcs11.Attribute.EXTRACTABLE]
            assert key[pkcs11.Attribute.NEVER_EXTRACTABLE]
            with pytest.raises(pkcs11.AttributeSensitive):
                key[pkcs11.Attribute.VALUE]

        await source._do(read)
        await source.close()

    async def test_a_module_that_was_reset_is_opened_again(self, token: SoftToken) -> None:
        source = Pkcs11KeySource(module=token.module, token=token.label, pin=lambda: token.pin)
        made = await source.make(Purpose.ACCESS_TOKEN)
        signer = await source.open(Purpose.ACCESS_TOKEN, ring_key(made))
        # Every session of the process is gone. In a thread of its own, as all that the module does:
        # it leaves OpenSSL's errors in the thread's queue, where the next TLS would take them up.
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(pkcs11.lib(str(token.module)).reinitialize).result()
        assert len(await signer.sign(b"x")) == 64
        await source.close()

    async def test_the_errors_it_leaves_to_openssl_reach_no_tls(
        self, token: SoftToken, tmp_path: Path
    ) -> None:
        pem = certificate_for_localhost(tmp_path).read_bytes()
        der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        source = Pkcs11KeySource(module=token.module, token=token.label, pin=lambda: token.pin)
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(pkcs11.lib(str(token.module)).finalize).result()
        await source.make(Purpose.ACCESS_TOKEN)  # starts the module again
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=der)
        await source.close()

    async def test_a_wrong_pin_is_told_and_not_repeated(self, token: SoftToken) -> None:
        asked: list[int] = []

        def pin() -> str:
            asked.append(1)
            return "s3cr3tpin"

        source = Pkcs11KeySource(module=token.module, token=token.label, pin=pin)
        with pytest.raises(Misconfigured, match="PIN") as caught:
            await source.make(Purpose.ACCESS_TOKEN)
        assert asked == [1]  # a second try would lock the token sooner
        assert "s3cr3tpin" not in f"{caught.value!r} {caught.value} {caught.value.hint}"
        await source.close()

    async def test_a_token_or_module_that_is_not_there_is_told(
        self, token: SoftToken, tmp_path: Path
    ) -> None:
        source = Pkcs11KeySource(module=token.module, token="other", pin=lambda: token.pin)
        with pytest.raises(Unavailable, match="other"):
            await source.make(Purpose.ACCESS_TOKEN)
        none = Pkcs11KeySource(module=tmp_path / "no.so", token="x", pin=lambda: "x")
        with pytest.raises(Misconfigured, match="loaded"):
            await none.make(Purpose.ACCESS_TOKEN)
        await source.close()


@pytest.mark.openbao
class TestService:
    async def test_its_keys_cannot_be_exported(self, bao: OpenBao) -> None:
        source = TransitKeySource(url=bao.url, token=lambda: bao.token)
        made = await source.make(Purpose.ACCESS_TOKEN)
        name = made.handle["name"]
        assert bao.ask("GET", f"transit/export/signing-key/{name}").status_code >= 400
        assert bao.ask("GET", f"transit/backup/{name}").status_code >= 400
        await source.close()

    async def test_the_named_policy_is_enough_and_its_token_is_never_told(
        self, bao: OpenBao
    ) -> None:
        rules = """
        path "transit/keys/midflight-*" { capabilities = ["create", "read", "update", "delete"] }
        path "transit/sign/midflight-*" { capabilities = ["update"] }
        """
        bao.call("PUT", "sys/policies/acl/midflight", {"policy": rules})
        made = bao.call("POST", "auth/token/create", {"policies": ["midflight"]})
        token = made["auth"]["client_token"]
        source = TransitKeySource(url=bao.url, token=lambda: token)
        key = ring_key(await source.make(Purpose.SET))
        signer = await source.open(Purpose.SET, key)
        await source.discard(key)
        with pytest.raises(MidflightError):
            await signer.sign(b"x")
        bao.call("POST", "auth/token/revoke", {"token": token})
        with pytest.raises(Unavailable, match="does not accept") as caught:
            await source.make(Purpose.ACCESS_TOKEN)
        assert token not in f"{caught.value!r} {caught.value} {caught.value.hint}"
        await source.close()

    async def test_one_that_is_away_is_unavailable(self, bao: OpenBao) -> None:
        source = TransitKeySource(url="http://127.0.0.1:1", token=lambda: "t0k3n")
        with pytest.raises(Unavailable, match="does not answer") as caught:
            await source.make(Purpose.ACCESS_TOKEN)
        assert "t0k3n" not in f"{caught.value!r} {caught.value}"
        await source.close()
        absent = TransitKeySource(url=bao.url, token=lambda: bao.token, mount="nothing")
        with pytest.raises(Misconfigured, match="no such engine"):
            await absent.make(Purpose.ACCESS_TOKEN)
        await absent.close()
