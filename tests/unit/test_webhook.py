"""Signed webhooks: the vectors of the standard, keys and their ends, and what is not canonical."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.errors import Malformed, Misconfigured, Unauthenticated
from midflight.wire.signals import decode_signal
from midflight.wire.webhook import (
    MAX_SIGNATURE_HEADER,
    MAX_SIGNATURES,
    TOLERANCE_S,
    Key,
    Signer,
    Verifier,
    Webhook,
    sign,
    signing_key,
    verify,
    verifying_key,
)

# The example that the libraries of Standard Webhooks are tested with.
TEXT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET = verifying_key(TEXT, named="x")
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = 1_614_265_330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def written(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()


def webhook(signature: str = SIGNATURE, *, at: str = str(AT)) -> Webhook:
    return Webhook(id=(ID,), timestamp=(at,), signature=(signature,))


def keys(*verifiers: Verifier) -> list[Key]:
    return [Key(verifier=verifier) for verifier in verifiers]


def signature(*signers: Signer) -> str:
    return dict(sign(signers, message=ID, at=AT, body=BODY))["webhook-signature"]


def test_the_vector_of_the_standard_holds_and_is_what_we_make() -> None:
    sent = verify(webhook(), BODY, keys=keys(SECRET), now=AT + 10.0)
    assert (sent.id, sent.until) == (ID, AT + 2 * TOLERANCE_S)
    assert sign([signing_key(TEXT, named="x")], message=ID, at=AT, body=BODY) == (
        ("webhook-id", ID),
        ("webhook-timestamp", str(AT)),
        ("webhook-signature", SIGNATURE),
    )
    assert ID not in repr(sent)
    assert SIGNATURE not in repr(webhook())
    assert repr(keys(SECRET)) == "[Key(until=None)]"


@pytest.mark.parametrize("off", [-TOLERANCE_S - 1, TOLERANCE_S + 1])
def test_it_holds_for_five_minutes_either_way(off: int) -> None:
    edge = off + 1 if off < 0 else off - 1
    verify(webhook(), BODY, keys=keys(SECRET), now=float(AT + edge))
    with pytest.raises(Unauthenticated, match="too old"):
        verify(webhook(), BODY, keys=keys(SECRET), now=float(AT + off))


def test_any_of_several_keys_and_any_of_several_signatures_holds() -> None:
    other = bytes(range(32))
    for signers in ([other, SECRET], [SECRET, other], [PRIVATE, SECRET], [SECRET, PRIVATE]):
        several = signature(*(s for s in signers if isinstance(s, (bytes, Ed25519PrivateKey))))
        for known in ([SECRET], [other, SECRET], [PRIVATE.public_key(), SECRET]):
            assert verify(webhook(several), BODY, keys=keys(*known), now=AT).id == ID


def test_a_key_holds_until_its_end() -> None:
    old = bytes(range(32))
    both = [Key(verifier=SECRET), Key(verifier=old, until=AT)]
    verify(webhook(signature(old)), BODY, keys=both, now=AT - 0.1)
    for late in (0.0, 1.0, TOLERANCE_S):
        with pytest.raises(Unauthenticated, match="does not hold"):
            verify(webhook(signature(old)), BODY, keys=both, now=AT + late)
        verify(webhook(), BODY, keys=both, now=AT + late)


def test_a_private_key_is_a_seed_and_may_carry_its_own_public_half() -> None:
    seed, public = PRIVATE.private_bytes_raw(), PRIVATE.public_key().public_bytes_raw()
    for raw in (seed, seed + public):
        key = signing_key(written("whsk_", raw), named="x")
        assert isinstance(key, Ed25519PrivateKey)
        assert key.private_bytes_raw() == seed
    # Signing with a public half that is not one's own gives the private key away.
    with pytest.raises(Misconfigured, match="its own public half"):
        signing_key(written("whsk_", seed + bytes(32)), named="x")


@pytest.mark.parametrize("read", [signing_key, verifying_key])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsk_",
        "whpk_",
        TEXT.removeprefix("whsec_"),
        TEXT.upper(),
        "whsec_short===",
        written("whsec_", bytes(23)),
        written("whsec_", bytes(65)),
        TEXT[:-1] + "!",
        TEXT + "\n",
        # Another text for the same bytes.
        written("whsec_", bytes(31)) + "=",
        "whsec_" + "A" * 41 + "B=",
        written("whpk_", bytes(31)),
        written("whsk_", bytes(33)),
        # The other way round: what signs does not verify, and the other way.
        "other",
    ],
)
def test_a_key_that_is_none_is_said_by_its_setting_and_without_it(
    read: Callable[..., Signer | Verifier], text: str
) -> None:
    if text == "other":
        text = written("whpk_" if read is signing_key else "whsk_", bytes(range(32)))
    with pytest.raises(Misconfigured) as caught:
        read(text, named="hooks.x.secret (env:X)")
    assert str(caught.value).startswith("hooks.x.secret (env:X) is not wh")
    assert len(text) < 10 or text[6:] not in str(caught.value)


def double(x: int, y: int) -> tuple[int, int]:
    """A point of edwards25519 and itself (RFC 8032 §5.1.4, the complete law, affine)."""
    p = 2**255 - 19
    d = -121665 * pow(121666, p - 2, p) % p
    both = d * x * x * y * y % p
    return (
        2 * x * y * pow(1 + both, p - 2, p) % p,
        (y * y + x * x) * pow(1 - both, p - 2, p) % p,
    )


def low_heights() -> set[int]:
    """The heights of the points whose eightfold is the neutral one, by halving (0, -1) twice."""
    p = 2**255 - 19
    root = pow(2, (p - 1) // 4, p)  # of -1: the x of the points of order four
    d = -121665 * pow(121666, p - 2, p) % p
    # Doubling gives height 0 where x² = -y², which the curve turns into d·y⁴ + 2·y² - 1 = 0.
    found = {1, p - 1, 0}
    discriminant = (1 + d) % p
    square = pow(discriminant, (p + 3) // 8, p)
    if square * square % p != discriminant:
        square = square * root % p
    assert square * square % p == discriminant
    for sign_ in (1, -1):
        y2 = (-1 + sign_ * square) * pow(d, p - 2, p) % p
        y = pow(y2, (p + 3) // 8, p)
        if y * y % p != y2:
            y = y * root % p
        if y * y % p != y2:
            continue
        x = root * y % p
        assert double(*double(*double(x, y))) == (0, 1)
        found |= {y, p - y}
    return found


def test_a_public_key_that_signatures_can_be_made_for_without_the_private_one_is_none() -> None:
    p = 2**255 - 19
    heights = low_heights()
    assert len(heights) == 5
    for height in (*heights, p, p + 1):
        for sign_bit in (0, 1 << 255):
            raw = (height | sign_bit).to_bytes(32, "little")
            with pytest.raises(Misconfigured):
                verifying_key(written("whpk_", raw), named="x")
    good = PRIVATE.public_key().public_bytes_raw()
    assert verifying_key(written("whpk_", good), named="x") == PRIVATE.public_key()


def test_a_public_key_is_no_secret() -> None:
    # Signed with what everybody may know, as if it were a shared secret.
    public = PRIVATE.public_key()
    forged = signature(public.public_bytes_raw())
    for version in ("v1", "v1a"):
        with pytest.raises(Unauthenticated):
            verify(webhook(f"{version},{forged[3:]}"), BODY, keys=keys(public), now=AT)
    # Nor is a good signature one of another version.
    for good, version in ((signature(PRIVATE), "v1"), (SIGNATURE, "v1a"), (SIGNATURE, "v2")):
        text = good.partition(",")[2]
        with pytest.raises(Unauthenticated):
            verify(webhook(f"{version},{text}"), BODY, keys=keys(public, SECRET), now=AT)


def test_another_text_for_the_same_signature_is_none() -> None:
    for good, key in ((SIGNATURE, SECRET), (signature(PRIVATE), PRIVATE.public_key())):
        verify(webhook(good), BODY, keys=keys(key), now=AT)
        last = good.rstrip("=")[-1]
        others = [good.rstrip("="), good + "=", f" {good}\t", good.replace(",", ", ")]
        others.append(good.rstrip("=")[:-1] + chr(ord(last) + 1) + "=" * good.count("="))
        for other in others:
            with pytest.raises(Unauthenticated):
                verify(webhook(other), BODY, keys=keys(key), now=AT)


def test_a_flood_of_signatures_is_not_gone_through() -> None:
    junk = ["v1,AAAA"] * (MAX_SIGNATURES - 1)
    verify(webhook(" ".join([*junk, SIGNATURE])), BODY, keys=keys(SECRET), now=AT)
    with pytest.raises(Unauthenticated, match="more than 8"):
        verify(webhook(" ".join([SIGNATURE, "", *junk])), BODY, keys=keys(SECRET), now=AT)
    padded = f"{SIGNATURE} v9,{'A' * MAX_SIGNATURE_HEADER}"
    with pytest.raises(Unauthenticated, match="webhook-signature"):
        verify(webhook(padded), BODY, keys=keys(SECRET), now=AT)
    eight = signature(*[PRIVATE] * MAX_SIGNATURES)
    assert len(eight) <= MAX_SIGNATURE_HEADER
    verify(webhook(eight), BODY, keys=keys(PRIVATE.public_key()), now=AT)


@pytest.mark.parametrize(("message", "at"), [("", AT), ("a.b", AT), ("a b", AT), (ID, 0), (ID, -1)])
def test_nothing_is_signed_that_a_receiver_would_read_in_two_ways(message: str, at: int) -> None:
    with pytest.raises(Malformed):
        sign([bytes(32)], message=message, at=at, body=BODY)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_any_body_is_a_signal_or_a_clean_error(body: bytes) -> None:
    with pytest.raises(Malformed):
        decode_signal(body)
