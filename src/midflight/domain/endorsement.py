"""What a yes endorses: the values in an action that its approver was shown an origin of.

Paths are those of `ArgumentFacts` (`to`, `recipients[0]`, `mail.to[1]`). A path that two values
answer to endorses neither: which of them was shown cannot be told. Nor is one endorsed of which a
mask showed the end only. Pure; no value is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from midflight.domain.counterparty import MAX_VALUE, REMEMBERED_ROLES, canonical_value
from midflight.domain.flow.atoms import CONTACTS, Shape, shape, tokens
from midflight.domain.obligation import is_masked
from midflight.domain.provenance import Concern, FlowFacts
from midflight.domain.traits import KEY_ROLES, Role
from midflight.domain.value import JSON, Value

MAX_VALUES = 256
"""Values of one action; beyond it the rest is not endorsed."""

MAX_WORDS = 9
"""Words of a name; an account written in groups has as many."""

_CONTACT_ROLES = {
    Shape.EMAIL: Role.RECIPIENT,
    Shape.HANDLE: Role.RECIPIENT,
    Shape.LINK: Role.URL,
    Shape.ACCOUNT: Role.ACCOUNT,
}


class Endorsed(Value):
    """One value that a yes endorses: where it stands, what it is for, and itself."""

    path: str
    role: Role
    value: str

    def __repr__(self) -> str:
        return f"Endorsed(path={self.path!r}, role={self.role.value!r})"


def endorsed(arguments: JSON, flow: FlowFacts) -> tuple[Endorsed, ...]:
    """The values that a yes to these arguments endorses, each once.

    A key argument counts as a whole, or as the addresses that it lists; of anything else that flow
    names, only the addresses, links and accounts inside.
    """
    places: dict[str, list[str]] = {}
    for path, value in _leaves(arguments, ""):
        places.setdefault(path, []).append(value)
    found: dict[Endorsed, None] = {}
    for facts in flow.arguments:
        for path, values in places.items():
            if len(values) != 1 or is_masked(values[0]) or not _is_at(path, facts.path):
                continue
            if facts.role in KEY_ROLES:
                for value in _apart(values[0], facts.role):
                    found[Endorsed(path=path, role=facts.role, value=value)] = None
            elif Concern.CONTENT_SECRET not in flow.concerns:
                # A secret may look like an account: letting it out once vouches for nothing.
                for role, value in _contacts(values[0]):
                    found[Endorsed(path=path, role=role, value=value)] = None
    return tuple(found)[:MAX_VALUES]


def remembered(values: Sequence[Endorsed]) -> tuple[Endorsed, ...]:
    """Those that name a counterparty, each value once."""
    found = {
        entry.value: entry
        for entry in values
        if entry.role in REMEMBERED_ROLES
        and 0 < len(entry.value.strip()) <= MAX_VALUE
        and _is_name(entry.value)
    }
    return tuple(found.values())


def _leaves(value: JSON, path: str) -> Iterator[tuple[str, str]]:
    match value:
        case dict():
            for name, inner in value.items():
                yield from _leaves(inner, f"{path}.{name}" if path else name)
        case list():
            for number, inner in enumerate(value):
                yield from _leaves(inner, f"{path}[{number}]")
        case bool() | None:
            return
        case _:
            yield path, str(value)


def _is_at(path: str, wanted: str) -> bool:
    """Whether a value stands at a path or below it."""
    return path == wanted or path.startswith((f"{wanted}.", f"{wanted}["))


def _is_name(text: str) -> bool:
    """Whether it can be an address or a name, and is no text that happens to stand there."""
    if not canonical_value(text):
        return False  # a scheme and nothing else
    return text.strip().isprintable() and len(text.split()) <= MAX_WORDS


def _apart(text: str, role: Role) -> list[str]:
    """The values in an argument, as flow takes them: several addresses in one text are several."""
    if role is Role.RECIPIENT and ("," in text or ";" in text):
        several = list(tokens(text))
        if several and all(shape(token) in CONTACTS for token in several):
            return several
    return [text]


def _contacts(text: str) -> Iterator[tuple[Role, str]]:
    for token in tokens(text):
        role = _CONTACT_ROLES.get(shape(token))
        if role is not None:
            yield role, token


__all__ = ["MAX_VALUES", "MAX_WORDS", "Endorsed", "endorsed", "remembered"]
