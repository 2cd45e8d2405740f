"""The provenance index of one run: which atoms it has seen, where, and whose words they were.

An entry is one integer under a keyed hash, so that a run of a thousand steps fits into two
megabytes and what is persisted tells nothing (`snapshot`). What does not fit is forgotten oldest
first: a value that is not in the index came from nowhere, which is the worst origin, so forgetting
asks more and never less. One event loop owns an index; nothing in it waits.
Below: `atoms.py`, `fields.py`. Above: `judge.py`, `services/flow.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from zlib import crc32

from midflight.domain.flow.atoms import Shape, grouped, looks, same, shape, tokens
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.text import decodings, skeleton, strict
from midflight.domain.flow.words import classes, singular
from midflight.domain.traits import FieldKind
from midflight.domain.value import Value

MAX_ATOMS = 16_384
MAX_PASSAGES = 16_384
MAX_SOURCES = 4_096
MAX_PEOPLE = 2_048
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

_RANK = 0b11
_NAMED = 1 << 2
_SECRET = 1 << 3
_SELECTED = 1 << 4
_LINKED = 1 << 5
_SOURCE = 8
_NAMED_SOURCE = 8 + 13
_SOURCE_MASK = (1 << 13) - 1

_CAPITALS = re.compile(r"\b[A-Z][\w&'-]*(?:[ \t]+[A-Z][\w&'-]*)*")
_QUOTED = re.compile(r"(?<!\w)['\"“`]([^'\"”`\n]{2,80})['\"”`](?!\w)")


class Seen(Value):
    """What the index knows of an atom.

    Attributes:
        rank: the best kind of field that held it: `SYSTEM`, `NAME`, `CONTACT` or `TEXT`.
        named: it also stands in words that somebody wrote.
        secret: a field that is called like one for secrets held it.
        selected: a result that the intent asked for held it.
        linked: a record that the intent names held it.
        field, record: where its best rank was seen first.
        named_field, named_record: where it was named first.
    """

    rank: int
    named: bool
    secret: bool
    selected: bool
    linked: bool
    field: str
    record: str
    named_field: str
    named_record: str


class RunIndex:
    """See the module. `key` is the run's own, so that hashes of two runs cannot be compared."""

    __slots__ = (
        "_entries",
        "_key",
        "_passages",
        "_people",
        "_sources",
        "phrase_seen",
        "restored",
        "text_seen",
    )

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._entries: dict[int, int] = {}
        self._passages: dict[int, None] = {}
        self._people: dict[int, set[int]] = {}
        self._sources: list[tuple[str, str]] = [("", "")]
        self.text_seen = False
        """Words that somebody wrote are in here: the run can have been told what to do."""
        self.phrase_seen = False
        """Names long enough to be an instruction are in here."""
        self.restored = False
        """It was read back, so passages are missing."""

    def __len__(self) -> int:
        return len(self._entries)

    def add(
        self, found: Iterable[Leaf], *, record: str, selected: bool, linked: frozenset[int]
    ) -> None:
        """Add the values of a result; those of the records in `linked` are so marked."""
        for leaf in found:
            rank = _RANKS[leaf.kind]
            flags = rank | (_SELECTED if selected else 0)
            if leaf.secret:
                flags |= _SECRET
            if not linked.isdisjoint(leaf.records):
                flags |= _LINKED
            source = self._source(record, leaf.name)
            if rank == TEXT:
                self._add_text(leaf.text[:MAX_TEXT], flags | _NAMED, source, selected=selected)
            else:
                self._add_value(leaf.text[:MAX_TEXT], flags, source)
        self._bound()

    def add_words(self, text: str, *, record: str, field: str) -> None:
        """Add words that somebody wrote and that no result brought: delegated text."""
        source = self._source(record, field)
        self._add_text(text[:MAX_TEXT], TEXT | _NAMED, source, selected=False)
        self._bound()

    def look(self, token: str) -> Seen | None:
        """What is known of a value as it stands, by its trusted form and by its suspicious one."""
        found = shape(token)
        trusted, suspect = same(token, found), looks(token, found)
        entry = self._entries.get(self._hash(trusted))
        if suspect != trusted:
            # What it could be read as taints it, and gives it no trust.
            other = self._entries.get(self._hash(suspect), 0)
            if other & _NAMED:
                named = _NAMED | (other & (_SOURCE_MASK << _NAMED_SOURCE))
                entry = named | TEXT if entry is None else entry | named
        return None if entry is None else self._seen(entry)

    def passages(self, text: str) -> bool:
        """Whether a text repeats words of a source that was not selected."""
        return any(found in self._passages for found in _passages(text, every=True))

    def alone(self, piece: str) -> bool:
        """Whether one address only has this name in it, of all that were seen."""
        return len(self._people.get(self._hash(piece), ())) == 1

    def snapshot(self) -> bytes:
        """The entries as bytes, without passages and places: keyed hashes and flags."""
        flags = _RANK | _NAMED | _SECRET | _SELECTED | _LINKED
        return b"".join(
            key.to_bytes(8, "big") + bytes([entry & flags]) for key, entry in self._entries.items()
        )

    def restore(self, raw: bytes) -> None:
        """Take back a snapshot. Anything that is not one is ignored: less is known then."""
        if len(raw) % 9 == 0:
            for at in range(0, len(raw), 9):
                self._merge(int.from_bytes(raw[at : at + 8], "big"), raw[at + 8])
        self.restored = True
        self._bound()

    # Inside

    def _add_value(self, text: str, flags: int, source: int) -> None:
        if flags & _RANK == NAME and text.count(" ") >= PHRASE - 1:
            self.phrase_seen = True
        entry = flags | source << _SOURCE
        whole = strict(text)
        kind = shape(text.strip())
        self._put(same(text.strip(), kind), entry)
        if kind is Shape.EMAIL and len(self._people) < MAX_PEOPLE:
            for piece in people(text.strip()):
                self._people.setdefault(self._hash(piece), set()).add(self._hash(strict(text)))
        if kind is Shape.WORD or " " in whole:
            self._put(whole, entry)
            for token in tokens(text):
                self._put(same(token, shape(token)), entry)
            for number in grouped(text):
                self._put(same(number, Shape.ACCOUNT), entry)

    def _add_text(self, text: str, flags: int, source: int, *, selected: bool) -> None:
        self.text_seen = True
        entry = flags | source << _SOURCE | source << _NAMED_SOURCE
        before = ""
        for token in tokens(text):
            # A plain word says nothing about where a value came from, and "June 13" does not name
            # what has the id 13; "file 13" does.
            plain = token.isalpha() and token.isascii()
            if not plain and (len(token) >= SHORT or not token.isdigit() or _numbers(before)):
                self._add_token(token, entry)
            before = token
        for number in grouped(text):
            self._put(same(number, Shape.ACCOUNT), entry)
        for name in _CAPITALS.findall(text):
            self._put(skeleton(name), entry)
        for name in _QUOTED.findall(text):
            self._put(skeleton(name), entry)
        if not selected:
            for found in _passages(text, every=False):
                self._passages[found] = None

    def _add_token(self, token: str, entry: int) -> None:
        kind = shape(token)
        trusted, suspect = same(token, kind), looks(token, kind)
        self._put(trusted, entry)
        if suspect != trusted:
            self._put(suspect, entry)
        for plain in decodings(token):
            for inner in tokens(plain):
                self._put(looks(inner, shape(inner)), entry)

    def _put(self, canonical: str, entry: int) -> None:
        self._merge(self._hash(canonical), entry)

    def _merge(self, key: int, entry: int) -> None:
        before = self._entries.get(key)
        if before is None:
            self._entries[key] = entry
            return
        if before & entry & 0xFF == entry & 0xFF and before & _RANK <= entry & _RANK:
            return
        flags = (before | entry) & (_NAMED | _SECRET | _SELECTED | _LINKED)
        # The better rank keeps its place and, of selected and linked, what it came with.
        best = before if before & _RANK <= entry & _RANK else entry
        named = before if before & _NAMED else entry
        self._entries[key] = (
            (best & _RANK)
            | flags
            | (best & (_SOURCE_MASK << _SOURCE))
            | (named & (_SOURCE_MASK << _NAMED_SOURCE))
        )

    def _hash(self, canonical: str) -> int:
        return int.from_bytes(
            blake2b(
                canonical.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key
            ).digest(),
            "big",
        )

    def _source(self, record: str, field: str) -> int:
        place = (record, _safe(field))
        if self._sources[-1] != place and len(self._sources) < MAX_SOURCES:
            self._sources.append(place)
        return len(self._sources) - 1 if self._sources[-1] == place else 0

    def _seen(self, entry: int) -> Seen:
        record, field = self._sources[entry >> _SOURCE & _SOURCE_MASK]
        named_record, named_field = self._sources[entry >> _NAMED_SOURCE & _SOURCE_MASK]
        return Seen(
            rank=entry & _RANK,
            named=bool(entry & _NAMED),
            secret=bool(entry & _SECRET),
            selected=bool(entry & _SELECTED),
            linked=bool(entry & _LINKED),
            field=field,
            record=record,
            named_field=named_field,
            named_record=named_record,
        )

    def _bound(self) -> None:
        while len(self._entries) > MAX_ATOMS:
            del self._entries[next(iter(self._entries))]
        while len(self._passages) > MAX_PASSAGES:
            del self._passages[next(iter(self._passages))]


def _passages(text: str, *, every: bool) -> Iterable[int]:
    """Fingerprints of `PASSAGE` words in a row: of all, or of one in four for keeping."""
    words = re.findall(r"\w+", skeleton(text))
    for at in range(len(words) - PASSAGE + 1):
        found = crc32(" ".join(words[at : at + PASSAGE]).encode("utf-8", "surrogatepass"))
        if every or found % 4 == 0:
            yield found


def people(address: str) -> list[str]:
    """The names in an address: `ann.lee@example.org` has two."""
    return [p for p in re.split(r"[._+-]", strict(address).partition("@")[0]) if p.isalpha()]


def _numbers(before: str) -> bool:
    """Whether a word in front of a short number makes it the number of something."""
    noun = singular(before.lower())
    return noun in ("id", "no", "nr", "number") or bool(classes(noun))


def _safe(field: str) -> str:
    """A field's name for records: it is the upstream's, so it is cut and cleaned."""
    return re.sub(r"[^\w.$\[\]*-]", "?", field)[:48]


__all__ = ["CONTACT", "MAX_ATOMS", "NAME", "SYSTEM", "TEXT", "RunIndex", "Seen", "people"]
