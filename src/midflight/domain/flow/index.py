"""The provenance index of one run: which atoms it has seen, where, and whose words they were.

An entry is one integer under the hash of an atom, so that a run of a thousand steps fits into two
megabytes. What does not fit is forgotten oldest first, words of others before everything else: a
value that is not in the index came from nowhere, which is the worst origin, so forgetting asks more
and never less. What is written down are keyed hashes (`unsaved`), never text; what is read back is
looked up by them.

One event loop owns an index; nothing in it waits. Below: `atoms.py`, `fields.py`. Above:
`judge.py`, `services/flow.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import islice

from midflight.domain.flow.atoms import (
    Shape,
    grouped,
    looks,
    same,
    shape,
    telling,
    thousands,
    tokens,
)
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.text import decodings, skeleton, strict
from midflight.domain.flow.words import classes, singular
from midflight.domain.traits import FieldKind
from midflight.domain.unfolding import readings
from midflight.domain.value import Value

MAX_KNOWN = 5_120
"""Atoms of fields that are no text."""
MAX_TEXT_ATOMS = 5_120
MAX_PASSAGES = 4_096
MAX_SOURCES = 2_048
MAX_PEOPLE = 512
MAX_TEXT = 65_536
"""Of a longer text the first part is indexed; what is behind it came from nowhere."""
SHORT = 4
"""A number of fewer digits is everywhere."""
PHRASE = 4
"""Words in a name from which on it could be an instruction."""
PASSAGE = 5
"""Words in a row that make a passage."""

# Ranks of what an atom was seen in, best first; they end in `Origin` (`judge.py`).
SYSTEM, NAME, CONTACT, TEXT = range(4)
_RANKS = {
    FieldKind.SYSTEM: SYSTEM,
    FieldKind.OWN: SYSTEM,
    FieldKind.NAME: NAME,
    FieldKind.CONTACT: CONTACT,
    FieldKind.TEXT: TEXT,
}

# An entry: two bits of rank, flags, and the number of the place where that rank was first seen.
_RANK = 0b11
_NAMED = 1 << 2
_SECRET = 1 << 3
_SELECTED = 1 << 4
_LINKED = 1 << 5
_FLAGS = _NAMED | _SECRET | _SELECTED | _LINKED
_SOURCE = 8

_CAPITALS = re.compile(r"\b[A-Z][\w&'-]*(?:[ \t]+[A-Z][\w&'-]*)*")
_QUOTED = re.compile(r"(?<!\w)['\"“`]([^'\"”`\n]{2,80})['\"”`](?!\w)")
_WORDS = re.compile(r"\w+")
_PIECES = re.compile(r"[\s_./\\-]+")
_UNSAFE = re.compile(r"[^\w.$\[\]*-]")


class Seen(Value):
    """What the index knows of an atom.

    Attributes:
        rank: the best kind of field that held it: `SYSTEM`, `NAME`, `CONTACT` or `TEXT`.
        named: it also stands in words that somebody wrote.
        secret: a field that is called like one for secrets held it.
        selected: a result that the intent asked for held it.
        linked: a record that the intent names held it.
        field, record: where its best rank was seen first.
    """

    rank: int
    named: bool
    secret: bool
    selected: bool
    linked: bool
    field: str
    record: str


class RunIndex:
    """See the module. `key` is the run's own, so that hashes of two runs cannot be compared."""

    __slots__ = (
        "_figures",
        "_key",
        "_known",
        "_old",
        "_passages",
        "_people",
        "_salt",
        "_sources",
        "_text",
        "_unsaved",
        "forgot",
        "linked_fields",
        "phrase_seen",
        "restored",
        "secret_seen",
        "text_seen",
    )

    def __init__(self, key: bytes) -> None:
        self._key = key
        # Hashes in memory are Python's own, fifteen times as fast as a keyed one. The prefix keeps
        # them unguessable where a seed is set for the whole interpreter.
        self._salt = key.hex()[:16]
        self._known: dict[int, int] = {}
        self._text: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._passages: dict[int, None] = {}
        self._people: dict[int, int] = {}
        self._figures: set[str] = set()
        self._sources: list[tuple[str, str]] = [("", "")]
        self._unsaved: dict[str, int] = {}
        self.text_seen = False
        """Words that somebody wrote are in here: the run can have been told what to do."""
        self.phrase_seen = False
        """Names long enough to be an instruction are in here."""
        self.secret_seen = False
        """A field that is called like one for secrets is in here."""
        self.linked_fields: set[str] = set()
        """Names of the fields in which records that the intent names have their ids."""
        self.restored = False
        """It was read back, so passages are missing."""
        self.forgot = False
        """Words of others were left out or dropped, so what is not here may stand in them."""

    def __len__(self) -> int:
        return len(self._known) + len(self._text) + len(self._old)

    def add(
        self,
        found: Iterable[Leaf],
        *,
        record: str,
        selected: bool,
        linked: frozenset[int],
        made: bool = False,
    ) -> None:
        """Add the values of a result; those of the records in `linked` are so marked.

        `made`: the run itself has made what the result is about.
        """
        base = (_SELECTED if selected else 0) | (_LINKED if made else 0)
        for leaf in found:
            rank = _RANKS[leaf.kind]
            entry = rank | base | self._source(record, leaf.name) << _SOURCE
            if leaf.secret:
                entry |= _SECRET
            if linked and not linked.isdisjoint(leaf.records):
                entry |= _LINKED
                if rank == SYSTEM:
                    self.linked_fields.add(leaf.name)
            if rank == TEXT:
                self.forgot = self.forgot or len(leaf.text) > MAX_TEXT
                self._add_text(leaf.text[:MAX_TEXT], entry | _NAMED, selected=selected)
            else:
                self._add_value(leaf, entry)
        self._bound()

    def add_words(self, text: str, *, record: str, field: str) -> None:
        """Add words that somebody wrote and that no result brought: delegated text."""
        entry = TEXT | _NAMED | self._source(record, field) << _SOURCE
        self._add_text(text[:MAX_TEXT], entry, selected=False)
        self._bound()

    def look(self, token: str) -> Seen | None:
        """What is known of a value as it stands, by its trusted form and by its suspicious one."""
        found = shape(token)
        trusted = same(token, found)
        entry = self._find(trusted)
        suspect = looks(token, found)
        if suspect != trusted and (self._find(suspect) or 0) & _NAMED:
            # What it could be read as taints it, and gives it no trust.
            entry = _NAMED | TEXT if entry is None else entry | _NAMED
        if entry is None:
            return None
        record, field = self._sources[entry >> _SOURCE]
        return Seen(
            rank=entry & _RANK,
            named=bool(entry & _NAMED),
            secret=bool(entry & _SECRET),
            selected=bool(entry & _SELECTED),
            linked=bool(entry & _LINKED),
            field=field,
            record=record,
        )

    def holds_secret(self, text: str, *, said: Callable[[Shape, str], bool]) -> bool:
        """Whether a text, or what it says when it is decoded, holds a value of a secret field.

        `said` tells values that the principal has said or a person has approved.
        """
        if not self.secret_seen:
            return False
        for reading in readings(text):
            for token in tokens(reading):
                found = shape(token)
                for form in {same(token, found), looks(token, found)}:
                    if (self._find(form) or 0) & _SECRET and not said(found, form):
                        return True
        return False

    def figure(self, number: str) -> bool:
        """Whether a number stands in words that somebody wrote, however short it is."""
        if self.restored and self.text_seen and len(number) < SHORT:
            return True  # short ones are not written down
        return number in self._figures or self.look(number) is not None

    def passages(self, text: str) -> bool:
        """Whether a text repeats words of a source that was not selected.

        Of a run that was read back this is not known, so every text of some length might.
        """
        if self.restored and self.text_seen:
            return len(list(islice(_WORDS.finditer(text), PASSAGE))) == PASSAGE
        return any(found in self._passages for found in _passages(text))

    def alone(self, piece: str) -> bool:
        """Whether one address only has this name in it, of all that were seen."""
        # One that was read back has not met those who were there before.
        return not self.restored and bool(self._people.get(self._hash(piece)))

    def unsaved(self) -> bytes:
        """What was added since the last call: keyed hashes with their flags, nothing else."""
        chunk = b"".join(
            self._keyed(canonical) + bytes((entry & 0xFF,))
            for canonical, entry in self._unsaved.items()
        )
        self._unsaved.clear()
        return chunk

    def restore(self, raw: bytes) -> None:
        """Take back chunks of `unsaved`. What is not such a chunk is ignored: less is known."""
        self.restored = True
        for at in range(0, len(raw) - _CHUNK + 1, _CHUNK):
            key, entry = int.from_bytes(raw[at : at + 8], "big"), raw[at + 8] & (_RANK | _FLAGS)
            before = self._old.get(key)
            self._old[key] = entry if before is None else _merged(before, entry)
            if entry & _RANK == TEXT or entry & _NAMED:
                self.text_seen = True
            if entry & _SECRET:
                self.secret_seen = True
            if entry & _LINKED and entry & _RANK == SYSTEM:
                self.linked_fields.add("")  # in which field is not read back
        while len(self._old) > MAX_KNOWN + MAX_TEXT_ATOMS:
            self.forgot = True
            del self._old[next(iter(self._old))]

    # Inside

    def _add_value(self, leaf: Leaf, entry: int) -> None:
        if leaf.shape is Shape.DATE:
            return  # nothing is reached by a time
        self._put(leaf.exact, entry)
        if leaf.shape is Shape.EMAIL:
            self._meet(leaf.exact)
        if leaf.secret:
            self.secret_seen = True
        bare = leaf.text.strip()[:MAX_TEXT]
        if (
            leaf.kind is not FieldKind.OWN
            and len(bare) > PHRASE * 2
            and len(_PIECES.split(bare)) >= PHRASE
        ):
            self.phrase_seen = True
        if " " not in bare:
            return
        for token in tokens(bare):
            self._put(same(token, shape(token)), entry)
        for number in grouped(bare):
            self._put(same(number, Shape.ACCOUNT), entry)

    def _meet(self, address: str) -> None:
        whole = self._hash(address)
        for piece in people(address):
            key = self._hash(piece)
            if key not in self._people and len(self._people) >= MAX_PEOPLE:
                continue  # not met, so nobody is meant by it
            # Zero for a name that several addresses have in them.
            self._people[key] = whole if self._people.get(key, whole) == whole else 0

    def _add_text(self, text: str, entry: int, *, selected: bool) -> None:
        self.text_seen = True
        for token, before in telling(text):
            # "June 13" does not name what has the id 13; "file 13" does.
            short = len(token) < SHORT and token.isdigit() and token.isascii()
            if not short or _numbers(before):
                self._add_token(token, entry)
            else:
                self._figures.add(token)
        for number in grouped(text):
            self._put(same(number, Shape.ACCOUNT), entry)
        for number in thousands(text):
            self._put(same(number, Shape.NUMBER), entry)
        for name in _CAPITALS.findall(text):
            self._put(skeleton(name), entry)
        for name in _QUOTED.findall(text):
            self._put(skeleton(name), entry)
        if not selected:
            for found in _passages(text):
                self._passages[found] = None

    def _add_token(self, token: str, entry: int) -> None:
        kind = shape(token)
        trusted, suspect = same(token, kind), looks(token, kind)
        self._put(trusted, entry)
        if suspect != trusted:
            self._put(suspect, entry)
        if len(token) >= SHORT * 2:
            for plain in decodings(token):
                for inner in tokens(plain):
                    self._put(looks(inner, shape(inner)), entry)

    def _put(self, canonical: str, entry: int) -> None:
        key = hash(self._salt + canonical)
        known = self._known.get(key)
        if known is not None:
            merged = _merged(known, entry)
            if merged == known:
                return
            self._known[key] = merged
        elif entry & _RANK == TEXT:
            before = self._text.get(key)
            merged = entry if before is None else before | (entry & _FLAGS)
            if merged == before:
                return
            self._text[key] = merged
        else:
            before = self._text.pop(key, None)
            merged = entry if before is None else _merged(before, entry)
            self._known[key] = merged
        self._unsaved[canonical] = merged

    def _find(self, canonical: str) -> int | None:
        key = hash(self._salt + canonical)
        entry = self._known.get(key)
        if entry is None:
            entry = self._text.get(key)
        if self._old:
            old = self._old.get(int.from_bytes(self._keyed(canonical), "big"))
            if old is not None:
                entry = old if entry is None else _merged(entry, old)
        return entry

    def _hash(self, canonical: str) -> int:
        return hash(self._salt + canonical)

    def _keyed(self, canonical: str) -> bytes:
        raw = canonical.encode("utf-8", "surrogatepass")
        return blake2b(raw, digest_size=8, key=self._key).digest()

    def _source(self, record: str, field: str) -> int:
        last = self._sources[-1]
        if last[0] == record and last[1] == field:
            return len(self._sources) - 1
        if len(self._sources) >= MAX_SOURCES:
            return 0
        self._sources.append((record, _UNSAFE.sub("?", field)[:48]))
        return len(self._sources) - 1

    def _bound(self) -> None:
        _forget(self._known, MAX_KNOWN)
        self.forgot = self.forgot or len(self._text) > MAX_TEXT_ATOMS
        _forget(self._text, MAX_TEXT_ATOMS)
        _forget(self._passages, MAX_PASSAGES)


_CHUNK = 9


def people(address: str) -> list[str]:
    """The names in an address: `ann.lee@example.org` has two."""
    return [p for p in re.split(r"[._+-]", strict(address).partition("@")[0]) if p.isalpha()]


def _merged(one: int, other: int) -> int:
    """Both entries of one atom: the better rank keeps its place, flags add up."""
    best = one if one & _RANK <= other & _RANK else other
    return best | ((one | other) & _FLAGS)


def _forget(entries: dict[int, int] | dict[int, None], most: int) -> None:
    over = len(entries) - most
    if over > 0:
        # A tenth at a time, so that the cost of forgetting is spread.
        for key in list(islice(iter(entries), over + most // 10)):
            del entries[key]


def _passages(text: str) -> Iterator[int]:
    """Fingerprints of `PASSAGE` words in a row, for those that begin with one word in four.

    Which words begin one depends on the word alone, so the same passage has the same ones.
    """
    words = _WORDS.findall(skeleton(text))
    hashes = list(map(hash, words))
    for at in range(len(words) - PASSAGE + 1):
        if hashes[at] & 3 == 0:
            yield hash(tuple(hashes[at : at + PASSAGE]))


def _numbers(before: str) -> bool:
    """Whether a word in front of a short number makes it the number of something."""
    noun = singular(before.lower())
    return noun in ("id", "no", "nr", "number") or bool(classes(noun))


__all__ = ["CONTACT", "NAME", "SHORT", "SYSTEM", "TEXT", "RunIndex", "Seen", "people"]
