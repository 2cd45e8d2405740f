"""Orders in few words: names, keys and status lines that could tell an agent what to do.

`delete_all_branches`, `Remove this item`, `please-merge-now.md`: too short to be anybody's text,
and enough for an agent that obeys. It only says that the intent has to ask for what follows.
Above: `fields.py`, `index.py`. Below: `words.py`.
"""

from __future__ import annotations

import re
from functools import lru_cache

from midflight.domain.flow.text import spaces_for
from midflight.domain.flow.words import VERBS, Family, classes, lexicon

ORDER = 3
"""Words from which on a name with a verb of doing in it could be an order."""
PHRASE = 4
"""Words in a name from which on it could be an instruction."""
MAX_LOOKED = 400
"""Characters looked at: what is longer is text anyway."""


# "Purchase at the shop", "Transfer of June": behind a noun.
# In names these are hardly ever verbs.
_SELDOM = lexicon("new store mark star like produce form")
_OF = lexicon("at of from in for on by with")
_apart = spaces_for("_-./\\:;,!?\"'()[]{}|+*=#@&<>~^%$0123456789")
_JOINTS = "_./\\-"
_parted = spaces_for(_JOINTS)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


# Verbs of doing in their base form, and those of them that are no nouns besides.
_DOING = frozenset(
    form
    for form, (_, how, families) in VERBS.items()
    if how == "base" and families - {Family.READ} and form not in _SELDOM
)
_ONLY_DOING = frozenset(verb for verb in _DOING if not classes(verb))


def orders(text: str) -> bool:
    """Whether a name or a status line has the words of an order: three, one of them a verb."""
    words = _words(text)
    if (
        len(words) < ORDER
        or _DOING.isdisjoint(words)
        or sum(len(word) > 1 for word in words) < ORDER
    ):
        return False
    return not _ONLY_DOING.isdisjoint(words) or (words[0] in _DOING and words[1] not in _OF)


@lru_cache(maxsize=8_192)
def ordering_key(key: str) -> bool:
    """Whether the key of an object is an order: it begins with a verb that is no noun besides."""
    words = _words(key)
    return len(words) >= ORDER and words[0] in _ONLY_DOING


def phrase(text: str) -> bool:
    """Whether a text without outer white space is of so many pieces that it could be a phrase.

    A joint at its beginning or end has an empty piece beside it, which counts.
    """
    words = len(_parted(text).split())
    return words + (text[0] in _JOINTS) + (text[-1] in _JOINTS) >= PHRASE


def _words(text: str) -> list[str]:
    words = _apart(text[:MAX_LOOKED]).split()
    plain = " ".join(words)
    lower = plain.islower()
    if len(words) < ORDER and not lower:
        plain = _CAMEL.sub(" ", plain)
    return words if lower else plain.lower().split()


__all__ = ["MAX_LOOKED", "ORDER", "PHRASE", "ordering_key", "orders", "phrase"]
