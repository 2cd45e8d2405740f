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
    Subject,
    parts,
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
    FieldKind,
    Role,
)
from midflight.domain.value import JSONObject


def linked_records(found: Iterable[Leaf], reading: Reading) -> frozenset[int]:
    """Numbers of the records that the intent names: by an address, an id, a name."""
    linked: set[int] = set()
    long_names = [name for name in reading.names if len(name) > 5]
    for leaf in found:
        if leaf.kind is FieldKind.TEXT or not leaf.records or leaf.records[-1] in linked:
            continue
        kind = leaf.shape
        if kind in (Shape.NUMBER, Shape.DATE):
            continue
        plain = leaf.exact
        if (
            (kind is not Shape.WORD and (kind, plain) in reading.atoms)
            or plain in reading.names
            or (" " in plain and any(plain in name or name in plain for name in long_names))
            or (kind not in CONTACTS and _worded(plain, kind, reading))
        ):
            linked.add(leaf.records[-1])
    return frozenset(linked)


def _worded(text: str, kind: Shape, reading: Reading) -> bool:
    """Whether a name of several words is made of the intent's words: "team-minutes.docx"."""
    pieces = [p for p in pieces_of(text) if p not in STOP and not p.isdigit()]
    if kind is Shape.ID and "." in text:
        pieces = pieces[:-1]  # the end of a file name
    return len(pieces) > 1 and all(p in reading.words for p in pieces)


def selected(subject: Subject, arguments: JSONObject, *, index: RunIndex, reading: Reading) -> bool:
    """Whether the intent asked for what this read returns: its arguments are the intent's words."""
    judged = False
    nouns = subject.does.nouns - GENERIC
    about = related(nouns, reading.words) if nouns else bool(reading.words)
    for part in parts(subject, arguments):
        if part.role in (Role.TIME, Role.SETTING, Role.AMOUNT):
            continue
        judged = True
        for text in values_of(part) if part.role in KEY_ROLES else [part.text]:
            if not _said(text, index, reading) and not (
                about and part.role is not Role.QUERY and _listed(text, index)
            ):
                return False
    return judged or about


def _listed(text: str, index: RunIndex) -> bool:
    """Whether a name of several words stands in what the intent selected, if only in a text."""
    seen = index.look(text) if " " in text.strip() else None
    return seen is not None and seen.selected


def _said(text: str, index: RunIndex, reading: Reading) -> bool:
    kind = shape(text)
    if (kind, same(text, kind)) in reading.atoms or strict(text) in reading.names:
        return True
    pieces = [p for p in pieces_of(text) if p not in STOP and len(p) > 1]
    if pieces and all(p in reading.words or singular(p) in reading.words for p in pieces):
        return True
    seen = index.look(text)
    if seen is None or seen.rank not in (SYSTEM, NAME):
        return False
    return seen.selected or seen.linked


__all__ = ["linked_records", "selected"]
