"""Signed webhooks beside a twin of the standard's own library, and any headers and bytes at all.

The twin decides as the reference implementation for Python does: it decodes signatures and compares
bytes, and takes what is written in other ways than the canonical one. So whatever we take it takes,
and what an honest sender signs both take.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import itertools
from collections.abc import Sequence

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import example, given
from hypothesis import strategies as st

from midflight.domain.errors import Misconfigured, Unauthenticated
from midflight.wire.webhook import (
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

NOW = 1_800_000_000
SECRET, OLD, STRANGE = (bytes([each]) * 32 for each in b"abc")
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key()
SIGNERS: dict[str, Signer] = {"v1": SECRET, "old": OLD, "v1a": PRIVATE, "strange": STRANGE}
KEYS = (Key(verifier=SECRET), Key(verifier=OLD, until=NOW), Key(verifier=PUBLIC))

IDS = st.from_regex(r"[!-\-/-~]{1,40}", fullmatch=True)
BODIES = st.binary(max_size=60)


def twin_takes(webhook: Webhook, body: bytes, keys: Sequence[Verifier], *, now: float) -> bool:
    """As the reference library decides, for several keys of both kinds."""
    if not all((webhook.id, webhook.timestamp, webhook.signature)):
        return False
    name, written, signatures = webhook.id[-1], webhook.timestamp[-1], webhook.signature[-1]
    try:
        at = float(written)
    except ValueError:
        return False
    if not name or not signatures or at < now - 300 or at > now + 300:
        return False
    signed = f"{name}.{written}.".encode("utf-8", "replace") + body
    return any(_holds(each, key, signed) for each in signatures.split(" ") for key in keys)


def _holds(each: str, key: Verifier, signed: bytes) -> bool:
    version, _, text = each.partition(",")
    try:
        raw = base64.b64decode(text)
    except (binascii.Error, ValueError):
        return False
    if version == "v1" and isinstance(key, bytes):
        return hmac.compare_digest(hmac.new(key, signed, hashlib.sha256).digest(), raw)
    if version == "v1a" and isinstance(key, Ed25519PublicKey):
        with contextlib.suppress(InvalidSignature):
            key.verify(raw, signed)
            return True
    return False


def sent(signers: Sequence[str], name: str, at: int, body: bytes) -> Webhook:
    headers = dict(sign([SIGNERS[each] for each in signers], message=name, at=at, body=body))
    return Webhook(
        id=(headers["webhook-id"],),
        timestamp=(headers["webhook-timestamp"],),
        signature=(headers["webhook-signature"],),
    )


def takes(webhook: Webhook, body: bytes, *, now: float = NOW) -> bool:
    try:
        verify(webhook, body, keys=KEYS, now=now)
    except Unauthenticated:
        return False
    return True


@given(
    st.lists(st.sampled_from(sorted(SIGNERS)), min_size=1, max_size=MAX_SIGNATURES),
    IDS,
    st.integers(-2 * TOLERANCE_S, 2 * TOLERANCE_S),
    BODIES,
    st.sampled_from([NOW - 1, NOW]),
)
def test_what_is_signed_honestly_both_take_by_the_keys_of_that_time(
    signers: list[str], name: str, off: int, body: bytes, now: int
) -> None:
    webhook = sent(signers, name, now + off, body)
    live = {"v1", "v1a", "old"} if now < NOW else {"v1", "v1a"}
    keys = [key.verifier for key in KEYS if key.until is None or now < key.until]
    expected = abs(off) <= TOLERANCE_S and bool(live & set(signers))
    assert takes(webhook, body, now=now) == expected
    assert twin_takes(webhook, body, keys, now=now) == expected


# One step away from an honest message: what replaces a part of a header, and where.
EDITS = st.tuples(
    st.sampled_from(["id", "timestamp", "signature", "body"]),
    st.integers(0, 200),
    st.integers(0, 3),
    st.text("0189Aa+/=., \n\x00é-v", max_size=4) | st.text(max_size=3),
)


@given(st.sampled_from(["v1", "v1a"]), IDS, BODIES, EDITS)
@example("v1", "msg_1", b"{}", ("timestamp", 10, 0, ".0"))
@example("v1", "msg_1", b"{}", ("signature", 200, 0, " v9,x"))
def test_whatever_we_take_the_twin_takes_and_it_is_what_was_signed(
    signer: str, name: str, body: bytes, edit: tuple[str, int, int, str]
) -> None:
    field, at, cut, put = edit
    honest = sent([signer], name, NOW, body)
    parts = {"id": honest.id[0], "timestamp": honest.timestamp[0], "signature": honest.signature[0]}
    if field == "body":
        after = body[:at] + put.encode("utf-8", "replace") + body[at + cut :]
    else:
        after = body
        text = parts[field]
        parts[field] = text[:at] + put + text[at + cut :]
    webhook = Webhook(
        id=(parts["id"],), timestamp=(parts["timestamp"],), signature=(parts["signature"],)
    )
    if takes(webhook, after):
        assert twin_takes(webhook, after, [SECRET, PUBLIC], now=NOW)
        # Nothing that is signed reads in two ways: what was taken is what was sent.
        assert (webhook.id, webhook.timestamp, after) == (honest.id, honest.timestamp, body)


@given(IDS, BODIES)
def test_no_part_moves_from_one_field_into_another(name: str, body: bytes) -> None:
    honest = sent(["v1"], name, NOW, body)
    whole = f"{name}.{NOW}.".encode() + body
    stops = [at for at, each in enumerate(whole) if each == ord(".")]
    for first, second in itertools.combinations(stops, 2):
        webhook = Webhook(
            id=(whole[:first].decode("latin-1"),),
            timestamp=(whole[first + 1 : second].decode("latin-1"),),
            signature=honest.signature,
        )
        is_as_sent = (first, second) == (len(name), len(f"{name}.{NOW}"))
        assert takes(webhook, whole[second + 1 :]) == is_as_sent


HEADER = st.lists(st.text(max_size=40) | st.just(str(NOW)) | st.just("v1,AAAA"), max_size=2).map(
    tuple
)


@given(HEADER, HEADER, HEADER, st.binary(max_size=60))
def test_any_headers_and_bytes_are_a_clean_refusal(
    name: tuple[str, ...], at: tuple[str, ...], signature: tuple[str, ...], body: bytes
) -> None:
    with pytest.raises(Unauthenticated):
        verify(Webhook(id=name, timestamp=at, signature=signature), body, keys=KEYS, now=NOW)


@given(st.sampled_from(["", "whsec_", "whsk_", "whpk_"]), st.binary(max_size=80) | st.text())
def test_any_text_is_a_key_or_is_refused_without_being_repeated(
    prefix: str, rest: bytes | str
) -> None:
    text = prefix + (base64.b64encode(rest).decode() if isinstance(rest, bytes) else rest)
    for read in (signing_key, verifying_key):
        try:
            read(text, named="x")
        except Misconfigured as error:
            assert len(text) < 12 or text not in str(error)  # noqa: PT017 -- most texts are refused, some are keys
