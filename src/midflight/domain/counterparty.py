"""Known counterparties: whom an owner has dealt with before, by his own word and for a time.

A value is matched by a keyed hash and shown from a sealed text; bare text is nowhere kept. Above:
`services/counterparties.py`; what a known value counts for is decided in flow.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from urllib.parse import urlsplit, urlunsplit

from midflight.domain.traits import Role
from midflight.domain.value import Value

REMEMBERED_ROLES = frozenset({Role.RECIPIENT, Role.ACCOUNT, Role.URL})
"""Roles whose values name a counterparty."""

MAX_REMEMBER_S = 366 * 86_400
"""Nothing is known for ever: an entry lives a year and a day at most."""

MAX_VALUE = 2_048
"""Characters of a value."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,31}://[^\s]+\Z")
_MAIL = re.compile(r"[^\s@/]+@[^\s@/]+\Z")
# ISO 13616: country, check digits, up to 30 characters, written in groups or not.
_IBAN = re.compile(r"[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]){10,30}\Z")


class Counterparty(Value):
    """One entry of an owner's list.

    Attributes:
        owner: whose list.
        key: HMAC-SHA-256 of the canonical value under the owner's key, in hex.
        text: the value, sealed under the owner's key.
        role: what the value is for.
        added_by, proof, added_at: who put it there, how that was established, and when.
        expires_at: Unix seconds when it ends.
        approval: id of the approval that it came with; empty if an operator added it.
    """

    owner: str
    key: str
    text: str
    role: Role
    added_by: str
    proof: str
    added_at: int
    expires_at: int
    approval: str = ""


def canonical_value(text: str) -> str:
    """One form for one counterparty; applying it again changes nothing.

    Mail addresses in lower case, IBANs in upper case without spaces, scheme and host of a URL in
    lower case; all else as it stands but for the white space around it. ASCII case only: no two
    different letters become one, so that a look-alike is never taken for the one it looks like.
    """
    text = text.strip()
    if _URL.match(text):
        return _canonical_url(text)
    if _MAIL.match(text):
        return _lower(text)
    if _IBAN.match(text):
        return _lower(text.replace(" ", "")).upper() if text.isascii() else text
    return text


def keyed_hash(key: bytes, value: str) -> str:
    """The hash a value is matched by, in hex."""
    return hmac.digest(key, canonical_value(value).encode(errors="replace"), hashlib.sha256).hex()


def _canonical_url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError:
        return text
    return urlunsplit(parts._replace(scheme=_lower(parts.scheme), netloc=_lower_host(parts.netloc)))


def _lower_host(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    return f"{user}{at}{_lower(host)}"


def _lower(text: str) -> str:
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


__all__ = [
    "MAX_REMEMBER_S",
    "MAX_VALUE",
    "REMEMBERED_ROLES",
    "Counterparty",
    "canonical_value",
    "keyed_hash",
]
