"""What an owner could have configured, out of a case's `env_facts`: whom he deals with.

Only names and addresses of people, places and accounts: a recorded fact such as a date or a file's
owner is no counterparty. Used only where the report says so (`--facts`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from midflight.domain.counterparty import MAX_VALUE, canonical_value
from midflight.domain.flow.atoms import Shape, shape
from midflight.domain.traits import Role
from midflight.domain.value import JSONObject

_COUNTERPARTIES = (
    "account",
    "accounts",
    "channels",
    "contacts",
    "iban",
    "known_recipients",
    "users",
)
_ROLES = {Shape.ACCOUNT: Role.ACCOUNT, Shape.LINK: Role.URL}
_ACCOUNT, _DOMAINS = "account", "own_domains"


def counterparties(facts: JSONObject) -> list[tuple[Role, str]]:
    """Names, addresses and accounts with their role, without repetition, in the facts' order.

    What no owner could put on his list (too long, not printable) is left out.
    """
    known = (facts[name] for name in facts if name in _COUNTERPARTIES)
    texts = dict.fromkeys(text.strip() for value in known for text in _texts(value))
    return [
        (_ROLES.get(shape(text), Role.RECIPIENT), text)
        for text in texts
        if len(text) <= MAX_VALUE and text.isprintable() and canonical_value(text)
    ]


def own_domains(facts: JSONObject) -> frozenset[str]:
    """The domains that the facts name, and that of the owner's own address."""
    named = {text.lower() for text in _texts(facts.get(_DOMAINS))}
    for text in _texts(facts.get(_ACCOUNT)):
        _, at, domain = text.rpartition("@")
        if at:
            named.add(domain.lower())
    return frozenset(named)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.strip():
            yield value
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)


__all__ = ["counterparties", "own_domains"]
