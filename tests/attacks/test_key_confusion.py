"""Keys read by others, swapped, weakened, put to another use: refused, and never used."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from identity_kit import NOW
from joserfc.jwk import ECKey
from key_kit import SomeRings

from midflight.adapters.keys.file_signer import FileKeySource, FileSigner
from midflight.adapters.keys.public_keys import proven, public_jwk
from midflight.adapters.keys.ring_files import RING_FILE
from midflight.domain import jose
from midflight.domain.errors import MidflightError, Misconfigured, Unauthenticated, Unavailable
from midflight.domain.key_ring import RingKey
from midflight.domain.security_event import SetRefused
from midflight.services.ports.key_rings import MadeKey
from midflight.services.ports.keys import Purpose, Signer
from midflight.testing import FakeClock
from midflight.wire import ssf, tokens

TWO = (Purpose.ACCESS_TOKEN, Purpose.JWT_SVID, Purpose.SET)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    SomeRings(tmp_path / "keys", clock=FakeClock(NOW), purposes=TWO).start()
    return tmp_path / "keys"


def started(directory: Path) -> SomeRings:
    return SomeRings(directory, clock=FakeClock(NOW), purposes=TWO).start()


def tamper(directory: Path, change: Callable[[dict[str, Any]], None]) -> str:
    """Change the rings on disk; what they hold then."""
    path = directory / RING_FILE
    stored = json.loads(path.read_bytes())
    change(stored["rings"])
    path.write_text(json.dumps(stored))
    return path.read_text()


def refused(directory: Path, *, match: str) -> Misconfigured:
    secrets = [
        key["handle"]["jwk"]["d"]
        for ring in json.loads((directory / RING_FILE).read_text())["rings"].values()
        for key in ring["keys"]
    ]
    with pytest.raises(Misconfigured) as caught:
        started(directory)
    told = f"{caught.value} {caught.value!r} {caught.value.problems} {caught.value.hint}"
    assert match in told
    assert not any(secret in told for secret in secrets)
    return caught.value


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o660])
def test_rings_that_others_can_read_are_refused(directory: Path, bits: int) -> None:
    (directory / RING_FILE).chmod(bits)
    assert "Replace the keys" in refused(directory, match="open to others").hint


def test_one_key_in_the_rings_of_two_purposes_is_refused(directory: Path) -> None:
    def copy(rings: dict[str, Any]) -> None:
        rings["jwt-svid"]["keys"] = rings["access-token"]["keys"]

    tamper(directory, copy)
    refused(directory, match="stands in more than one place")


def test_a_key_moved_to_another_purpose_is_refused(directory: Path) -> None:
    def swap(rings: dict[str, Any]) -> None:
        one, two = rings["access-token"], rings["jwt-svid"]
        rings["access-token"], rings["jwt-svid"] = two, one

    tamper(directory, swap)
    refused(directory, match="is not a key for access-token")


def test_private_halves_swapped_between_purposes_are_refused(directory: Path) -> None:
    def swap(rings: dict[str, Any]) -> None:
        one, two = rings["access-token"]["keys"][0], rings["jwt-svid"]["keys"][0]
        one["handle"], two["handle"] = two["handle"], one["handle"]

    tamper(directory, swap)
    refused(directory, match="is not that of the published one")


@pytest.mark.parametrize(
    "change",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"alg": "RS256"},
        {"alg": "ES384"},
        {"use": "enc"},
        {"use": "jwt-svid"},
        {"kid": "mine"},
        {"key_ops": ["sign"]},
        {"jku": "https://evil.example/jwks"},
        {"d": "AAAA"},
    ],
    ids=str,
)
def test_a_jwk_that_says_something_else_of_itself_is_refused(
    directory: Path, change: dict[str, Any]
) -> None:
    tamper(directory, lambda rings: rings["access-token"]["keys"][0]["jwk"].update(change))
    refused(directory, match="is not a key for access-token")


def _weak() -> tuple[Any, dict[str, Any]]:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    numbers = key.private_numbers()
    parts = {"n": numbers.public_numbers.n, "d": numbers.d}
    # By hand: joserfc warns of such a key, and warnings are errors here.
    stated = {name: jose.base64url(value.to_bytes(128, "big")) for name, value in parts.items()}
    return key, {"kty": "RSA", "e": "AQAB", **stated}


def _other_curve() -> tuple[Any, dict[str, Any]]:
    key = ec.generate_private_key(ec.SECP384R1())
    return key, dict(ECKey.import_key(key).as_dict(private=True))


@pytest.mark.parametrize(
    ("purpose", "make"), [(Purpose.SET, _weak), (Purpose.ACCESS_TOKEN, _other_curve)]
)
def test_a_weaker_or_another_kind_of_key_is_refused(
    directory: Path, purpose: Purpose, make: Callable[[], tuple[Any, dict[str, Any]]]
) -> None:
    key, jwk = make()
    with pytest.raises(Misconfigured):
        public_jwk(key.public_key(), purpose)
    with pytest.raises(Misconfigured):
        FileSigner(key, purpose)

    def replace(rings: dict[str, Any]) -> None:
        entry = rings[purpose.value]["keys"][0]
        public = {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}
        entry["handle"] = {"jwk": jwk}
        entry["jwk"] = {**public, "kid": entry["kid"], "use": "sig", "alg": purpose.algorithm}

    tamper(directory, replace)
    refused(directory, match=f"is not a key for {purpose.value}")


def test_a_withdrawn_key_that_is_put_back_is_refused(directory: Path) -> None:
    before = json.loads((directory / RING_FILE).read_bytes())["rings"]["access-token"]["keys"]
    rings = started(directory)
    rings.withdraw(before[0]["kid"])

    def restore(now: dict[str, Any]) -> None:
        now["access-token"]["keys"] = before

    tamper(directory, restore)
    refused(directory, match="was withdrawn and is back")


def test_a_token_of_another_purpose_is_no_access_token(directory: Path) -> None:
    rings = started(directory)
    header, claims = tokens.access_claims(
        issuer="https://i.example",
        resource="https://r.example",
        workload="spiffe://example.test/a",
        token="tok_1",
        issued_at=int(NOW),
        lifetime_s=600,
        run=None,
        thumbprint=None,
    )
    for purpose, mint in rings.mints.items():
        token = mint.sign(header, claims)

        def verify(token: str = token) -> str:
            return tokens.verify_access_token(
                token,
                jwks=rings.tokens.public_jwks(),
                issuer="https://i.example",
                resource="https://r.example",
                trust_domain_name="example.test",
                now=NOW,
            ).workload

        if purpose is Purpose.ACCESS_TOKEN:
            assert verify() == "spiffe://example.test/a"
        else:
            with pytest.raises(MidflightError):
                verify()


def test_a_header_cannot_choose_algorithm_or_key(directory: Path) -> None:
    rings = started(directory)
    token = rings.tokens.sign({"alg": "none", "kid": "theirs", "typ": "x"}, {})
    header = pyjwt.get_unverified_header(token)
    assert (header["alg"], header["kid"]) == ("ES256", rings.tokens.public_jwks()["keys"][0]["kid"])


class _Lying(FileKeySource):
    """A module that signs with another key than it was asked to, or with none."""

    def __init__(self, signature: Callable[[bytes], bytes]) -> None:
        self.signature = signature

    async def open(self, purpose: Purpose, key: RingKey) -> Signer:
        return await proven(_LyingSigner(key, purpose, self.signature), key, purpose)


class _LyingSigner:
    def __init__(self, key: RingKey, purpose: Purpose, signature: Callable[[bytes], bytes]) -> None:
        self.algorithm = purpose.algorithm
        self.public_jwk = key.jwk
        self._signature = signature

    async def sign(self, message: bytes) -> bytes:
        return self._signature(message)


OTHER = FileSigner.fresh(Purpose.ACCESS_TOKEN)


@pytest.mark.parametrize(
    "signature",
    [
        OTHER.sign_now,
        lambda _: bytes(64),  # CVE-2022-21449: r = s = 0 verifies with everything
        lambda _: b"",
        lambda message: OTHER.sign_now(message) + b"x",
        lambda message: base64.b64encode(OTHER.sign_now(message)),
    ],
)
def test_a_module_that_signs_with_another_key_never_signs_a_token(
    signature: Callable[[bytes], bytes],
) -> None:
    rings = SomeRings(
        clock=FakeClock(NOW),
        sources={"pkcs11": _Lying(signature)},
        backends={Purpose.ACCESS_TOKEN: "pkcs11"},
    )
    with pytest.raises(Misconfigured, match="not that of the published one"):
        rings.start()
    with pytest.raises(Unavailable):
        rings.tokens.sign({}, {})
    assert rings.tokens.public_jwks() == {"keys": []}


class _Failing(FileKeySource):
    """A service that has stopped to answer."""

    down = False

    async def make(self, purpose: Purpose) -> MadeKey:
        if self.down:
            raise Unavailable("The key service does not answer.")
        return await super().make(purpose)


def test_a_stolen_key_is_withdrawn_though_no_other_can_be_made() -> None:
    service = _Failing()
    rings = SomeRings(
        clock=FakeClock(NOW),
        sources={"transit": service},
        backends={Purpose.ACCESS_TOKEN: "transit"},
    ).start()
    gone: list[int] = []
    rings.rings.on_withdrawn(lambda: gone.append(1))
    (jwk,) = rings.tokens.public_jwks()["keys"]
    service.down = True
    assert rings.withdraw(jwk["kid"]) == ""
    assert gone == [1]
    assert rings.tokens.public_jwks() == {"keys": []}
    with pytest.raises(Unavailable, match="no key that signs"):
        rings.tokens.sign({}, {})
    with pytest.raises(Unavailable):
        rings.sweep()
    service.down = False
    rings.sweep()
    (new,) = rings.tokens.public_jwks()["keys"]
    assert new["kid"] != jwk["kid"]
    assert pyjwt.get_unverified_header(rings.tokens.sign({}, {}))["kid"] == new["kid"]


def test_a_withdrawal_by_one_process_reaches_the_other(directory: Path) -> None:
    one, two = started(directory), started(directory)
    gone: list[int] = []
    two.rings.on_withdrawn(lambda: gone.append(1))
    stolen = two.tokens.public_jwks()["keys"][0]["kid"]
    one.withdraw(stolen)
    asyncio.run(two.rings.sweep())
    assert gone == [1]
    assert stolen not in {jwk["kid"] for jwk in two.tokens.public_jwks()["keys"]}
    assert pyjwt.get_unverified_header(two.tokens.sign({}, {}))["kid"] != stolen


def test_the_key_of_sets_is_in_no_set_of_keys_of_tokens(directory: Path) -> None:
    """Whoever verifies our tokens with what is published verifies no SET by mistake."""
    rings = started(directory)
    of_sets = {key["kid"] for key in rings.rings.jwks(Purpose.SET)["keys"]}
    assert len(of_sets) == 1
    assert of_sets.isdisjoint(key["kid"] for key in rings.rings.published()["keys"])


def test_a_set_of_ours_is_no_access_token_and_a_token_is_no_set(directory: Path) -> None:
    rings = started(directory)
    claims: dict[str, Any] = {
        "iss": "https://a.example",
        "aud": "https://a.example/mcp",
        "sub": "spiffe://test.midflight.internal/a",
        "client_id": "x",
        "jti": "j",
        "iat": int(NOW),
        "exp": int(NOW) + 60,
    }
    made = rings.mints[Purpose.SET].sign({"typ": "secevent+jwt"}, claims)
    for jwks in (rings.rings.jwks(*Purpose), rings.rings.jwks(Purpose.SET)):
        with pytest.raises(Unauthenticated):
            tokens.verify_access_token(
                made,
                jwks=jwks,
                issuer="https://a.example",
                resource="https://a.example/mcp",
                trust_domain_name="test.midflight.internal",
                now=NOW,
            )
    event = {"https://schemas.openid.net/secevent/caep/event-type/session-revoked": {}}
    said = {
        **{name: claims[name] for name in ("iss", "aud", "jti", "iat")},
        "sub_id": {"format": "opaque", "id": "x"},
        "events": event,
    }
    for purpose, typ in (
        (Purpose.ACCESS_TOKEN, "secevent+jwt"),
        (Purpose.SET, "at+jwt"),
        (Purpose.SET, "JWT"),
    ):
        with pytest.raises(SetRefused):
            ssf.verify_set(
                rings.mints[purpose].sign({"typ": typ}, said),
                issuer="https://a.example",
                audience="https://a.example/mcp",
                jwks=rings.rings.jwks(*Purpose),
                now=NOW,
                max_age_s=60,
            )
    good = rings.mints[Purpose.SET].sign(ssf.HEADER, said)
    assert (
        ssf.verify_set(
            good,
            issuer="https://a.example",
            audience="https://a.example/mcp",
            jwks=rings.rings.jwks(Purpose.SET),
            now=NOW,
            max_age_s=60,
        ).jti
        == "j"
    )
