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
from collections.abc import Callable, Iterable
from hashlib import blake2b
from itertools import islice

from midflight.domain.flow.atoms import (
    Shape,
    grouped,
    looks,
    names,
    people,
    same,
    shape,
    telling,
    thousands,
    tokens,
)
from midflight.domain.flow.entries import (
    ABOUT,
    CONTACT,
    FLAGS,
    LINKED,
    NAME,
    NAMED,
    RANK,
    RANKS,
    SECRET,
    SELECTED,
    SOURCE,
    SYSTEM,
    TEXT,
    VOUCHED,
    Seen,
    forget,
    join,
    read,
)
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.orders import PHRASE, orders, phrase
from midflight.domain.flow.passages import PASSAGE, passages
from midflight.domain.flow.text import decodings, skeleton
from midflight.domain.flow.words import numbers
from midflight.domain.traits import FieldKind
from midflight.domain.unfolding import readings

MAX_KNOWN = 5_120
"""Atoms of fields that are no text."""
MAX_TEXT_ATOMS = 5_120
MAX_PASSAGES = 6_144
MAX_SOURCES = 2_048
MAX_PEOPLE = 512
MAX_TEXT = 65_536
"""Of a longer text the first part is indexed; what is behind it came from nowhere."""
SHORT = 4
"""A number of fewer digits is everywhere."""

# See `atoms.py`: members of an enum by name are slow.
_, _NUMBER, _ID, _, _EMAIL, _LINK, _ACCOUNT, _DATE = Shape
_BY_NAME, _BY_OWN = FieldKind.NAME, FieldKind.OWN
_WORDS = re.compile(r"\w+")
_CHUNK = 9  # bytes of an entry as it is written down
_LITERAL = "="  # in front of a link as it is written; no token begins with it
_UNSAFE = re.compile(r"[^\w.$\[\]*-]")


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
        "about_fields",
        "apart_seen",
        "forgot",
        "linked_fields",
        "lost",
        "order_seen",
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
        self.order_seen = False
        """Such a name with a verb in it is in here: as good as words that somebody wrote."""
        self.secret_seen = False
        """A field that is called like one for secrets is in here."""
        self.apart_seen = False
        """Names of some words that the intent neither selects nor names are in here."""
        self.linked_fields: set[str] = set()
        """Names of the fields in which records that the intent names have their ids."""
        self.about_fields: set[str] = set()
        """The same for records that a word of the intent tells apart."""
        self.restored = False
        """It was read back, so passages are missing."""
        self.forgot = False
        """Words of others were left out or dropped, so what is not here may stand in them."""
        self.lost = False
        """Values of fields were dropped: what comes again may have been an id or named before."""

    def __len__(self) -> int:
        return len(self._known) + len(self._text) + len(self._old)

    def add(
        self,
        found: Iterable[Leaf],
        *,
        record: str,
        selected: bool,
        linked: frozenset[int],
        about: frozenset[int] = frozenset(),
        looked_up: frozenset[int] = frozenset(),
        made: bool = False,
    ) -> None:
        """Add the values of a result; those of the records in `linked` and `about` are so marked.

        `looked_up`: linked, but for the lists in them, into which anybody may have put something.
        `made`: the run itself has made what the result is about.
        """
        base = (SELECTED if selected else 0) | (LINKED if made else 0)
        for leaf in found:
            rank = RANKS[leaf.kind]
            entry = rank | base | self._source(record, leaf.name) << SOURCE
            if leaf.secret:
                entry |= SECRET
            if (linked and not linked.isdisjoint(leaf.records)) or (
                looked_up and None not in leaf.path and not looked_up.isdisjoint(leaf.records)
            ):
                entry |= LINKED
                if rank == SYSTEM:
                    self.linked_fields.add(leaf.name)
            if about and not about.isdisjoint(leaf.records):
                entry |= ABOUT
                if rank == SYSTEM:
                    self.about_fields.add(leaf.name)
            if rank == TEXT:
                self.forgot = self.forgot or len(leaf.text) > MAX_TEXT
                self._add_text(leaf.text[:MAX_TEXT], entry | NAMED, selected=selected)
            else:
                self._add_value(leaf, entry)
        self._bound()

    def add_words(self, text: str, *, record: str, field: str) -> None:
        """Add words that somebody wrote and that no result brought: delegated text."""
        entry = TEXT | NAMED | self._source(record, field) << SOURCE
        self._add_text(text[:MAX_TEXT], entry, selected=False)
        self._bound()

    def look(self, token: str) -> Seen | None:
        """What is known of a value as it stands, by its trusted form and by its suspicious one."""
        found = shape(token)
        return self.look_as(token, found, same(token, found))

    def look_as(self, token: str, found: Shape, trusted: str) -> Seen | None:
        """The same, for those who know its shape and its trusted form already."""
        entry = self._find(trusted)
        suspect = trusted if found is not _LINK and token.isascii() else looks(token, found)
        if suspect != trusted and (self._find(suspect) or 0) & NAMED:
            # What it could be read as taints it, and gives it no trust.
            entry = NAMED | TEXT if entry is None else entry | NAMED
        if entry is None:
            return None
        record, field = self._sources[entry >> SOURCE]
        return read(entry, record, field)

    def literal(self, link: str) -> bool:
        """Whether exactly this link stands in words that somebody wrote, to the letter.

        What `look` finds the same is not: the case of a path or what is behind `#` can carry data.
        """
        return self._find(_LITERAL + link.strip()) is not None

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
                    if (self._find(form) or 0) & SECRET and not said(found, form):
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
        return bool(self._passages) and not self._passages.keys().isdisjoint(passages(text))

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
            key, entry = int.from_bytes(raw[at : at + 8], "big"), raw[at + 8] & (RANK | FLAGS)
            before = self._old.get(key)
            self._old[key] = entry if before is None else join(before, entry)
            if entry & RANK == TEXT or entry & NAMED:
                self.text_seen = True
            if entry & SECRET:
                self.secret_seen = True
            if entry & (LINKED | ABOUT) and entry & RANK == SYSTEM:
                self.linked_fields.add("")  # in which field is not read back
            if entry & RANK == NAME and not entry & VOUCHED:
                self.apart_seen = True
        while len(self._old) > MAX_KNOWN + MAX_TEXT_ATOMS:
            self.forgot = self.lost = True
            del self._old[next(iter(self._old))]

    # Inside

    def _add_value(self, leaf: Leaf, entry: int) -> None:
        if leaf.shape is _DATE:
            return  # nothing is reached by a time
        self._put(leaf.exact, entry)
        if leaf.shape is _EMAIL:
            self._meet(leaf.exact)
        if leaf.secret:
            self.secret_seen = True
        bare = leaf.text.strip()[:MAX_TEXT]
        ordered = False
        if leaf.kind is not _BY_OWN and len(bare) > PHRASE * 2:
            ordered = orders(bare)
            self.order_seen |= ordered
            if not self.phrase_seen:
                self.phrase_seen = ordered or phrase(bare)
        if " " in bare:
            self._add_words(bare, leaf, entry, ordered=ordered)

    def _add_words(self, bare: str, leaf: Leaf, entry: int, *, ordered: bool) -> None:
        """Add what is in a name of several words, or in a status line."""
        if entry & RANK == NAME and not entry & VOUCHED:
            self.apart_seen = True
        # Whoever wrote a name wrote the ids in it, and an order all that it is about.
        written = (entry & ~RANK) | TEXT | NAMED
        if ordered:
            entry = written
        for token in tokens(bare):
            kind = shape(token)
            inner = written if kind is _ID and leaf.kind is _BY_NAME else entry
            self._put(same(token, kind), inner)
        for number in grouped(bare):
            self._put(same(number, _ACCOUNT), entry)

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
            if not short or numbers(before):
                self._add_token(token, entry)
            else:
                self._figures.add(token)
        for number in grouped(text):
            self._put(same(number, _ACCOUNT), entry)
        for number in thousands(text):
            self._put(same(number, _NUMBER), entry)
        for name in names(text):
            self._put(skeleton(name), entry)
        if not selected:
            self._passages.update(dict.fromkeys(passages(text)))

    def _add_token(self, token: str, entry: int) -> None:
        kind = shape(token)
        self._put(same(token, kind), entry)
        if kind is _LINK:
            self._put(_LITERAL + token, entry)
        if kind is _LINK or not token.isascii():
            self._put(looks(token, kind), entry)
        if len(token) >= SHORT * 2:
            for plain in decodings(token):
                for inner in tokens(plain):
                    self._put(looks(inner, shape(inner)), entry)

    def _put(self, canonical: str, entry: int) -> None:
        key = hash(self._salt + canonical)
        known = self._known.get(key)
        if known is not None:
            merged = join(known, entry)
            if merged == known:
                return
            self._known[key] = merged
        elif entry & RANK == TEXT:
            before = self._text.get(key)
            merged = entry if before is None else before | (entry & FLAGS)
            if merged == before:
                return
            self._text[key] = merged
        else:
            before = self._text.pop(key, None)
            merged = entry if before is None else join(before, entry)
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
                entry = old if entry is None else join(entry, old)
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
        self.lost = self.lost or len(self._known) > MAX_KNOWN
        forget(self._known, MAX_KNOWN)
        self.forgot = self.forgot or len(self._text) > MAX_TEXT_ATOMS
        forget(self._text, MAX_TEXT_ATOMS)
        forget(self._passages, MAX_PASSAGES)


__all__ = ["CONTACT", "NAME", "SHORT", "SYSTEM", "TEXT", "RunIndex", "Seen", "people"]
