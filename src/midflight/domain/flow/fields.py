"""Fields of a result: each piece of it with its place, its name and whose words it holds.

What the reviewed `yields` of a tool say about a place holds. Everywhere else the name of the field
and the shape of the value decide, on the safe side: what could carry a sentence is text that
somebody wrote. Above: `index.py`. Below: `atoms.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from midflight.domain.flow.atoms import CONTACTS, Shape, shape, tokens
from midflight.domain.traits import FieldKind
from midflight.domain.value import JSON, Value

MAX_LEAVES = 20_000
MAX_DEPTH = 64
NAME_WORDS = 6
"""A longer string can carry an instruction, so it is text whatever its field is called."""

_TEXT = frozenset(
    "body content contents text message messages comment comments note notes description descriptions"
    " summary review reviews bio about html markdown snippet transcript answer instructions feedback"
    " abstract excerpt caption article story post tweet reply remark remarks memo reason details"
    " output stdout stderr log logs data diff lines line result results response page readme".split()
)
_CONTACT = frozenset(
    "sender senders from author authors participant participants attendee attendees organizer"
    " organiser recipient recipients to cc bcc counterparty counterparties owner shared_with"
    " invited guests guest members member users user username created_by assignee reporter"
    " mentions followers following payee payer beneficiary creditor debtor reply_to".split()
)
_SECRET = re.compile(
    r"(?:^|_)(?:password|passwd|passphrase|secret|api_?key|private_?key|access_?key|token|cvv|cvc|pin"
    r"|otp|security_?code|ssn|credential|credentials|card_?number|recovery_?code)(?:$|_)"
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_TYPED = re.compile(
    r"[-+]?[0-9]{1,4}[-/.:][0-9]{1,2}[-/.:0-9TZ+ ]*(?:\s?[AaPp][Mm])?\Z"  # dates and times
)


class Leaf(Value):
    """One value of a result.

    Attributes:
        path: its place: names, and None for an element of an array.
        name: name of the innermost field that has one.
        text: the value as text.
        kind: whose words it holds.
        secret: its field is called like one that holds a secret.
        records: numbers of the objects it is in, innermost last, counted over the result.
    """

    path: tuple[str | None, ...]
    name: str
    text: str
    kind: FieldKind
    secret: bool
    records: tuple[int, ...]


def words_of(name: str) -> str:
    """A field's name in lower case with `_` between its words."""
    return _CAMEL.sub("_", name).replace("-", "_").replace(" ", "_").lower().strip("_")


def leaves(value: JSON, *, effect: bool) -> Iterator[Leaf]:
    """Every value of a result that is not empty, outermost first.

    A string that holds a JSON document is that document. `effect`: the result is what a tool said
    about something it did, so that a short status line is the tool's own words.
    """
    counter = [0]
    left = [MAX_LEAVES]
    yield from _walk(value, (), "", (), counter, left, effect)


def _walk(
    value: JSON,
    path: tuple[str | None, ...],
    name: str,
    records: tuple[int, ...],
    counter: list[int],
    left: list[int],
    effect: bool,
) -> Iterator[Leaf]:
    if len(path) > MAX_DEPTH or left[0] <= 0:
        # Too deep or too much to look at piece by piece: all of it is somebody's words.
        text = value if isinstance(value, str) else str(value)
        yield Leaf(
            path=path, name=name, text=text, kind=FieldKind.TEXT, secret=False, records=records
        )
        return
    if isinstance(value, dict):
        counter[0] += 1
        own = (*records, counter[0])
        for key, inner in value.items():
            yield from _walk(inner, (*path, key), key, own, counter, left, effect)
            if not _plain_key(key):
                # A key that no program would choose holds data.
                yield from _walk(key, (*path, None), name, own, counter, left, effect)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, (*path, None), name, records, counter, left, effect)
    elif isinstance(value, str):
        document = _document(value)
        if document is not None:
            yield from _walk(document, path, name, records, counter, left, effect)
        elif value.strip():
            left[0] -= 1
            yield _leaf(value, path, name, records, effect)
    elif value is not None and value is not True and value is not False:
        left[0] -= 1
        yield Leaf(
            path=path,
            name=name,
            text=_numeral(value),
            kind=FieldKind.SYSTEM,
            secret=_SECRET.search(words_of(name)) is not None,
            records=records,
        )


def _leaf(
    text: str, path: tuple[str | None, ...], name: str, records: tuple[int, ...], effect: bool
) -> Leaf:
    field = words_of(name)
    return Leaf(
        path=path,
        name=name,
        text=text,
        kind=_kind(text, field, effect=effect),
        secret=_SECRET.search(field) is not None,
        records=records,
    )


def _kind(text: str, field: str, *, effect: bool) -> FieldKind:
    parts = text.split()
    last = field.rpartition("_")[2]
    if "\n" in text.strip() or len(parts) > NAME_WORDS:
        status = effect and last in _STATUS and len(parts) <= 24 and "\n" not in text.strip()
        return FieldKind.SYSTEM if status and not _calls(text) else FieldKind.TEXT
    contact = field in _CONTACT or last in _CONTACT
    if len(parts) == 1 or _TYPED.match(text) is not None:
        found = shape(text.strip())
        if contact:
            return FieldKind.CONTACT
        if field in _TEXT and found in CONTACTS:
            return FieldKind.TEXT
        if found is Shape.WORD:
            return FieldKind.NAME
        return FieldKind.SYSTEM
    if contact:
        return FieldKind.CONTACT
    if last in _TEXT and not effect:
        return FieldKind.TEXT
    # A short string that holds an address or an account is no name of anything.
    return FieldKind.TEXT if _calls(text) else FieldKind.NAME


_STATUS = frozenset("message status result error detail info msg warning success reason".split())


def _calls(text: str) -> bool:
    return any(shape(token) in CONTACTS for token in tokens(text))


def _plain_key(key: str) -> bool:
    return len(key) <= 64 and " " not in key.strip() and shape(key) not in CONTACTS


def _document(text: str) -> Any:
    start = text.lstrip()[:1]
    if start not in ("{", "["):
        return None
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


def _numeral(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


__all__ = ["Leaf", "leaves", "words_of"]
