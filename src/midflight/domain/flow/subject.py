"""What is judged: a tool, the values of its arguments, and what the run knows.

Below: `index.py`, `intent.py`, `proposal/`. Above: `keys.py`, `content.py`, `asking.py`,
`judge.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, cast

from midflight.domain.flow.atoms import CONTACTS, Shape, number, shape, tokens
from midflight.domain.flow.fields import MAX_DEPTH, flat, numeral, plain_key, words_of
from midflight.domain.flow.index import RunIndex
from midflight.domain.flow.intent import Reading
from midflight.domain.flow.text import spaces_for, strict
from midflight.domain.flow.words import (
    lexicon,
)
from midflight.domain.paths import Place, argument_path, bare
from midflight.domain.proposal.naming import Doing, doing
from midflight.domain.proposal.roles import guards, risky, role_by_name
from midflight.domain.provenance import ArgumentFacts, Concern
from midflight.domain.traits import (
    Effect,
    Reach,
    Role,
    Traits,
)
from midflight.domain.value import JSONObject, Value

MAX_VALUES = 512
"""Argument values looked at; with more of them an action counts as made up."""

# See `atoms.py`: members of an enum by name are slow.
_OBJECT, _RECIPIENT, _AMOUNT = Role.OBJECT, Role.RECIPIENT, Role.AMOUNT
_OUTWARD = frozenset({Effect.SEND, Effect.PAY, Effect.GRANT, Effect.INSTRUCT, Effect.EXECUTE})
STOP = lexicon("the a an of and or to in on for at by with from is re")
"""Words that say nothing about a value."""
_apart = spaces_for("_/-.")


class Subject(Value):
    """What is judged: a tool, as far as flow needs to know it.

    Attributes:
        traits: reviewed or proposed.
        does: what its name and description say.
        schema: its input schema, for arguments that the traits do not name.
    """

    name: str
    traits: Traits
    does: Doing
    roles: dict[Place, Role]


class Circumstances(Value):
    """What the run has done and knows besides its index.

    Attributes:
        done: how many effects of this tool have been permitted in the run.
        endorsed: whether a value, in strict form, was approved for the run or its owner.
        own: domains of the owner.
        gated: the intent has to ask for an effect.
    """

    done: int
    endorsed: Callable[[str], bool]
    own: frozenset[str] = frozenset()
    gated: bool = True


class Part(Value, kw_only=False):
    """One value of the arguments. Made by position, as `Leaf` is."""

    path: str
    role: Role
    text: str


class Matter:
    """One action before the judge: what it is, what is known, and what was found so far."""

    __slots__ = (
        "about",
        "concerns",
        "cut",
        "effect",
        "found",
        "index",
        "outward",
        "parts",
        "reading",
        "steered",
        "subject",
    )

    def __init__(
        self,
        subject: Subject,
        arguments: JSONObject,
        *,
        index: RunIndex,
        reading: Reading,
        about: Circumstances,
    ) -> None:
        self.subject = subject
        self.index = index
        self.reading = reading
        self.about = about
        found = list(islice(parts(subject, arguments), MAX_VALUES + 1))
        self.parts = found[:MAX_VALUES]
        self.cut = len(found) > MAX_VALUES
        self.concerns: set[Concern] = set()
        self.found: list[ArgumentFacts] = []
        self.steered = index.text_seen or index.order_seen or (index.restored and index.phrase_seen)
        """Somebody's words, or a name that could be an order, are in the run."""
        self.effect = subject.traits.effect
        self.outward = self.effect in _OUTWARD or (
            self.effect is not Effect.READ and subject.traits.reach is Reach.OPEN
        )

    def said(self, kind: Shape, value: str) -> bool:
        """Whether the principal has said a value, or a person has approved it."""
        return (kind, value) in self.reading.atoms or self.about.endorsed(value)


def subject(name: str, description: str, traits: Traits) -> Subject:
    """A tool to be judged; made once for each pinned definition."""
    return Subject(
        name=name,
        traits=traits,
        does=doing(name, description),
        roles={argument_path(a.path).place: a.role for a in traits.arguments},
    )


_STRUCTURE = re.compile(r"(?:type|kind|id|name|value|(?:[a-z]{2,12}_)id)\Z")


def parts(subject: Subject, arguments: JSONObject) -> Iterator[Part]:
    """Every value of the arguments with its role, depth first."""
    for name, value in arguments.items():
        if not plain_key(name):
            yield Part("", _OBJECT, name)
        if isinstance(value, str):  # as most are
            if value.strip():
                yield Part(name, _role(subject, (name,), name, "string"), value)
        else:
            yield from _parts(subject, value, name, (name,), name)


def _parts(subject: Subject, value: Any, path: str, place: Place, name: str) -> Iterator[Part]:
    if len(place) > MAX_DEPTH:
        yield Part(path, _OBJECT, flat(value) or "...")
    elif isinstance(value, dict):
        yield from _members(subject, cast("JSONObject", value), path, place, name)
    elif isinstance(value, list):
        for at, inner in enumerate(cast("list[Any]", value)):
            yield from _parts(subject, inner, f"{path}[{at}]", (*place, None), name)
    elif value is True and risky(name):
        yield Part(path, Role.SCOPE, words_of(name).replace("_", " "))
    elif value is False and guards(name):
        yield Part(path, Role.SCOPE, "not " + words_of(name).replace("_", " "))
    elif isinstance(value, bool) or value is None:
        return
    else:
        text = value if isinstance(value, str) else numeral(value)
        if text.strip():
            kind = "string" if isinstance(value, str) else "number"
            yield Part(path, _role(subject, bare(place), name, kind), text)


def _role(subject: Subject, place: Place, name: str, kind: str) -> Role:
    """The role of what is at a place without elements at its end: declared, or as its name says."""
    return subject.roles.get(place) or role_by_name(name, kind)


def _members(
    subject: Subject, value: JSONObject, path: str, place: Place, name: str
) -> Iterator[Part]:
    # What is declared as one argument and is a map has keys that the caller chose; those that only
    # say what stands behind them choose nothing.
    free = subject.roles.get(bare(place))
    for key, inner in value.items():
        if key.strip() and ((free is not None and not _STRUCTURE.match(key)) or not plain_key(key)):
            role = role_by_name(name, "string") if free is None else free
            yield Part(path, role, key)
        yield from _parts(subject, inner, f"{path}.{key}", (*place, key), key)


def values(subject: Subject, arguments: JSONObject) -> Iterator[tuple[Role, str]]:
    """The values of the arguments with their roles, several addresses in one string apart."""
    for part in parts(subject, arguments):
        for text in values_of(part):
            yield part.role, text


def values_of(part: Part) -> list[str]:
    """The values in an argument: several addresses in one string are several."""
    text = part.text.strip()
    if part.role is _RECIPIENT and ("," in text or ";" in text):
        several = list(tokens(text))
        # Several addresses in one string; anything else is one value, however long.
        return several if all(shape(t) in CONTACTS for t in several) and several else [text]
    if part.role is _AMOUNT:
        return [number(text) or text]
    return [text]


def pieces_of(text: str) -> Iterator[str]:
    """The words of a text, those inside of ids and paths too."""
    for word in _apart(strict(text)).split():
        piece = word.strip("'\"(),:;!?#@")
        if piece:
            yield piece


__all__ = [
    "STOP",
    "Circumstances",
    "Matter",
    "Part",
    "Subject",
    "parts",
    "pieces_of",
    "subject",
    "values",
    "values_of",
]
