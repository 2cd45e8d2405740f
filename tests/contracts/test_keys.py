"""The contract of `services/ports/keys.py`, over keys in memory and keys in files.

Signers of every backend are in `test_signers.py`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from identity_kit import NOW
from joserfc.jwk import KeySet

from midflight.adapters.keys.aes import AesKeyWrap
from midflight.adapters.keys.ed25519 import Ed25519NoteSigner
from midflight.adapters.keys.es256 import OVERLAP_S, Es256TokenSigner
from midflight.adapters.keys.file import open_key_wrap, open_note_signer
from midflight.domain.checkpoint import parse_verifier_key
from midflight.domain.errors import Malformed, StoreUnavailable
from midflight.services.ports.keys import KeyWrap, NoteSigner, TokenSigner
from midflight.testing import FakeClock

NAME = "plane.example.test/ledger"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


@pytest.fixture
def signer(clock: FakeClock) -> Es256TokenSigner:
    return Es256TokenSigner.fresh(clock=clock)


@pytest.fixture(params=["memory", "file"])
def notes(request: pytest.FixtureRequest, tmp_path: Path) -> NoteSigner:
    if request.param == "memory":
        return Ed25519NoteSigner.fresh(name=NAME)
    return open_note_signer(tmp_path / "keys", origin=NAME)


@pytest.fixture(params=["memory", "file"])
def wraps(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], KeyWrap]:
    """Makes a wrap with a key of its own each time."""
    numbers = iter(range(10))

    def make() -> KeyWrap:
        if request.param == "memory":
            return AesKeyWrap.fresh()
        return open_key_wrap(tmp_path / f"keys{next(numbers)}")

    return make


def _verified(token: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """By another library than the one that signed."""
    kid = pyjwt.get_unverified_header(token)["kid"]
    (jwk,) = [jwk for jwk in jwks["keys"] if jwk["kid"] == kid]
    options: Any = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
    return pyjwt.decode(token, pyjwt.PyJWK(jwk), algorithms=["ES256"], options=options)


# TokenSigner


def test_what_is_signed_verifies_with_the_published_keys(signer: TokenSigner) -> None:
    token = signer.sign({"typ": "at+jwt"}, {"sub": "x", "n": [1, {"é": None}]})
    assert _verified(token, signer.public_jwks()) == {"sub": "x", "n": [1, {"é": None}]}
    assert pyjwt.get_unverified_header(token)["typ"] == "at+jwt"


def test_algorithm_and_key_id_are_the_signers(signer: TokenSigner) -> None:
    token = signer.sign({"typ": "x", "alg": "none", "kid": "theirs"}, {})
    header = pyjwt.get_unverified_header(token)
    assert header["alg"] == "ES256"
    assert header["kid"] == signer.public_jwks()["keys"][0]["kid"]


def test_published_keys_are_public_marked_and_named_by_thumbprint(signer: Es256TokenSigner) -> None:
    signer.rotate()
    signer.announce()
    jwks = signer.public_jwks()
    assert len(jwks["keys"]) == 3
    for jwk, key in zip(jwks["keys"], KeySet.import_key_set(jwks).keys, strict=True):
        assert set(jwk) == {"kty", "crv", "x", "y", "kid", "use", "alg"}
        assert jwk["kid"] == key.thumbprint()
        assert (jwk["use"], jwk["alg"]) == ("sig", "ES256")
        assert not key.is_private


def test_what_a_caller_does_to_the_published_set_changes_nothing(signer: TokenSigner) -> None:
    signer.public_jwks()["keys"][0]["x"] = "A" * 43
    signer.public_jwks()["keys"].clear()
    _verified(signer.sign({}, {}), signer.public_jwks())


def test_an_announced_key_is_published_before_it_signs(signer: Es256TokenSigner) -> None:
    before = signer.public_jwks()["keys"][0]["kid"]
    coming = signer.announce()
    assert signer.announce() == coming
    assert [jwk["kid"] for jwk in signer.public_jwks()["keys"]] == [before, coming]
    assert pyjwt.get_unverified_header(signer.sign({}, {}))["kid"] == before
    assert signer.rotate() == coming
    assert pyjwt.get_unverified_header(signer.sign({}, {}))["kid"] == coming


def test_a_retired_key_verifies_until_its_last_token_has_ended(
    signer: Es256TokenSigner, clock: FakeClock
) -> None:
    token = signer.sign({}, {"sub": "old"})
    signer.rotate()
    clock.advance(OVERLAP_S - 1)
    assert _verified(token, signer.public_jwks())["sub"] == "old"
    clock.advance(2)
    assert len(signer.public_jwks()["keys"]) == 1
    with pytest.raises(ValueError, match="not enough values"):
        _verified(token, signer.public_jwks())


def test_keys_retired_long_ago_are_forgotten(signer: Es256TokenSigner, clock: FakeClock) -> None:
    for _ in range(5):
        signer.rotate()
        clock.advance(OVERLAP_S + 1)
    signer.rotate()
    assert len(signer._keys.retired) == 1


def test_a_signers_repr_shows_ids_alone(signer: Es256TokenSigner) -> None:
    signer.announce()
    signer.rotate()
    secret = signer._keys.signing["d"]
    assert secret not in repr(signer) + repr(signer._keys) + repr(
        list(signer._keys.__rich_repr__())
    )


# NoteSigner


def test_a_note_verifies_with_the_published_key(notes: NoteSigner) -> None:
    name, hash_, encoded = notes.verifier_key().split("+", 2)
    raw = base64.b64decode(encoded, validate=True)
    assert name == notes.name == NAME
    assert raw[0] == 1
    # https://c2sp.org/signed-note: the key id is over name, newline, algorithm and key
    assert hashlib.sha256(name.encode() + b"\n" + raw).hexdigest()[:8] == hash_
    public = Ed25519PublicKey.from_public_bytes(raw[1:])
    public.verify(notes.sign(b"text\n"), b"text\n")
    with pytest.raises(InvalidSignature):
        public.verify(notes.sign(b"text\n"), b"texts\n")


def test_the_verifier_key_is_one_that_the_offline_verifier_reads(notes: NoteSigner) -> None:
    assert str(parse_verifier_key(notes.verifier_key())) == notes.verifier_key()


# KeyWrap


def test_a_wrapped_key_opens_under_its_id(wraps: Callable[[], KeyWrap]) -> None:
    wrap = wraps()
    key = bytes(range(32))
    wrapped = wrap.wrap(key, key_id="run_1")
    assert key not in wrapped
    assert wrap.unwrap(wrapped, key_id="run_1") == key
    assert wrap.wrap(key, key_id="run_1") != wrapped


def test_a_wrapped_key_opens_under_no_other_id_and_no_other_key(
    wraps: Callable[[], KeyWrap],
) -> None:
    wrap, other = wraps(), wraps()
    wrapped = wrap.wrap(bytes(32), key_id="run_1")
    for key_id in ("run_2", "", "run_1\0", "run_1 "):
        with pytest.raises(StoreUnavailable):
            wrap.unwrap(wrapped, key_id=key_id)
    with pytest.raises(StoreUnavailable, match="another wrapping key"):
        other.unwrap(wrapped, key_id="run_1")


def test_no_changed_byte_of_a_wrapped_key_goes_unnoticed(wraps: Callable[[], KeyWrap]) -> None:
    wrap = wraps()
    wrapped = wrap.wrap(bytes(32), key_id="k")
    for position in range(len(wrapped)):
        changed = bytearray(wrapped)
        changed[position] ^= 1
        with pytest.raises(StoreUnavailable):
            wrap.unwrap(bytes(changed), key_id="k")
    for cut in range(len(wrapped)):
        with pytest.raises(StoreUnavailable):
            wrap.unwrap(wrapped[:cut], key_id="k")
    with pytest.raises(StoreUnavailable):
        wrap.unwrap(wrapped + b"\0", key_id="k")


@given(st.binary(max_size=100))
def test_arbitrary_bytes_do_not_open(raw: bytes) -> None:
    with pytest.raises(StoreUnavailable):
        AesKeyWrap(bytes(32)).unwrap(raw, key_id="k")


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_only_whole_keys_are_wrapped(wraps: Callable[[], KeyWrap], length: int) -> None:
    with pytest.raises(Malformed):
        wraps().wrap(bytes(length), key_id="k")
