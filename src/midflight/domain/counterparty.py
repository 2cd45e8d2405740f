"""Known counterparties: whom an owner has dealt with before, by his own word and for a time.

A value is matched by a keyed hash and shown from a sealed text; bare text is nowhere kept. Above:
`services/counterparties.py`; what a known value counts for is decided in flow.
"""

from __future__ import annotations

import hashlib
import hmac

from midflight.domain.flow.atoms import same, shape
from midflight.domain.traits import Role
from midflight.domain.value import Value

REMEMBERED_ROLES = frozenset({Role.RECIPIENT, Role.ACCOUNT, Role.URL})
"""Roles whose values name a counterparty."""

MAX_REMEMBER_S = 366 * 86_400
"""Nothing is known for ever: an entry lives a year and a day at most."""

MAX_VALUE = 2_048
"""Characters of a value."""


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
    """One form for one counterparty: that in which flow compares values for trust.

    Letters of another script stay what they are: a look-alike is never taken for the one it looks
    like. Not to be applied to its own result: a link loses its scheme.
    """
    bare = text.strip()
    return same(bare, shape(bare))


def keyed_hash(key: bytes, canonical: str) -> str:
    """The hash that a canonical value is matched by, in hex."""
    return hmac.digest(key, canonical.encode(errors="replace"), hashlib.sha256).hex()


__all__ = [
    "MAX_REMEMBER_S",
    "MAX_VALUE",
    "REMEMBERED_ROLES",
    "Counterparty",
    "canonical_value",
    "keyed_hash",
]
