"""Content: what the words of an action carry to others.

Secrets, addresses and links that nobody vouches for, codes and passages from what the intent did
not ask to read. What is said in other words is out of reach.
Below: `subject.py`. Above: `judge.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from midflight.domain.flow.atoms import (
    CONTACTS,
    Shape,
    grouped,
    in_groups,
    same,
    shape,
    telling,
    tokens,
)
from midflight.domain.flow.index import CONTACT, NAME, SHORT, TEXT, Seen
from midflight.domain.flow.subject import (
    Matter,
    Part,
    pieces_of,
)
from midflight.domain.flow.text import decodings, skeleton, strict
from midflight.domain.provenance import ArgumentFacts, Concern, Origin
from midflight.domain.traits import (
    Role,
)

DICTATED = 3
"""Words from which on a title that stands in a text counts as dictated by it."""
OPAQUE = 16
"""Characters from which on a token that can be decoded counts as a message in code."""

# See `atoms.py`: members of an enum by name are slow.
_WORD, _NUMBER, _DATE = Shape.WORD, Shape.NUMBER, Shape.DATE
_NAMES = re.compile(r"\b[A-Z][\w'-]*(?: [A-Z][\w'-]*)+")
_DATED = re.compile(r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}\b(?:[ T][0-9:]+)?")
_SPACED = re.compile(r"\b[0-9](?:[ .,_-]{1,3}[0-9]\b){2,}")


def judge_content(matter: Matter, part: Part) -> None:
    """Judge what one value says to others."""
    if not matter.index.text_seen and not matter.outward:
        return
    _judge_tokens(matter, part)
    if not matter.outward:
        return
    if matter.index.text_seen:
        _judge_grouped(matter, part)
    if matter.index.text_seen and matter.index.apart_seen:
        _judge_names(matter, part)
    if matter.index.text_seen and matter.index.secret_seen:
        _judge_spaced(matter, part)
    if matter.index.passages(part.text) or _dictated(matter, part):
        matter.concerns.add(Concern.CONTENT_PASSAGE)


def _judge_tokens(matter: Matter, part: Part) -> None:
    worst: ArgumentFacts | None = None
    # Where a secret has been seen it may be a plain word, so then every word is looked up.
    index = matter.index
    every = index.secret_seen and matter.outward
    for token in _tokens_of(part.text, words=every):
        plain = token.isascii()
        kind = shape(token if plain else skeleton(token))
        if kind is _WORD and not every:
            continue
        exact = same(token, kind)
        if (kind, exact) in matter.reading.atoms:
            continue
        seen = index.look_as(token, kind, exact) if plain else index.look(token)
        small = kind is _DATE or (kind is _NUMBER and len(token) < SHORT)
        if small and not (seen is not None and seen.secret and len(token) == SHORT - 1):
            continue  # a security code has three digits
        concern = _carried(matter, kind, token, exact, seen)
        if concern is not None:
            matter.concerns.add(concern)
            worst = ArgumentFacts(
                path=part.path,
                role=part.role,
                origin=Origin.MODEL if seen is None else Origin.UNTRUSTED,
                field="" if seen is None else seen.field,
                record="" if seen is None else seen.record,
                untrusted=seen is not None and seen.named,
            )
    if matter.outward and matter.index.holds_secret(part.text, said=matter.said):
        matter.concerns.add(Concern.CONTENT_SECRET)
    if worst is not None:
        matter.found.append(worst)


def _tokens_of(text: str, *, words: bool) -> Iterator[str]:
    """The tokens that a text carries, those in its encodings too; plain words if `words`."""
    for token in tokens(text) if words else (token for token, _ in telling(text)):
        yield token
        if len(token) >= SHORT * 2:
            for plain in decodings(token):
                yield from tokens(plain)


def _judge_names(matter: Matter, part: Part) -> None:
    """Names of what the intent neither selects nor names."""
    for name in _NAMES.findall(part.text):
        if strict(name) in matter.reading.names:
            continue
        seen = matter.index.look(name)
        if seen is None or seen.rank != NAME or seen.selected or seen.linked or seen.about:
            continue
        matter.concerns.add(Concern.CONTENT_PASSAGE)


def _judge_grouped(matter: Matter, part: Part) -> None:
    """Accounts and phones that are written in groups, as what they are together."""
    if not in_groups(part.text):
        return  # nor is there a date
    # "2031-05-15 10:00" is no phone.
    for whole in grouped(_DATED.sub(" ", part.text)):
        exact = same(whole, Shape.ACCOUNT)
        if (Shape.ACCOUNT, exact) in matter.reading.atoms or matter.about.endorsed(exact):
            continue
        seen = matter.index.look(whole)
        if seen is None or seen.rank in (TEXT, CONTACT) or not (seen.selected or seen.linked):
            matter.concerns.add(Concern.CONTENT_CONTACT)


def _judge_spaced(matter: Matter, part: Part) -> None:
    """Secret numbers that are written digit by digit."""
    for found in _SPACED.findall(part.text):
        seen = matter.index.look("".join(c for c in found if c.isdigit()))
        if seen is not None and seen.secret:
            matter.concerns.add(Concern.CONTENT_SECRET)


def _dictated(matter: Matter, part: Part) -> bool:
    """Whether a title of some words stands as a whole in words that somebody wrote."""
    if part.role is not Role.TITLE or part.text.count(" ") < DICTATED - 1:
        return False
    seen = matter.index.look(part.text.strip())
    if seen is None or seen.rank != TEXT:
        return False
    return not all(word in matter.reading.words for word in pieces_of(part.text))


def _carried(  # noqa: PLR0911 -- one return a rule, in order
    matter: Matter, kind: Shape, token: str, exact: str, seen: Seen | None
) -> Concern | None:
    if matter.about.endorsed(exact):
        return None
    if seen is not None and seen.secret and matter.outward:
        return Concern.CONTENT_SECRET
    if kind is _WORD or not matter.outward or not matter.index.text_seen:
        return None
    if len(token) >= OPAQUE and decodings(token):
        return Concern.CONTENT_PASSAGE  # what is said in code is not said to a person
    if kind in CONTACTS and (seen is None or seen.rank in (TEXT, CONTACT)):
        return Concern.CONTENT_CONTACT
    if seen is not None and not seen.selected and not seen.linked:
        return Concern.CONTENT_PASSAGE
    return None


__all__ = ["judge_content"]
