"""Entries of the index: what is known of one atom, in one integer.

Two bits of rank, flags, and the number of the place where that rank was first seen.
Above: `index.py`. Below: `traits.py`.
"""

from __future__ import annotations

from itertools import islice

from midflight.domain.traits import FieldKind
from midflight.domain.value import Value

# Ranks of what an atom was seen in, best first; they end in `Origin` (`judge.py`).
SYSTEM, NAME, CONTACT, TEXT = range(4)
RANKS = {
    FieldKind.SYSTEM: SYSTEM,
    FieldKind.OWN: SYSTEM,
    FieldKind.NAME: NAME,
    FieldKind.CONTACT: CONTACT,
    FieldKind.TEXT: TEXT,
}

RANK = 0b11
NAMED = 1 << 2
SECRET = 1 << 3
SELECTED = 1 << 4
LINKED = 1 << 5
ABOUT = 1 << 6
FLAGS = NAMED | SECRET | SELECTED | LINKED | ABOUT
VOUCHED = SELECTED | LINKED | ABOUT
SOURCE = 8


class Seen(Value):
    """What the index knows of an atom.

    Attributes:
        rank: the best kind of field that held it: `SYSTEM`, `NAME`, `CONTACT` or `TEXT`.
        named: it also stands in words that somebody wrote.
        secret: a field that is called like one for secrets held it.
        selected: a result that the intent asked for held it.
        linked: a record that the intent names held it.
        about: a record that alone has some word of the intent in it held it.
        field, record: where its best rank was seen first.
    """

    rank: int
    named: bool
    secret: bool
    selected: bool
    linked: bool
    about: bool
    field: str
    record: str


def join(one: int, other: int) -> int:
    """Both entries of one atom: the better rank keeps its place, flags add up."""
    best = one if one & RANK <= other & RANK else other
    return best | ((one | other) & FLAGS)


def forget(entries: dict[int, int] | dict[int, None], most: int) -> None:
    """Leave out the oldest entries beyond `most`."""
    over = len(entries) - most
    if over > 0:
        # A tenth at a time, so that the cost of forgetting is spread.
        for key in list(islice(iter(entries), over + most // 10)):
            del entries[key]


def read(entry: int, record: str, field: str) -> Seen:
    """An entry as those who judge see it; `record` and `field` are its place."""
    return Seen(
        rank=entry & RANK,
        named=bool(entry & NAMED),
        secret=bool(entry & SECRET),
        selected=bool(entry & SELECTED),
        linked=bool(entry & LINKED),
        about=bool(entry & ABOUT),
        field=field,
        record=record,
    )


__all__ = [
    "ABOUT",
    "CONTACT",
    "FLAGS",
    "LINKED",
    "NAME",
    "NAMED",
    "RANK",
    "RANKS",
    "SECRET",
    "SELECTED",
    "SOURCE",
    "SYSTEM",
    "TEXT",
    "VOUCHED",
    "Seen",
    "forget",
    "join",
    "read",
]
