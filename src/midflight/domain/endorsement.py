"""What a yes endorses: the values in an action that its approver was shown an origin of.

Paths are those of `ArgumentFacts` (`to`, `recipients[0]`, `mail.to[1]`). A path that two values
answer to endorses neither: which of them was shown cannot be told. Pure; no value is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from midflight.domain.counterparty import MAX_VALUE, REMEMBERED_ROLES
from midflight.domain.provenance import FlowFacts
from midflight.domain.traits import CONTENT_ROLES, KEY_ROLES, Role
from midflight.domain.value import JSON, Value

MAX_VALUES = 256
"""Values of one action; beyond it the rest is not endorsed."""

MAX_WORDS = 9
"""Words of a name; an account written in groups has as many."""

# What a person reads as an address inside prose; what ends a sentence does not belong to it.
_ATOMS = re.compile(
    r"(?P<url>\b[A-Za-z][A-Za-z0-9+.-]{1,15}://[^\s<>\"'`]+)"
    r"|(?P<recipient>[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\.[A-Za-z]{2,24})"
    r"|(?P<account>\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b)"
)
_ENDS = ".,;:!?)]}>"


class Endorsed(Value):
    """One value that a yes endorses: where it stands, what it is for, and itself."""

    path: str
    role: Role
    value: str

    def __repr__(self) -> str:
        return f"Endorsed(path={self.path!r}, role={self.role.value!r})"


def endorsed(arguments: JSON, flow: FlowFacts) -> tuple[Endorsed, ...]:
    """The values that a yes to these arguments endorses, each once.

    A key argument counts as a whole; of content that flow names, only the addresses, links and
    accounts inside.
    """
    leaves: dict[str, list[str]] = {}
    for path, value in _leaves(arguments, ""):
        leaves.setdefault(path, []).append(value)
    found: dict[Endorsed, None] = {}
    for facts in flow.arguments:
        for path, values in leaves.items():
            if len(values) != 1 or not _is_at(path, facts.path):
                continue
            if facts.role in KEY_ROLES:
                found[Endorsed(path=path, role=facts.role, value=values[0])] = None
            # A text that carries an address may be named by the role of what it carries.
            if facts.role in CONTENT_ROLES or " " in values[0].strip():
                for role, atom in _atoms(values[0]):
                    found[Endorsed(path=path, role=role, value=atom)] = None
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


def leaves(arguments: JSON) -> tuple[tuple[str, str], ...]:
    """Every text and number with its path, in order."""
    return tuple(_leaves(arguments, ""))


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
    return text.strip().isprintable() and len(text.split()) <= MAX_WORDS


def _atoms(text: str) -> Iterator[tuple[Role, str]]:
    for found in _ATOMS.finditer(text):
        assert found.lastgroup is not None
        yield Role(found.lastgroup), found.group().rstrip(_ENDS)


__all__ = ["MAX_VALUES", "MAX_WORDS", "Endorsed", "endorsed", "leaves", "remembered"]
