"""Atoms: the pieces of text that a value can be recognised by.

An address, a link, an account number, an id, a number, a word. Text is cut at white space, each
token is cleaned of the punctuation around it and classified by its shape alone: no list of domains
or formats to keep, and nothing in it that a language decides. Linear in the text.
Below: `text.py`. Above: `index.py`, `intent.py`, `judge.py`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from urllib.parse import urlsplit

from midflight.domain.flow.text import skeleton, spaces_for, strict
from midflight.domain.flow.words import lexicon

MAX_TOKEN = 2_048
"""A longer token is judged by its first part: nobody pays to an account that long."""


class Shape(enum.IntEnum):
    """What kind of thing a token looks like."""

    WORD = 0
    NUMBER = 1
    ID = 2
    """Letters with digits, or with `_`, `.`, `/`, `-` or `#`: ids, file names, paths."""
    HANDLE = 3
    EMAIL = 4
    LINK = 5
    ACCOUNT = 6
    """Eight or more digits, with or without letters: bank accounts, cards, phones."""
    DATE = 7


# A member that is asked for by its class costs 46 ns, one of these 4 (measured, Python 3.11).
_WORD, _NUMBER, _ID, _HANDLE, _EMAIL, _LINK, _ACCOUNT, _DATE = Shape
CONTACTS = frozenset({Shape.EMAIL, Shape.LINK, Shape.ACCOUNT, Shape.HANDLE})
"""Shapes by which somebody can be reached or paid."""

# What stands between tokens; everything else that is white space, `split` knows.
_apart = spaces_for("\"'`<>()[]{}|,;“”‘’«»")
_EDGE = ".:!?*_~^=+&"
_LONG = 12
"""Letters from which on a word can be a text in base64."""
_LEADING = "0123456789+-$€£¥"
"""What numbers and dates begin with."""
_INNER = frozenset("_./#\\=:")
_NUMERIC = re.compile(r"[-+]?[$€£¥]?[-+]?[0-9][0-9.,]*(?:[$€£¥%]|[a-z]{3})?\Z", re.IGNORECASE)
_UNITS = re.compile(r"[$€£¥%+]|[a-zA-Z]{3}\Z")
_COMMA = re.compile(r",[0-9]{1,2}\Z")
_MAIL = re.compile(r"(?:mailto:)?[^@\s]+@[^@\s]+\.[^@\s.]{2,}\Z", re.IGNORECASE)
_PLAIN_LINK = re.compile(r"(?:https?://)?([a-zA-Z0-9.-]+)(/[a-zA-Z0-9._/-]*|)\Z")
_WIDE_HOST = re.compile(r"(?:[a-z0-9-]+\.)+([a-z]{2,24})(?::[0-9]+)?(?:[/?#].*)?\Z", re.IGNORECASE)
# Without folding of case it takes a third of the time (measured).
_HOST = re.compile(r"(?:[a-zA-Z0-9-]+\.)+([a-zA-Z]{2,24})(?::[0-9]+)?(?:[/?#].*)?\Z")
_DATED = re.compile(
    r"(?:[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.][0-9]{2,4})"
    r"(?:T[0-9:.]+(?:Z|[-+][0-9:]+)?)?\Z|[0-9]{1,2}:[0-9]{2}(?::[0-9.]+)?\Z"
)
_AT = re.compile(r"@[\w.-]{2,}\Z")
_DIGIT = re.compile("[0-9]")
# Patterns that are searched for begin with a set of characters: then it is looked for at the speed
# of C, and what has to stand before it is asked behind it (a third of the time, measured).
_DIGITS = re.compile(r"[0-9][0-9][ -][0-9A-Z]{2}")
_GROUPED = re.compile(
    r"\b(?:[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]{2,4}){3,8}|\+?[0-9]{2,4}(?:[ -][0-9]{2,4}){2,6})\b"
)
_THOUSANDS = re.compile(r"[0-9](?<![\w.,][0-9])[0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]{1,4})?(?![\w])")
_CAPITALS = re.compile(r"[A-Z](?<!\w[A-Z])[\w&'-]*(?:[ \t]+[A-Z][\w&'-]*)*")
_QUOTED = re.compile(r"['\"“`](?<!\w['\"“`])([^'\"”`\n]{2,80})['\"”`](?!\w)")
# Ends of file names: everything else with a dot and letters behind it may be a host.
_FILES = lexicon(
    """
        txt md csv tsv json jsonl xml yaml yml toml ini cfg conf log pdf doc docx xls
        xlsx ppt pptx odt ods png jpg jpeg gif svg webp mp3 mp4 wav mov avi zip tar gz
        tgz bz2 xz 7z py js ts jsx tsx java c h cpp hpp cs go rs rb php sh bat ps1 sql
        html htm css ipynb bak tmp lock env db
    """
)


def tokens(text: str) -> list[str]:
    """The tokens of a text, without the punctuation around them."""
    # `translate` and `split` take a third of what one regular expression does (measured).
    return [
        bare[:MAX_TOKEN]
        for token in _apart(text).split()
        if (bare := token if token.isalnum() else token.strip(_EDGE))
    ]


def telling(text: str) -> list[tuple[str, str]]:
    """(token, the one before it) for each token that is no plain word.

    A plain word says nothing about where a value came from, and most tokens are plain words.
    """
    found: list[tuple[str, str]] = []
    words = _apart(text).split()
    # Most are left out here, in a third of the time that the whole question takes (measured).
    odd = [
        at
        for at, word in enumerate(words)
        if not (word.isalpha() and len(word) < _LONG and word.isascii())
    ]
    for at in odd:
        bare = words[at].strip(_EDGE)
        if bare and (not (bare.isalpha() and bare.isascii()) or _mixed(bare)):
            found.append((bare[:MAX_TOKEN], words[at - 1].strip(_EDGE) if at else ""))
    return found


def _mixed(word: str) -> bool:
    """Letters alone that are no word: a short text in base64 can have no digit."""
    return len(word) >= _LONG and not (word[1:].islower() or word.isupper())


def shape(token: str) -> Shape:  # noqa: C901, PLR0911 -- one return a shape, in order
    """What a token looks like."""
    if token.isalpha() or not token:
        return _WORD
    if token.isdigit():
        return _ACCOUNT if len(token) >= 9 else _NUMBER
    if " " in token or "\n" in token:
        return _WORD if _DATED.match(token) is None else _DATE
    if "@" in token:
        if _MAIL.match(token) is not None:
            return _EMAIL
        return _HANDLE if _AT.match(token) is not None else _ID
    if "://" in token or token[:4].lower() == "www.":
        return _LINK
    if token[0] in _LEADING:
        if _DATED.match(token) is not None:
            return _DATE
        if _NUMERIC.match(token) is not None:
            return _ACCOUNT if _digits(token) >= 9 and "." not in token else _NUMBER
    if "." in token and _is_host(token):
        return _LINK
    digits = _digits(token)
    if digits >= 8 and token.replace("-", "").isalnum():
        return _ACCOUNT
    if digits or not _INNER.isdisjoint(token):
        return _ID
    return _WORD


def in_groups(text: str) -> bool:
    """Whether digits in a text have a space or a hyphen between them. Cheap."""
    return _DIGITS.search(text) is not None


def grouped(text: str) -> Iterator[str]:
    """Account and phone numbers that are written in groups, put together."""
    if not in_groups(text):
        return
    for found in _GROUPED.finditer(text):
        whole = found[0].replace(" ", "").replace("-", "")
        if 9 <= len(whole) <= 34 and sum(c.isdigit() for c in whole) >= 8:
            yield whole


def thousands(text: str) -> Iterator[str]:
    """Numbers that have a comma between their thousands, which cuts tokens elsewhere."""
    if "," in text:
        for found in _THOUSANDS.finditer(text):
            yield found[0]


def people(address: str) -> list[str]:
    """The names in an address: `ann.lee@example.org` has two."""
    own = strict(address).partition("@")[0]
    pieces = own.replace("_", ".").replace("+", ".").replace("-", ".").split(".")
    return [piece for piece in pieces if piece.isalpha()]


def names(text: str) -> list[str]:
    """Names in a text: runs of capitalised words, and what is quoted."""
    if "'" in text or '"' in text or "“" in text or "`" in text:
        return _CAPITALS.findall(text) + _QUOTED.findall(text)
    return _CAPITALS.findall(text)


def same(token: str, of: Shape) -> str:
    """The form in which tokens of a shape are compared for trust."""
    return _SAME[of](token)


def looks(token: str, of: Shape) -> str:
    """The form in which tokens of a shape are compared for suspicion."""
    if token.isascii() and of is not _LINK:
        return same(token, of)
    folded = skeleton(token)
    return folded if of is _LINK else same(folded, of)


def number(token: str) -> str | None:
    """A number without currency and grouping, in one spelling; None if it is none."""
    if token.isdigit() and token.isascii():
        return token.lstrip("0") or "0"
    if not token.isascii() and _UNITS.sub("", token).strip("0123456789.,-"):
        return None  # digits of another script are not those that somebody trusted
    bare = _UNITS.sub("", token)
    if "," in bare and "." not in bare and _COMMA.search(bare) is not None:
        bare = bare.replace(",", ".")
    try:
        value = Decimal(bare.replace(",", ""))
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value.adjusted()) > 40:
        return None
    return format(value.normalize(), "f")


def link(token: str) -> str:
    """A link for comparison: scheme and host without case, everything behind them exactly.

    Paths differ by case: two short links that look alike lead to different places.
    """
    plain = _PLAIN_LINK.match(token)
    if plain is not None:  # a quarter of the time (measured)
        return plain[1].lower().removeprefix("www.") + plain[2].rstrip("/")
    try:
        parts = urlsplit(token if "://" in token else f"https://{token}")
        host = parts.netloc.lower().removeprefix("www.")
    except ValueError:
        return strict(token)
    rest = parts.path.rstrip("/")
    return host + rest + (f"?{parts.query}" if parts.query else "")


def host(token: str) -> str:
    """The host of a link or address, without case; empty if there is none."""
    bare = token.rpartition("@")[2] if "@" in token and "/" not in token else token
    try:
        return (urlsplit(bare if "://" in bare else f"https://{bare}").hostname or "").lower()
    except ValueError:
        return ""


def address_host(text: str) -> str:
    """The host of a text that is one address or host and nothing else; else empty.

    "eve@post.example, ann@office.example" ends like an address of the office and is none.
    """
    if shape(text) not in (Shape.EMAIL, Shape.LINK) or text.count("@") > 1 or "," in text:
        return ""
    return host(text)


# By the number of the shape: one step, where a `match` asks for each in turn.
_SAME: tuple[Callable[[str], str], ...] = (
    lambda token: strict(token).lstrip("#"),  # WORD
    lambda token: number(token) or strict(token),
    lambda token: strict(token).lstrip("#"),  # ID
    lambda token: strict(token).lstrip("@"),
    lambda token: strict(token).removeprefix("mailto:"),
    link,
    lambda token: strict(token).replace("-", "").replace(" ", "").lstrip("+"),
    lambda token: strict(token).lstrip("#"),  # DATE
)


def _is_host(token: str) -> bool:
    found = (_HOST if token.isascii() else _WIDE_HOST).match(token)
    return found is not None and ("/" in token or found[1].lower() not in _FILES)


def _digits(token: str) -> int:
    return len(_DIGIT.findall(token))


__all__ = [
    "CONTACTS",
    "Shape",
    "address_host",
    "grouped",
    "host",
    "in_groups",
    "link",
    "looks",
    "names",
    "number",
    "people",
    "same",
    "shape",
    "telling",
    "thousands",
    "tokens",
]
