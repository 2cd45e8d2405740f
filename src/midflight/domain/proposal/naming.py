"""Reading names: what a tool's name and description say that it does, and to what.

Above: `rules.py`, and `flow/judge.py`, which compares with the intent. Below: `flow/words.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

from midflight.domain.flow.fields import words_of
from midflight.domain.flow.text import skeleton
from midflight.domain.flow.words import GENERIC, VERBS, Family, classes, lexicon, singular
from midflight.domain.value import Value

MAX_DESCRIPTION = 4_000

_STOP = lexicon(
    """
        a an the of in on for with from by to and or is are be this that it its as at
        into all any your given using based if not when only one new by tool api
    """
)
_SENTENCE = re.compile(r"(?:\A|[.:!?]\s+|\n\s*)([A-Za-z][\w'-]*)((?:\s+[\w'`/-]+){0,10})")


class Doing(Value):
    """What a tool does, as far as its words tell.

    Attributes:
        parts: the words of its name.
        verb: the verb in its base form; empty if there is none.
        others: further verbs behind `and` and `or`.
        families: what kinds of doing that is.
        nouns: what it is done to, singular, as its name says.
        described: the same from the first verb of its description.
        described_verb: that verb.
    """

    parts: tuple[str, ...] = ()
    verb: str = ""
    others: tuple[str, ...] = ()
    families: frozenset[Family] = frozenset()
    nouns: frozenset[str] = frozenset()
    described_verb: str = ""
    described: frozenset[Family] = frozenset()
    described_nouns: frozenset[str] = frozenset()


@lru_cache(maxsize=8_192)
def doing(name: str, description: str) -> Doing:
    """Read a tool's name and description."""
    parts = [w for w in words_of(skeleton_name(name)).split("_") if w]
    verb, families, at = _first_verb(parts)
    nouns = frozenset(
        singular(w) for i, w in enumerate(parts) if i != at and w not in _STOP and not w.isdigit()
    )
    told, kinds, about = "", frozenset[Family](), frozenset[str]()
    for found in _SENTENCE.finditer(description[:MAX_DESCRIPTION]):
        entry = VERBS.get(found[1].lower())
        if entry is not None and entry[1] in ("base", "s"):
            told, kinds = entry[0], entry[2]
            about = frozenset(
                singular(w)
                for w in re.findall(r"[a-z]+", found[2].lower())
                if w not in _STOP and len(w) > 1
            )
            break
    return Doing(
        parts=tuple(parts),
        verb=verb,
        others=tuple(
            VERBS[part][0]
            for before, part in pairwise(parts)
            if before in ("and", "or") and part in VERBS
        ),
        families=families,
        nouns=nouns - GENERIC,
        described_verb=told,
        described=kinds,
        described_nouns=about - GENERIC,
    )


def skeleton_name(name: str) -> str:
    """A tool's name as a reader sees it, with the case that tells its words apart."""
    return name if name.isascii() else skeleton(name)


def _first_verb(parts: list[str]) -> tuple[str, frozenset[Family], int]:
    """The verb of a name: an imperative, first where there is one."""
    best: tuple[str, frozenset[Family], int] = ("", frozenset(), -1)
    for i, part in enumerate(parts):
        entry = VERBS.get(part)
        if entry is None or entry[1] != "base":
            continue
        # "message_login", "order_cancel": a noun in front is what the verb is done to.
        if not best[0] or (i == 1 and classes(parts[0]) and not classes(part)):
            best = (entry[0], entry[2], i)
    if best[0]:
        return best
    for i, part in enumerate(parts):
        entry = VERBS.get(part)
        if entry is not None:
            return entry[0], entry[2], i
    return best


__all__ = ["Doing", "doing", "skeleton_name"]
