"""Tickets: what a button carries, so that pressing it can mean one thing and no other.

A ticket names what is answered, the answer, the digest of the action, the channel it was sent to
and its end, under a key of this plane. Whoever can post into a channel can write any text beside a
button; he cannot make one that counts. It proves nothing about who pressed it.
"""

from __future__ import annotations

import enum
import hashlib
import hmac
import re

from midflight.domain.errors import Forbidden, Malformed
from midflight.domain.value import Value

MAX_TICKET = 512
_PREFIX = "mft1"
_FIELD = re.compile(r"[A-Za-z0-9_-]{0,128}\Z")


class Verb(enum.StrEnum):
    """What pressing means."""

    APPROVE = "approve"
    REFUSE = "refuse"
    ACKNOWLEDGE = "acknowledge"


class Ticket(Value):
    """One.

    Attributes:
        verb: what it does.
        subject: of an answer the approval, else the notice.
        digest: of the action, for an answer.
        channel: where it was sent, as the settings call it.
        expires_at: Unix seconds.
    """

    verb: Verb
    subject: str
    channel: str
    expires_at: int
    digest: str = ""


def sign_ticket(ticket: Ticket, key: bytes) -> str:
    """Its text: letters, digits, `_`, `-` and `.`."""
    signed = ".".join(
        (
            _PREFIX,
            ticket.verb.value,
            ticket.subject,
            ticket.digest,
            ticket.channel,
            str(ticket.expires_at),
        )
    )
    return f"{signed}.{_mac(signed, key)}"


def open_ticket(text: str, key: bytes, *, channel: str, now: float) -> Ticket:
    """The ticket in a text.

    Raises:
        Malformed: it is none.
        Forbidden: not ours, for another channel, or over.
    """
    parts = text.split(".") if len(text) <= MAX_TICKET else []
    if len(parts) != 7 or parts[0] != _PREFIX or any(_FIELD.match(each) is None for each in parts):
        raise Malformed("The button carries no ticket of this plane.")
    signed, _, mac = text.rpartition(".")
    if not hmac.compare_digest(mac.encode(), _mac(signed, key).encode()):
        raise Forbidden("The button was not made by this plane.")
    _, verb, subject, digest, sent_to, expires, _ = parts
    if sent_to != channel:
        raise Forbidden("The button belongs to another channel.")
    if now >= int(expires):
        raise Forbidden(
            "The button is too old.", hint="midflight approval list shows what still waits."
        )
    return Ticket(
        verb=Verb(verb),
        subject=subject,
        digest=digest,
        channel=sent_to,
        expires_at=int(expires),
    )


def _mac(signed: str, key: bytes) -> str:
    return hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()


__all__ = ["MAX_TICKET", "Ticket", "Verb", "open_ticket", "sign_ticket"]
