"""Selection: which results the intent asked for, and which records in them it names.

Both tell whether what a result holds is what the principal meant. Below: `subject.py`. Above:
`services/flow.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.domain.flow.atoms import CONTACTS, Shape, same, shape
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.index import NAME, SYSTEM, RunIndex
from midflight.domain.flow.intent import Reading
from midflight.domain.flow.subject import (
    STOP,
    Part,
    Subject,
    pieces_of,
    values_of,
)
from midflight.domain.flow.text import strict
from midflight.domain.flow.words import (
    GENERIC,
    related,
    singular,
)
from midflight.domain.traits import (
    KEY_ROLES,
    Effect,
    FieldKind,
    Role,
)

# See `atoms.py`: members of an enum by name are slow.
_BY_TEXT, _WORD, _ID, _QUERY = FieldKind.TEXT, Shape.WORD, Shape.ID, Role.QUERY
_SAYS_NOTHING = frozenset({Role.TIME, Role.SETTING, Role.AMOUNT})
_BARE = frozenset({Shape.NUMBER, Shape.DATE})


def linked_records(found: Iterable[Leaf], reading: Reading) -> frozenset[int]:
    """Numbers of the records that the intent names: by an address, an id, a name.

    A name that several records have in one field names none of them, unless the intent leaves the
    choice to the data: anybody can call his the same. One that only has the intent's name in it
    gives way to one that is the name.
    """
    linked: set[int] = set()
    named: dict[tuple[str, str], set[int]] = {}
    loosely: dict[tuple[str, str], set[int]] = {}
    long_names = [name for name in reading.names if len(name) > 5]
    for leaf in found:
        if leaf.kind is _BY_TEXT or not leaf.records or leaf.shape in _BARE:
            continue
        plain, record = leaf.exact, leaf.records[-1]
        if leaf.shape is not _WORD and (leaf.shape, plain) in reading.atoms:
            linked.add(record)
        elif _named(leaf, reading):
            named.setdefault((leaf.name, plain), set()).add(record)
        elif " " in plain:
            for name in long_names:
                if plain in name or name in plain:
                    loosely.setdefault((leaf.name, name), set()).add(record)
    candidates = [*named.values(), *(who for key, who in loosely.items() if key not in named)]
    for records in candidates:
        if reading.chooses or len(records) == 1:
            linked |= records
    return frozenset(linked)


def _named(leaf: Leaf, reading: Reading) -> bool:
    return leaf.exact in reading.names or (
        leaf.shape not in CONTACTS and _worded(leaf.exact, leaf.shape, reading)
    )


def about_records(found: Iterable[Leaf], reading: Reading) -> frozenset[int]:
    """Numbers of the records that alone have some telling word of the intent in a name.

    "Cancel the gym": of all that were listed one has it. A word that several have tells none of
    them apart.
    """
    if not reading.telling:
        return frozenset()
    having: dict[str, set[int]] = {}
    for leaf in found:
        if leaf.kind is _BY_TEXT or not leaf.records or leaf.shape in _BARE:
            continue
        for word in reading.telling:
            if word in leaf.exact:
                having.setdefault(word, set()).add(leaf.records[-1])
    return frozenset(
        record
        for records in having.values()
        if len(records) == 1 or reading.chooses
        for record in records
    )


def looked_up(
    subject: Subject,
    given: Iterable[Part],
    found: Iterable[Leaf],
    *,
    index: RunIndex,
    reading: Reading,
) -> frozenset[int]:
    """The record that a look-up by what the intent names, or by a linked id, has found.

    `given` are its arguments.

    What stands in lists inside of it was put there by anybody, and is not linked by this.
    """
    if subject.traits.effect is not Effect.READ or not _narrow(given, index, reading):
        return frozenset()
    return frozenset(leaf.records[0] for leaf in found if leaf.records and None not in leaf.path)


def _narrow(given: Iterable[Part], index: RunIndex, reading: Reading) -> bool:
    """Whether all that a look-up goes by is named by the intent or linked to what it names."""
    narrow = False
    for part in given:
        if part.role is _QUERY:
            return False
        if part.role not in KEY_ROLES:
            continue
        for text in values_of(part):
            kind = shape(text)
            exact = same(text, kind)
            if (kind, exact) not in reading.atoms and strict(text) not in reading.names:
                seen = index.look_as(text, kind, exact)
                if seen is None or not seen.linked or seen.named:
                    return False
            narrow = True
    return narrow


def _worded(text: str, kind: Shape, reading: Reading) -> bool:
    """Whether a name of several words is made of the intent's words: "team-minutes.docx"."""
    if text.isalnum():
        return False  # one word, as most values are
    telling = (p for p in pieces_of(text) if p not in STOP and not p.isdigit())
    if kind is _ID and "." in text:
        telling = iter(list(telling)[:-1])  # without the end of a file name
    count = 0
    for piece in telling:
        if piece not in reading.words:
            return False
        count += 1
    return count > 1


def selected(subject: Subject, given: Iterable[Part], *, index: RunIndex, reading: Reading) -> bool:
    """Whether the intent asked for what this read returns: its arguments are the intent's words."""
    judged = False
    for part in given:
        if part.role in _SAYS_NOTHING:
            continue
        judged = True
        for text in values_of(part) if part.role in KEY_ROLES else [part.text]:
            if not _said(text, index, reading) and not (
                part.role is not _QUERY and _listed(text, index) and _is_about(subject, reading)
            ):
                return False
    return judged or _is_about(subject, reading)


def _is_about(subject: Subject, reading: Reading) -> bool:
    """Whether the intent speaks of what the tool is for."""
    nouns = subject.does.nouns - GENERIC
    return related(nouns, reading.words) if nouns else bool(reading.words)


def _listed(text: str, index: RunIndex) -> bool:
    """Whether a name of several words stands in what the intent selected, if only in a text."""
    seen = index.look(text) if " " in text.strip() else None
    return seen is not None and seen.selected


def _of_words(text: str, reading: Reading) -> bool:
    """Whether every word of a text that says something is one of the intent's."""
    said = False
    for piece in pieces_of(text):
        if len(piece) > 1 and piece not in STOP:
            if piece not in reading.words and singular(piece) not in reading.words:
                return False
            said = True
    return said


def _said(text: str, index: RunIndex, reading: Reading) -> bool:
    kind = shape(text)
    exact = same(text, kind)
    if (kind, exact) in reading.atoms or strict(text) in reading.names:
        return True
    if _of_words(text, reading):
        return True
    seen = index.look_as(text, kind, exact)
    if seen is None or seen.rank not in (SYSTEM, NAME):
        return False
    return seen.selected or seen.linked


__all__ = ["about_records", "linked_records", "looked_up", "selected"]
