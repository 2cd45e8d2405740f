"""Signed webhooks as Standard Webhooks 1.0.0 has them: who sent a body, and when.

    webhook-id: msg_2KWPBgLlAfxdpx2AI54pPJ85f4W
    webhook-timestamp: 1674087231
    webhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=

The signature is HMAC-SHA256 over `ID.TIMESTAMP.BODY` with a secret of 24 to 64 bytes, which is
written as `whsec_` and base64. Several signatures stand with spaces between them, while secrets are
changed. Only `v1` is read: asymmetric ones (`v1a`) are for whoever cannot keep a shared secret.
Whether the id was seen before is for the caller to find out.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence

from midflight.domain.errors import Misconfigured, Unauthenticated
from midflight.domain.value import Discreet

TOLERANCE_S = 300
"""How far the timestamp may be from now, either way."""
MAX_SIGNATURES = 8
MIN_SECRET, MAX_SECRET = 24, 64
"""Bytes of a secret."""
PREFIX = "whsec_"

_ID = re.compile(r"[\x21-\x7e]{1,256}\Z")
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,14}\Z")


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


def secret_of(text: str, *, named: str) -> bytes:
    """A secret as it is written: `whsec_` and base64.

    Raises:
        Misconfigured: it is none, or of another length; `named` is how the message calls it.
    """
    try:
        secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if not text.startswith(PREFIX) or not MIN_SECRET <= len(secret) <= MAX_SECRET:
        raise Misconfigured(
            f"{named} is not {PREFIX} and the base64 of {MIN_SECRET} to {MAX_SECRET} bytes.",
            hint=f"Make one: echo {PREFIX}$(openssl rand -base64 32)",
        )
    return secret


def verify(webhook: Webhook, body: bytes, *, secrets: Sequence[bytes], now: float) -> Sent:
    """The only door for signed webhooks.

    Args:
        webhook: its headers.
        body: as it came, before it is read.
        secrets: any of which may have signed it; at least one.
        now: Unix seconds.

    Raises:
        Unauthenticated: it does not hold. The message says no more than which header to look at.
    """
    name = _one(webhook.id, "webhook-id", _ID)
    written = _one(webhook.timestamp, "webhook-timestamp", _TIMESTAMP)
    if len(webhook.signature) != 1:
        raise _refused("The webhook needs one webhook-signature header.")
    signed = f"{name}.{written}.".encode("ascii") + body
    given = [
        value.encode("utf-8", "replace")
        for version, _, value in (
            each.partition(",") for each in webhook.signature[0].split(" ", MAX_SIGNATURES)
        )
        if version == "v1"
    ][:MAX_SIGNATURES]
    holds = False
    for secret in secrets:
        expected = _signature(secret, signed)
        for value in given:
            # All of them, in constant time: nothing says which was nearly right.
            holds |= hmac.compare_digest(expected, value)
    if not holds:
        raise _refused("The signature of the webhook does not hold.")
    at = int(written)
    if abs(now - at) > TOLERANCE_S:
        raise _refused("The webhook is too old or from the future.", hint="Compare the clocks.")
    # Acceptable until its timestamp and the tolerance; as much again for clocks that step.
    return Sent(id=name, until=at + 2 * TOLERANCE_S)


def sign(secret: bytes, *, id: str, timestamp: int, body: bytes) -> str:  # noqa: A002 -- as the standard calls it
    """The `webhook-signature` of a body."""
    signed = f"{id}.{timestamp}.".encode("ascii") + body
    return f"v1,{_signature(secret, signed).decode('ascii')}"


def _signature(secret: bytes, signed: bytes) -> bytes:
    return base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest())


def _one(values: tuple[str, ...], name: str, form: re.Pattern[str]) -> str:
    if len(values) != 1 or form.match(values[0]) is None:
        raise _refused(f"The webhook needs one {name} header of the right form.")
    return values[0]


def _refused(message: str, *, hint: str = "") -> Unauthenticated:
    return Unauthenticated(
        message,
        hint=hint or "Sign it as Standard Webhooks says, with the secret of this source.",
        challenge="",
    )


__all__ = [
    "MAX_SECRET",
    "MAX_SIGNATURES",
    "MIN_SECRET",
    "PREFIX",
    "TOLERANCE_S",
    "Sent",
    "Webhook",
    "secret_of",
    "sign",
    "verify",
]
