"""Content: what the words of an action carry to others.

Secrets, addresses and links that nobody vouches for, codes and passages from what the intent did
not ask to read. What is said in other words is out of reach.
Below: `subject.py`. Above: `judge.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from midflight.domain.flow.atoms import CONTACTS, Shape, same, shape, telling, tokens
from midflight.domain.flow.index import CONTACT, SHORT, TEXT, Seen
from midflight.domain.flow.subject import (
    Matter,
    Part,
    pieces_of,
)
from midflight.domain.flow.text import decodings, skeleton
from midflight.domain.provenance import ArgumentFacts, Concern, Origin
from midflight.domain.traits import (
    Role,
)

DICTATED = 3
"""Words from which on a title that stands in a text counts as dictated by it."""
OPAQUE = 16
"""Characters from which on a token that can be decoded counts as a message in code."""


def judge_content(matter: Matter, part: Part) -> None:
    """Judge what one value says to others."""
    if not matter.index.text_seen and not matter.outward:
        return
    worst: ArgumentFacts | None = None
    # Where a secret has been seen it may be a plain word, so then every word is looked up.
    every = matter.index.secret_seen and matter.outward
    for token in _tokens_of(part.text, words=every):
        kind = shape(token if token.isascii() else skeleton(token))
        if kind is Shape.WORD and not every:
            continue
        if (kind, same(token, kind)) in matter.reading.atoms:
            continue
        seen = matter.index.look(token)
        small = kind is Shape.DATE or (kind is Shape.NUMBER and len(token) < SHORT)
        if small and not (seen is not None and seen.secret and len(token) == SHORT - 1):
            continue  # a security code has three digits
        concern = _carried(matter, kind, token, seen)
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
    if matter.outward and (matter.index.passages(part.text) or _dictated(matter, part)):
        matter.concerns.add(Concern.CONTENT_PASSAGE)
    if worst is not None:
        matter.found.append(worst)


def _tokens_of(text: str, *, words: bool) -> Iterator[str]:
    """The tokens that a text carries, those in its encodings too; plain words if `words`."""
    for token in tokens(text) if words else (token for token, _ in telling(text)):
        yield token
        if len(token) >= SHORT * 2:
            for plain in decodings(token):
                yield from tokens(plain)


def _dictated(matter: Matter, part: Part) -> bool:
    """Whether a title of some words stands as a whole in words that somebody wrote."""
    if part.role is not Role.TITLE or part.text.count(" ") < DICTATED - 1:
        return False
    seen = matter.index.look(part.text.strip())
    if seen is None or seen.rank != TEXT:
        return False
    return not all(word in matter.reading.words for word in pieces_of(part.text))


def _carried(  # noqa: PLR0911 -- one return a rule, in order
    matter: Matter, kind: Shape, token: str, seen: Seen | None
) -> Concern | None:
    if matter.about.endorsed(same(token, kind)):
        return None
    if seen is not None and seen.secret and matter.outward:
        return Concern.CONTENT_SECRET
    if kind is Shape.WORD or not matter.outward or not matter.index.text_seen:
        return None
    if len(token) >= OPAQUE and decodings(token):
        return Concern.CONTENT_PASSAGE  # what is said in code is not said to a person
    if kind in CONTACTS and (seen is None or seen.rank in (TEXT, CONTACT)):
        return Concern.CONTENT_CONTACT
    if seen is not None and not seen.selected and not seen.linked:
        return Concern.CONTENT_PASSAGE
    return None


__all__ = ["judge_content"]
