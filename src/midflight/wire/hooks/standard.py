"""Standard Webhooks 1.0: signing and verifying by HMAC-SHA256 or Ed25519.

Signed is `<webhook-id>.<webhook-timestamp>.<body>`; the header holds one or more signatures with a
space between them, `v1,<base64>` symmetric and `v1a,<base64>` asymmetric. Keys are written
`whsec_<base64>`, `whsk_<base64>` (private) and `whpk_<base64>` (public). Source: the specification
of standardwebhooks.com, "Signature scheme" and "Webhook headers".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from midflight.domain.errors import Malformed, Misconfigured, Unauthenticated

TOLERANCE_S = 300
"""How far a timestamp may be off, either way."""
MAX_SIGNATURES = 8

_ID = re.compile(r"[\x21-\x2d\x2f-\x7e]{1,255}\Z")
_SECONDS = re.compile(r"[0-9]{1,12}\Z")

Signer: TypeAlias = bytes | Ed25519PrivateKey
Verifier: TypeAlias = bytes | Ed25519PublicKey


def signing_key(text: str) -> Signer:
    """The key in `whsec_…` (24 to 64 bytes) or `whsk_…`. `Misconfigured` names no part of it."""
    if text.startswith("whsk_"):
        raw = _key(text[5:])
        if len(raw) not in (32, 64):  # a seed, or a seed with its public half behind it
            raise _no_key()
        return Ed25519PrivateKey.from_private_bytes(raw[:32])
    return _symmetric(text)


def verifying_key(text: str) -> Verifier:
    """The key in `whsec_…` or `whpk_…`. `Misconfigured` names no part of it."""
    if text.startswith("whpk_"):
        raw = _key(text[5:])
        if len(raw) != 32:
            raise _no_key()
        return Ed25519PublicKey.from_public_bytes(raw)
    return _symmetric(text)


def sign(key: Signer, *, message: str, at: int, body: bytes) -> tuple[tuple[str, str], ...]:
    """The three headers of a message."""
    signed = f"{message}.{at}.".encode() + body
    if isinstance(key, bytes):
        kind, raw = "v1", hmac.new(key, signed, hashlib.sha256).digest()
    else:
        kind, raw = "v1a", key.sign(signed)
    return (
        ("webhook-id", message),
        ("webhook-timestamp", str(at)),
        ("webhook-signature", f"{kind},{base64.b64encode(raw).decode('ascii')}"),
    )


def verify(
    key: Verifier, *, message: str, timestamp: str, signatures: str, body: bytes, now: float
) -> None:
    """Accept a message of whoever has the key.

    Raises:
        Malformed: a header is not of its form.
        Unauthenticated: no signature holds, or the time is off.
    """
    if _ID.match(message) is None or _SECONDS.match(timestamp) is None:
        raise Malformed("webhook-id or webhook-timestamp is not of its form.")
    if abs(now - int(timestamp)) > TOLERANCE_S:
        raise Unauthenticated("The webhook was signed too long ago, or in the future.")
    signed = f"{message}.{timestamp}.".encode() + body
    given = signatures.split(" ")
    if len(given) > MAX_SIGNATURES:
        raise Malformed("webhook-signature holds too many signatures.")
    wanted = "v1" if isinstance(key, bytes) else "v1a"
    for each in given:
        kind, _, text = each.partition(",")
        if kind == wanted and _holds(key, signed, text):
            return
    raise Unauthenticated("No signature of the webhook holds.")


def _holds(key: Verifier, signed: bytes, text: str) -> bool:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    if isinstance(key, bytes):
        return hmac.compare_digest(raw, hmac.new(key, signed, hashlib.sha256).digest())
    try:
        key.verify(raw, signed)
    except InvalidSignature:
        return False
    return True


def _symmetric(text: str) -> bytes:
    raw = _key(text.removeprefix("whsec_"))
    if not text.startswith("whsec_") or not 24 <= len(raw) <= 64:
        raise _no_key()
    return raw


def _key(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _no_key() from None


def _no_key() -> Misconfigured:
    return Misconfigured(
        "A webhook key is not of its form.",
        hint="Symmetric: whsec_ and the base64 of 24 to 64 bytes. Ed25519: whsk_ to sign, whpk_ to"
        " verify, and the base64 of 32 bytes.",
    )


__all__ = ["TOLERANCE_S", "Signer", "Verifier", "sign", "signing_key", "verify", "verifying_key"]
