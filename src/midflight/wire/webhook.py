"""Signed webhooks as Standard Webhooks 1.0.0 has them, both ways: who sent a body, and when.

    webhook-id: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W
    webhook-timestamp: 1674087231
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=

Signed is `ID.TIMESTAMP.BODY`, so neither of the first two has a full stop inside. `v1` is
HMAC-SHA256 with a secret of 24 to 64 bytes (`whsec_` and base64), `v1a` Ed25519 with a private key
(`whsk_`) whose public half verifies (`whpk_`). Several signatures stand with spaces between them
while keys are changed; of another version they are passed over. Source: the specification at
standardwebhooks.com, "Signature scheme", "Webhook headers" and "Verifying signatures".

Stricter than it asks: what stands twice, is longer than any sender needs or is not written the one
canonical way is refused. Whether an id was seen before is for the caller to find out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from midflight.domain.errors import Malformed, Misconfigured, Unauthenticated
from midflight.domain.value import Discreet

TOLERANCE_S = 300
"""How far the timestamp may be from now, either way."""
MAX_ID = 256
MAX_SIGNATURES = 8
MAX_SIGNATURE_HEADER = 1_024
"""Characters; eight signatures by Ed25519 are 743."""
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret."""
SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
"""What the three kinds of keys begin with."""

_ID = re.compile(rf"[\x21-\x2d\x2f-\x7e]{{1,{MAX_ID}}}\Z")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,11}\Z")
_P = 2**255 - 19
# The heights (y) of the eight points under which anybody can make signatures that hold for some
# bodies: their multiples are at most eight. tests/unit/test_webhook.py computes them anew.
_EIGHTH = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
_LOW = frozenset({0, 1, _P - 1, _EIGHTH, _P - _EIGHTH})

Signer: TypeAlias = bytes | Ed25519PrivateKey
Verifier: TypeAlias = bytes | Ed25519PublicKey


class Key(Discreet):
    """What a sender's signatures are verified by; `until` is the Unix second at which it ends."""

    shown = ("until",)

    verifier: Verifier
    until: int | None = None


class Webhook(Discreet):
    """The three headers of a webhook, each as it came: once, or not."""

    id: tuple[str, ...]
    timestamp: tuple[str, ...]
    signature: tuple[str, ...]


class Sent(Discreet):
    """A webhook whose signature holds.

    Attributes:
        id: of the message; the same when it is sent again.
        until: Unix seconds after which this message could not be accepted again.
    """

    shown = ("until",)

    id: str
    until: int


def signing_key(text: str, *, named: str) -> Signer:
    """The key in `whsec_…` or `whsk_…` (a seed of 32 bytes, or the seed and its public half).

    Raises:
        Misconfigured: it is none. `named` is how the message calls it; it holds no part of it.
    """
    if not text.startswith(PRIVATE):
        return _secret(text, named=named, other=f"{PRIVATE} and that of an Ed25519 seed")
    raw = _base64(text.removeprefix(PRIVATE))
    if len(raw) not in (32, 64):
        raise _no_key(named, f"{PRIVATE} and the base64 of 32 or 64 bytes")
    key = Ed25519PrivateKey.from_private_bytes(raw[:32])
    if raw[32:] not in (b"", key.public_key().public_bytes_raw()):
        raise _no_key(named, f"{PRIVATE} and a seed with its own public half")
    return key


def verifying_key(text: str, *, named: str) -> Verifier:
    """The key in `whsec_…` or `whpk_…`. Raises as `signing_key`."""
    if not text.startswith(PUBLIC):
        return _secret(text, named=named, other=f"{PUBLIC} and that of an Ed25519 public key")
    raw = _base64(text.removeprefix(PUBLIC))
    height = int.from_bytes(raw, "little") & (2**255 - 1)
    if len(raw) != 32 or height >= _P or height in _LOW:
        raise _no_key(named, f"{PUBLIC} and the base64 of an Ed25519 public key")
    return Ed25519PublicKey.from_public_bytes(raw)


def verify(webhook: Webhook, body: bytes, *, keys: Sequence[Key], now: float) -> Sent:
    """The only door for signed webhooks.

    The form of the headers is looked at first, then the signature, and then the time: whoever
    cannot sign learns nothing of our clock.

    Args:
        webhook: its headers.
        body: as it came, before it is read.
        keys: any of which may have signed it, if it has not ended.
        now: Unix seconds.

    Raises:
        Unauthenticated: it does not hold. The message says no more than which header to look at.
    """
    name = _one(webhook.id, "webhook-id", _ID)
    written = _one(webhook.timestamp, "webhook-timestamp", _TIMESTAMP)
    given = _signatures(webhook.signature)
    signed = f"{name}.{written}.".encode("ascii") + body
    holds = False
    for key in keys:
        # All keys and all signatures: nothing says which was nearly right, or which has ended.
        is_live = key.until is None or now < key.until
        holds |= _holds(key.verifier, given, signed) and is_live
    if not holds:
        raise _refused("The signature of the webhook does not hold.")
    at = int(written)
    if abs(now - at) > TOLERANCE_S:
        raise _refused("The webhook is too old or from the future.", hint="Compare the clocks.")
    # Acceptable until its timestamp and the tolerance; as much again for clocks that step.
    return Sent(id=name, until=at + 2 * TOLERANCE_S)


def sign(
    keys: Sequence[Signer], *, message: str, at: int, body: bytes
) -> tuple[tuple[str, str], ...]:
    """The three headers of a message, signed by each of the keys.

    Raises:
        Malformed: `message` or `at` is nothing that a receiver would take.
    """
    if _ID.match(message) is None or _TIMESTAMP.match(str(at)) is None:
        raise Malformed("A webhook is sent under an id without full stops, and at a time.")
    signed = f"{message}.{at}.".encode("ascii") + body
    return (
        ("webhook-id", message),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", " ".join(_signature(key, signed) for key in keys)),
    )


def _signature(key: Signer, signed: bytes) -> str:
    if isinstance(key, bytes):
        return f"v1,{_written(hmac.digest(key, signed, hashlib.sha256))}"
    return f"v1a,{_written(key.sign(signed))}"


def _holds(key: Verifier, given: Sequence[tuple[str, str]], signed: bytes) -> bool:
    holds = False
    if isinstance(key, bytes):
        expected = _written(hmac.digest(key, signed, hashlib.sha256)).encode()
        for version, value in given:
            holds |= hmac.compare_digest(expected, value.encode()) and version == "v1"
        return holds
    for version, value in given:
        if version == "v1a":
            try:
                key.verify(_base64(value), signed)
            except InvalidSignature:
                continue
            holds = True
    return holds


def _signatures(values: tuple[str, ...]) -> list[tuple[str, str]]:
    """Version and text of each signature, at most `MAX_SIGNATURES`."""
    text = values[0] if len(values) == 1 else ""
    if not text.isascii() or not 0 < len(text) <= MAX_SIGNATURE_HEADER:
        raise _refused("The webhook needs one webhook-signature header of the right form.")
    parts = text.split(" ")
    if len(parts) > MAX_SIGNATURES:
        raise _refused(f"The webhook has more than {MAX_SIGNATURES} signatures.")
    return [(version, value) for version, _, value in (part.partition(",") for part in parts)]


def _one(values: tuple[str, ...], name: str, form: re.Pattern[str]) -> str:
    if len(values) != 1 or form.match(values[0]) is None:
        raise _refused(f"The webhook needs one {name} header of the right form.")
    return values[0]


def _secret(text: str, *, named: str, other: str) -> bytes:
    raw = _base64(text.removeprefix(SECRET))
    if not text.startswith(SECRET) or not MIN_SECRET <= len(raw) <= MAX_SECRET:
        raise _no_key(
            named, f"{SECRET} and the base64 of {MIN_SECRET} to {MAX_SECRET} bytes, nor {other}"
        )
    return raw


def _base64(text: str) -> bytes:
    """What `text` is the base64 of; nothing where it is none, or not written the canonical way."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return raw if _written(raw) == text else b""


def _written(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")


def _no_key(named: str, form: str) -> Misconfigured:
    return Misconfigured(
        f"{named} is not {form}.", hint=f"Make a secret: echo {SECRET}$(openssl rand -base64 32)"
    )


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(
        message,
        hint=hint or "Sign it as Standard Webhooks says, with a key that is set up here.",
        challenge="",
    )


__all__ = [
    "MAX_ID",
    "MAX_SECRET",
    "MAX_SIGNATURES",
    "MAX_SIGNATURE_HEADER",
    "MIN_SECRET",
    "PRIVATE",
    "PUBLIC",
    "SECRET",
    "TOLERANCE_S",
    "Key",
    "Sent",
    "Signer",
    "Verifier",
    "Webhook",
    "sign",
    "signing_key",
    "verify",
    "verifying_key",
]
