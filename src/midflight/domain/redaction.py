"""Redaction: taking values out of what is delivered, so that what is left is sure not to hold them.

Two passes. The first finds what must go: values at reviewed places with a wanted label, values of
fields that are called like secrets, values at masked paths. The second writes everything else
anew: values that occur again are replaced wherever they stand, and a text of which it cannot be
told where its parts belong, or that repeats a value in some other spelling, goes as a whole. Types
are kept as far as there is a value that says nothing: strings stay strings, numbers and booleans
become null. Nothing of what was hidden is in the outcome, its keys and its shape apart.
Below: `flow/fields.py`, `flow/yields.py`, `unfolding.py`. Above: `services/obligations.py`.
"""

from __future__ import annotations

import json
import re
from typing import Any, cast

from midflight.domain.flow import fields
from midflight.domain.flow.fields import Leaf
from midflight.domain.flow.yields import Reviewed
from midflight.domain.labels import Labels
from midflight.domain.obligation import REDACTED, Owed, masked
from midflight.domain.paths import JSONPath, Place
from midflight.domain.traits import FieldKind
from midflight.domain.unfolding import readings, squashed
from midflight.domain.value import JSON, JSONObject

LEAST = 4
"""Letters and digits of a value that can be found again in a text for sure."""
MAX_SEARCHED = 262_144
"""A longer text is not searched for other spellings: it goes as a whole."""
MAX_NEEDLES = 512
"""Beyond so many hidden values no text is searched: it goes as a whole."""
MAX_WORK = 33_554_432
"""What searching one result may cost, in characters times values; beyond, texts go as a whole.

The loop waits for it, so an upstream must not choose how long: about half a second."""
NOTE = "dev.midflight/redacted"
"""Member of `_meta` that says that something was taken out."""

_BLOCKS = ("content", "contents", "messages")
# What the protocol fixes: hidden values that happen to spell the same do not touch it.
_FIXED = frozenset({"type", "mimeType", "role", "resultType", "level", "mode", "method"})
_NEEDED = _FIXED | {"progress", "total", "progressToken", "code", "format", "logger"}
_PROSE = frozenset({"message", "data", "text"})
_OPAQUE = ("data", "blob")
_READING = 32  # what looking for encodings costs, in values


def redact_result(result: JSONObject, reviewed: Reviewed, owed: Owed) -> JSONObject:
    """A result without what is owed to be hidden. The argument is not changed."""
    work = _Work(reviewed, owed)
    whole: JSONObject = {}
    structured = result.get("structuredContent")
    for key, value in result.items():
        if key == "structuredContent":
            work.document(value, whole, key)
        elif key in _BLOCKS and isinstance(value, list):
            work.blocks(cast("list[Any]", value), whole, key, structured)
        elif key in ("isError", "resultType"):
            whole[key] = value
        else:
            work.document(value, whole, key, root=(key,), name=key, prose=True)
    hidden = work.finish(structured is not None)
    if hidden:
        meta = whole.get("_meta")
        note: JSONObject = {"values": hidden, "labels": sorted(owed.redact)}
        whole["_meta"] = {**(meta if isinstance(meta, dict) else {}), NOTE: note}
    return whole


def redact_part(said: JSONObject, reviewed: Reviewed, owed: Owed) -> JSONObject:
    """The same for what an upstream says before its result, or in place of one: an error.

    What is reviewed is the result, so places say nothing here: where something is hidden by its
    place, everything goes that the protocol does not need.
    """
    work = _Work(reviewed, owed, blind=True)
    whole: JSONObject = {}
    for key, value in said.items():
        work.document(value, whole, key, root=(key,), name=key, prose=True)
    work.finish(False)
    return whole


class _Piece:
    """One value and where it stands in what is written."""

    __slots__ = ("holder", "key", "leaf", "prose", "value")

    def __init__(self, leaf: Leaf, value: Any, holder: Any, key: Any, *, prose: bool) -> None:
        self.leaf = leaf
        self.value = value
        self.holder = holder
        self.key = key
        self.prose = prose


class _Key:
    """A key that holds data, as a place to write to: it is renamed at the end."""

    __slots__ = ("_renamed", "_written")

    def __init__(self, renamed: dict[tuple[int, str], str], written: JSONObject) -> None:
        self._renamed = renamed
        self._written = written

    def __setitem__(self, field: str, plain: str) -> None:
        self._renamed[id(self._written), field] = plain


class _Work:
    """One redaction. See the module."""

    def __init__(self, reviewed: Reviewed, owed: Owed, *, blind: bool = False) -> None:
        self._blind = blind
        self._reviewed = reviewed
        self._owed = owed
        self._masks = owed.result_paths()
        self._pieces: list[_Piece] = []
        self._later: list[tuple[JSONObject, str] | tuple[Any, Any, list[Any], bool]] = []
        self._renamed: dict[tuple[int, str], str] = {}
        self._objects = 0
        self._hidden = 0
        self._full = False
        self._needles: dict[str, str] = {}
        self._short: set[str] = set()
        self._places: list[Place] = []

    # First: everything with its place

    def document(
        self,
        value: JSON,
        holder: Any,
        key: Any,
        *,
        root: Place = (),
        name: str = "",
        prose: bool = False,
    ) -> None:
        """Take in a document. `prose`: strings in it may be sentences that somebody wrote."""
        self._into(value, holder, key, path=root, name=name, records=(), prose=prose)

    def blocks(self, found: list[Any], holder: Any, key: Any, structured: JSON) -> None:
        """Take in blocks of content, contents of resources, messages of prompts."""
        written: list[Any] = [None] * len(found)
        holder[key] = written
        for index, block in enumerate(found):
            self._block(block, written, index, structured)

    def _block(self, block: Any, holder: Any, key: Any, structured: JSON) -> None:
        if not isinstance(block, dict):
            self.document(block, holder, key, prose=True)
            return
        inner = cast("JSONObject", block)
        written: JSONObject = {}
        holder[key] = written
        for name, value in inner.items():
            if name in _FIXED:
                written[name] = value
            elif name in _OPAQUE:
                # A picture can show what a field may not say, and nobody can look.
                self._hidden += 1
            elif name in ("content", "resource") and isinstance(value, dict):
                self._block(value, written, name, structured)
            elif name in ("content", "contents") and isinstance(value, list):
                self.blocks(cast("list[Any]", value), written, name, structured)
            elif name == "text" and isinstance(value, str):
                self._text(value, written, name, structured)
            else:
                self.document(value, written, name, root=(name,), name=name, prose=True)
        if any(name in inner for name in _OPAQUE):
            _shown_instead(inner, written)

    def _text(self, text: str, holder: Any, key: Any, structured: JSON) -> None:
        said = fields.document(text)
        wrapped = structured.get("result") if isinstance(structured, dict) else None
        root: Place = ("result",) if said is not None and said == wrapped else ()
        self.document(text, holder, key, root=root, prose=True)

    def _into(
        self,
        value: Any,
        holder: Any,
        key: Any,
        *,
        path: Place,
        name: str,
        records: tuple[int, ...],
        prose: bool,
    ) -> None:
        if len(path) > fields.MAX_DEPTH or len(self._pieces) >= fields.MAX_LEAVES:
            # Too deep or too much to look at piece by piece.
            holder[key] = REDACTED
            self._hidden += 1
            self._full = True
        elif isinstance(value, dict):
            self._objects += 1
            inside = (*records, self._objects)
            written: JSONObject = {}
            holder[key] = written
            for field, inner in cast("JSONObject", value).items():
                if field in _FIXED and isinstance(inner, str) and prose:
                    written[field] = inner
                    continue
                self._later.append((written, field))
                if not fields.plain_key(field):
                    slot = _Key(self._renamed, written)
                    self._piece(
                        field, slot, field, path=(*path, None), name=name, records=(), prose=True
                    )
                self._into(
                    inner,
                    written,
                    field,
                    path=(*path, field),
                    name=field,
                    records=inside,
                    prose=prose,
                )
        elif isinstance(value, list):
            items = cast("list[Any]", value)
            each: list[Any] = [None] * len(items)
            holder[key] = each
            for index, inner in enumerate(items):
                self._into(
                    inner, each, index, path=(*path, None), name=name, records=records, prose=prose
                )
        elif isinstance(value, str) and (said := fields.document(value)) is not None:
            # Always encoded anew: of two members of one name only one was looked at.
            box: list[Any] = [None]
            holder[key] = value
            self._later.append((holder, key, box, "\n" in value))
            self._into(said, box, 0, path=path, name=name, records=records, prose=False)
        else:
            holder[key] = value
            self._piece(value, holder, key, path=path, name=name, records=records, prose=prose)

    def _piece(
        self,
        value: Any,
        holder: Any,
        key: Any,
        *,
        path: Place,
        name: str,
        records: tuple[int, ...],
        prose: bool,
    ) -> None:
        if value is None or value == "":
            return
        text, kind = _text_of(value), None if isinstance(value, str) else FieldKind.SYSTEM
        leaf = fields.leaf(text, path=path, name=name, records=records, kind=kind)
        sentence = (
            prose
            and isinstance(value, str)
            and (not path or name in _PROSE or any(map(str.isspace, value.strip())))
        )
        self._pieces.append(_Piece(leaf, value, holder, key, prose=sentence))

    # Second: what goes, and everything else anew

    def finish(self, structured: bool) -> int:
        """Write everything; how many values are not there any more."""
        rest: list[_Piece] = []
        judged = self._reviewed.apply([piece.leaf for piece in self._pieces])
        for piece, (leaf, labels) in zip(self._pieces, judged, strict=True):
            mask = any(_within(path, leaf.path) for path in self._masks)
            if mask or self._goes(leaf, labels):
                self._hide(piece, masked(piece.value) if mask else REDACTED)
            else:
                rest.append(piece)
        finder = _Finder(self._needles, self._short)
        sure = structured and self._every_place_was_found() and not self._short
        for piece in rest:
            self._anew(piece, finder, sure=sure and not self._full)
        # The other way round: what is inside is whole before what it is in is written.
        for later in reversed(self._later):
            if len(later) == 2:
                self._rename(*later, finder)
            else:
                holder, key, box, lines = later
                holder[key] = json.dumps(box[0], ensure_ascii=False, indent=2 if lines else None)
        return self._hidden

    def _rename(self, written: JSONObject, field: str, finder: _Finder) -> None:
        plain = self._renamed.get((id(written), field)) or finder.replace(field)
        if plain != field:
            value = written.pop(field)
            written[plain if plain not in written else f"{plain} {len(written)}"] = value
            self._hidden += 1

    def _goes(self, leaf: Leaf, labels: Labels) -> bool:
        if self._owed.takes_out(labels):
            return True
        if not self._owed.takes_out_secrets:
            return False
        return leaf.secret or any(name and fields.is_secret_name(name) for name in leaf.path)

    def _hide(self, piece: _Piece, shown: str) -> None:
        keeps = isinstance(piece.value, str) or shown is not REDACTED
        piece.holder[piece.key] = shown if keeps else None
        self._hidden += 1
        self._places.append(piece.leaf.path)
        bare = piece.leaf.text.strip()
        if len(squashed(bare)) < LEAST or isinstance(piece.value, bool):
            self._short.add(bare)
        else:
            self._needles[bare] = shown

    def _anew(self, piece: _Piece, finder: _Finder, *, sure: bool) -> None:
        value = piece.value
        if self._blind and self._unknown_places() and piece.leaf.name not in _NEEDED:
            piece.holder[piece.key] = REDACTED if isinstance(value, str) else None
            return
        if not isinstance(value, str):
            if not isinstance(value, bool) and piece.leaf.text in self._needles:
                piece.holder[piece.key] = None
                self._hidden += 1
            return
        plain = finder.replace(value)
        if piece.prose and (
            (not sure and self._unknown_places())
            or (self._short and not finder.exact(value))
            or (self._owed.takes_out_secrets and plain == value and fields.names_secret(value))
            or len(self._needles) > MAX_NEEDLES
        ):
            plain = REDACTED
        if plain != value:
            piece.holder[piece.key] = plain
            self._hidden += 1

    def _unknown_places(self) -> bool:
        """Whether something is hidden by its place, which a sentence does not tell."""
        return bool(self._masks or self._reviewed.confines(self._owed.takes_out))

    def _every_place_was_found(self) -> bool:
        wanted = (*self._masks, *self._reviewed.confines(self._owed.takes_out))
        return all(any(_within(path, place) for place in self._places) for path in wanted)


class _Finder:
    """Finds hidden values again, in whatever spelling."""

    def __init__(self, needles: dict[str, str], short: set[str]) -> None:
        self._needles = needles
        self._short = short
        self._squashed = {squashed(needle) for needle in needles}
        longest = sorted(needles, key=len, reverse=True)[:MAX_NEEDLES]
        exact = [re.escape(needle) for needle in longest]
        exact += [rf"(?<!\w){re.escape(word)}(?!\w)" for word in sorted(short) if word]
        self._shown = {needle.casefold(): shown for needle, shown in needles.items()}
        self._exact = re.compile("|".join(exact), re.IGNORECASE) if exact else None
        self._price = _READING + len(needles) + len(short)
        self._left = MAX_WORK

    def exact(self, text: str) -> bool:
        """Whether the text is a hidden value and nothing else."""
        return text.strip() in self._needles

    def replace(self, text: str) -> str:
        """The text without hidden values; all of it goes if one is spelt otherwise in it."""
        if self._exact is None:
            return text
        self._left -= len(text) * self._price
        if len(text) > MAX_SEARCHED or self._left < 0:
            return REDACTED
        plain = self._exact.sub(lambda found: self._shown.get(found[0].casefold(), REDACTED), text)
        left = plain.replace(REDACTED, "\n")
        for shown in set(self._needles.values()) - {REDACTED}:
            left = left.replace(shown, "\n")
        for reading in readings(left):
            said = squashed(reading)
            if any(needle in said or needle in said[::-1] for needle in self._squashed):
                return REDACTED
        return plain


def _within(path: JSONPath, place: Place) -> bool:
    """Whether a place is one that a path names, or inside of one."""
    return any(path.matches(place[:end]) for end in range(len(place), -1, -1))


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    return str(value).lower() if isinstance(value, bool) else fields.numeral(value)


def _shown_instead(block: JSONObject, written: JSONObject) -> None:
    """In place of what cannot be looked at: a text block, or a resource of text."""
    for name in (*_OPAQUE, "mimeType"):
        written.pop(name, None)
    if "type" in block:
        written["type"] = "text"
    written["text"] = REDACTED


__all__ = ["NOTE", "redact_part", "redact_result"]
