"""The `act` claim (RFC 8693 §4.1) and `scope` (§4.2), as tokens of ours carry them.

The outermost actor acts now, those inside acted before. Both claims are read strictly: what this
version does not know could narrow a token. Above: `access.py`, `transaction.py`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from midflight.domain.identity import MAX_ACTORS
from midflight.domain.value import JSONObject

# What names a client or an actor: a SPIFFE ID, a URL, a subject; printable and bounded.
_NAME = re.compile(r"[\x21-\x7e]{1,2048}\Z")
# RFC 6749 §3.3, without what needs no place in our scopes.
_SCOPE = re.compile(r"[A-Za-z0-9_./:*-]{1,256}\Z")


class ActClaim(msgspec.Struct, forbid_unknown_fields=True):
    """As on the wire."""

    sub: str
    act: ActClaim | msgspec.UnsetType = msgspec.UNSET


def act_claim(actors: Sequence[str]) -> JSONObject | None:
    """The claim for a chain, the one that acts first outermost; None for an empty chain."""
    chain: JSONObject | None = None
    for actor in reversed(actors):
        chain = {"sub": actor} if chain is None else {"sub": actor, "act": chain}
    return chain


def actors_of(chain: ActClaim | msgspec.UnsetType) -> tuple[str, ...]:
    """The subjects of a chain, the one that acts first. `ValueError` if too long or ill-formed.

    Longer than `MAX_ACTORS` is none of ours; the reader of tokens goes six objects deep.
    """
    found: list[str] = []
    while chain is not msgspec.UNSET:
        if len(found) == MAX_ACTORS or not is_party(chain.sub):
            raise ValueError("an ill-formed act chain")
        found.append(chain.sub)
        chain = chain.act
    return tuple(found)


def is_party(name: str) -> bool:
    """Whether this names a client or an actor."""
    return _NAME.match(name) is not None


def scope_values(text: str) -> tuple[str, ...]:
    """The values of a `scope` claim. `ValueError` if it is ill-formed."""
    values = tuple(text.split(" "))
    if not all(_SCOPE.match(value) for value in values):
        raise ValueError("an ill-formed scope")
    return values


__all__ = ["ActClaim", "act_claim", "actors_of", "is_party", "scope_values"]
