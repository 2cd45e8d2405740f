"""Fields of a result: each piece of it with its place, its name and whose words it holds.

What the reviewed `yields` of a tool say about a place holds. Everywhere else the name of the field
and the shape of the value decide, on the safe side: what could carry a sentence is text that
somebody wrote. Above: `index.py`. Below: `atoms.py`.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, cast

import msgspec

from midflight.domain.flow.atoms import CONTACTS, Shape, grouped, same, shape, tokens
from midflight.domain.flow.orders import ordering_key
from midflight.domain.flow.words import lexicon
from midflight.domain.traits import FieldKind
from midflight.domain.value import JSON, JSONObject, Value

# See `atoms.py`: members of an enum by name are slow.
_WORD, _HANDLE, _EMAIL, _ACCOUNT = Shape.WORD, Shape.HANDLE, Shape.EMAIL, Shape.ACCOUNT
_BY_SYSTEM, _BY_NAME, _BY_CONTACT, _BY_TEXT = (
    FieldKind.SYSTEM,
    FieldKind.NAME,
    FieldKind.CONTACT,
    FieldKind.TEXT,
)
_BEGINNINGS = ("{", "[")
MAX_LEAVES = 20_000
MAX_DEPTH = 64
MAX_FLAT = 65_536
"""Of what is too deep to look at piece by piece that much is read."""
STATUS_WORDS = 24
NAME_WORDS = 6
"""A longer string can carry an instruction, so it is text whatever its field is called."""

_TEXT = lexicon(
    """
        body content contents text message messages comment comments note notes
        description descriptions summary review reviews bio about html markdown snippet
        transcript answer instructions feedback abstract excerpt caption article story
        post tweet reply remark remarks memo reason details output stdout stderr log
        logs data diff lines line result results response page readme
    """
)
_CONTACT = lexicon(
    """
        sender senders from author authors participant participants attendee attendees
        organizer organiser recipient recipients to cc bcc counterparty counterparties
        owner shared_with invited guests guest members member users user username
        created_by assignee reporter mentions followers following payee payer
        beneficiary creditor debtor reply_to
    """
)
_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|api_?key|private_?key|access_?key|token|cvv|cvc|pin"
    r"|otp|security_?code|ssn|credential|credentials|card_?number|recovery_?code)(?:$|_)"
)
# A number by one of these names is the upstream's own.
_NUMBERED = re.compile(
    r"(?:^|_)(?:id|ids|uuid|key|ref|reference|code|sku|hash|sha|order|no|number)$"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TYPED = re.compile(
    r"[-+]?[0-9]{1,4}[-/.:][0-9]{1,2}[-/.:0-9TZ+ ]*(?:\s?[AaPp][Mm])?\Z"  # dates and times
)


class Leaf(Value, kw_only=False):
    """One value of a result. Made by position: by name takes three times as long (measured).

    Attributes:
        path: its place: names, and None for an element of an array.
        name: name of the innermost field that has one.
        text: the value as text.
        kind: whose words it holds.
        secret: its field is called like one that holds a secret.
        shape, exact: what the value looks like as a whole, and its form for comparison.
        records: numbers of the objects it is in, innermost last, counted over the result.
    """

    path: tuple[str | None, ...]
    name: str
    text: str
    kind: FieldKind
    secret: bool
    shape: Shape
    exact: str
    records: tuple[int, ...]


@lru_cache(maxsize=8_192)
def words_of(name: str) -> str:
    """A field's name in lower case with `_` between its words."""
    return _CAMEL.sub("_", name).replace("-", "_").replace(" ", "_").lower().strip("_")


def leaves(*documents: JSON, effect: bool) -> list[Leaf]:
    """Every value of a result that is not empty, outermost first.

    Several documents (structured content, blocks of text) each begin at the root: what is said of
    `$.items` holds in all of them. A string that holds a JSON document is that document.
    `effect`: the result is what a tool said about something it did, so that a short status line is
    the tool's own words.
    """
    walk = _Walk(effect=effect)
    for each in documents:
        walk.into(each, (), "", ())
    return walk.found


def leaf(
    text: str,
    *,
    path: tuple[str | None, ...],
    name: str,
    records: tuple[int, ...],
    kind: FieldKind | None = None,
) -> Leaf:
    """One value with its place; without `kind` its words and its field's name tell whose it is."""
    bare = text.strip()
    looks = shape(bare)
    if kind is None:
        kind = _kind(bare, looks, name, effect=False)
    exact = same(bare, looks)
    return Leaf(path, name, text, kind, is_secret_name(name), looks, exact, records)


class _Walk:
    """One walk over a result. Bounded: what is beyond a bound is taken whole, as text."""

    __slots__ = ("_effect", "_objects", "found")

    def __init__(self, *, effect: bool) -> None:
        self.found: list[Leaf] = []
        self._effect = effect
        self._objects = 0

    def into(
        self, value: Any, path: tuple[str | None, ...], name: str, records: tuple[int, ...]
    ) -> None:
        if len(path) > MAX_DEPTH or len(self.found) >= MAX_LEAVES:
            # Too deep or too much to look at piece by piece: all of it is somebody's words.
            self._add(flat(value), path, name, records, FieldKind.TEXT)
        elif isinstance(value, str):
            bare = value.strip()
            inner = document(value) if bare.startswith(_BEGINNINGS) else None
            if inner is not None:
                self.into(inner, path, name, records)
            elif bare:
                looks = shape(bare)
                kind, exact = _kind(bare, looks, name, effect=self._effect), same(bare, looks)
                secret = is_secret_name(name)
                self.found.append(Leaf(path, name, value, kind, secret, looks, exact, records))
        elif isinstance(value, dict):
            self._object(cast("JSONObject", value), path, name, records)
        elif isinstance(value, list):
            for inner in cast("list[Any]", value):
                self.into(inner, (*path, None), name, records)
        elif value is not None and value is not True and value is not False:
            self._add(numeral(value), path, name, records, _BY_SYSTEM)

    def _object(
        self, value: JSONObject, path: tuple[str | None, ...], name: str, records: tuple[int, ...]
    ) -> None:
        self._objects += 1
        inside = (*records, self._objects)
        for key, inner in value.items():
            self.into(inner, (*path, key), key, inside)
            if not plain_key(key):
                # A key that no program would choose holds data.
                self.into(key, (*path, None), name, inside)

    def _add(
        self,
        text: str,
        path: tuple[str | None, ...],
        name: str,
        records: tuple[int, ...],
        kind: FieldKind,
    ) -> None:
        self.found.append(leaf(text, path=path, name=name, records=records, kind=kind))


def _kind(bare: str, looks: Shape, name: str, *, effect: bool) -> FieldKind:
    """Whose words a string is, by the name of its field and its shape."""
    sort = _sort(name)
    spaces = bare.count(" ")
    if spaces >= NAME_WORDS or "\n" in bare:
        status = effect and sort & STATUS and spaces < STATUS_WORDS and "\n" not in bare
        return _BY_SYSTEM if status and not _calls(bare) else _BY_TEXT
    if sort & CONTACT or (
        not sort & TEXT and (spaces or looks in CONTACTS) and _reaches(bare, looks, name)
    ):
        return _BY_CONTACT
    if not spaces or _TYPED.match(bare) is not None:
        if sort & TEXT and looks in CONTACTS:
            return _BY_TEXT
        if looks is _WORD:
            return _BY_NAME
        # Whoever may choose a name can choose one that looks like an address.
        return _BY_CONTACT if sort & NAMED and looks in CONTACTS else _BY_SYSTEM
    # A status line is the tool's own; any other text of what was done is as good as one it read.
    written = sort & TEXT and not (effect and sort & STATUS)
    # A short string that holds an address or an account is no name of anything.
    return _BY_TEXT if written or _calls(bare) else _BY_NAME


def _reaches(bare: str, looks: Shape, name: str) -> bool:
    """Whether a value by itself says how somebody is reached or paid, however it is called."""
    if looks is _EMAIL or looks is _HANDLE:
        return True
    if looks is _ACCOUNT:
        # A field for the account of the record itself is the upstream's; a party's is the party's.
        return words_of(name) not in _ACCOUNTS and not numbered(name)
    return looks is _WORD and bare[-1:].isdigit() and len(bare) < _GROUPS and _grouped(bare)


def _grouped(bare: str) -> bool:
    """Whether all of a value is one number in groups: a phone, an account."""
    whole = bare.replace(" ", "").replace("-", "").lstrip("+")
    # A country's code of one digit is no group of its own.
    return any(
        whole.endswith(found.lstrip("+")) and len(whole) - len(found) < 3 for found in grouped(bare)
    )


_GROUPS = 44
_ACCOUNTS = lexicon("iban account account_number wallet")
STATUS, CONTACT, TEXT, NAMED = 1, 2, 4, 8
"""What the name of a field says, as bits."""


@lru_cache(maxsize=8_192)
def _sort(name: str) -> int:
    field = words_of(name)
    last = field.rpartition("_")[2]
    return (
        (STATUS if last in _STATUS else 0)
        | (CONTACT if field in _CONTACT or last in _CONTACT else 0)
        | (TEXT if field in _TEXT or last in _TEXT else 0)
        | (NAMED if last in _NAMED else 0)
    )


@lru_cache(maxsize=8_192)
def numbered(name: str) -> bool:
    """Whether a field is called like one for the upstream's own numbers."""
    return _NUMBERED.search(words_of(name)) is not None


@lru_cache(maxsize=8_192)
def is_secret_name(name: str) -> bool:
    """Whether a field of this name, or a text that names it, is about a secret."""
    return _SECRET.search(words_of(name)) is not None


_NAMED = lexicon("name title label nickname alias nick displayname subject topic")


def names_secret(text: str) -> bool:
    """Whether a text speaks of a secret. Not cached: texts are not kept."""
    return _SECRET.search("_".join(_LETTERS.findall(text.lower()))) is not None


_LETTERS = re.compile(r"[a-z]+")
_STATUS = lexicon("message status result error detail info msg warning success reason")


def _calls(text: str) -> bool:
    if text.replace(" ", "").isalpha():
        return False  # words, of which none is an address
    return any(shape(token) in CONTACTS for token in tokens(text))


def plain_key(key: str) -> bool:
    """Whether a program could have chosen this key; any other holds data."""
    return len(key) <= 64 and _plain_key(key)


@lru_cache(maxsize=8_192)
def _plain_key(key: str) -> bool:
    return " " not in key.strip() and shape(key) not in CONTACTS and not ordering_key(key)


def document(text: str) -> Any:
    """The JSON document that a string holds, or None."""
    if text.lstrip()[:1] not in _BEGINNINGS:
        return None
    try:
        value = msgspec.json.decode(text)
        # Of two members of one name one reader takes the first, another the last: it stays text.
        # An encoder writes none twice, so what it gives back is asked no further (see `wire/json`).
        plain, raw = msgspec.json.encode(value), text.encode()
        if plain != raw and plain != msgspec.json.format(raw, indent=-1):
            json.loads(text, object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        return None
    return value


def _distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        raise ValueError("a name stands twice")
    return found


def flat(value: Any) -> str:
    """Everything in a value that is text or a number, keys included, as one text."""
    found: list[str] = []
    left = [value]
    length = 0
    while left and length < MAX_FLAT:
        now = left.pop()
        if isinstance(now, dict):
            inner = cast("JSONObject", now)
            left += [part for key in reversed(inner) for part in (inner[key], key)]
        elif isinstance(now, list):
            left += reversed(cast("list[Any]", now))
        elif now is not None and now is not True and now is not False:
            text = now if isinstance(now, str) else numeral(now)
            found.append(text)
            length += len(text)
    return " ".join(found)


def numeral(value: Any) -> str:
    """A number as text."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


__all__ = [
    "MAX_DEPTH",
    "MAX_LEAVES",
    "Leaf",
    "document",
    "flat",
    "is_secret_name",
    "leaf",
    "leaves",
    "names_secret",
    "numbered",
    "numeral",
    "plain_key",
    "words_of",
]
