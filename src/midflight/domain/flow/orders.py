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
MAX_LOOKED = 400
"""Characters looked at: what is longer is text anyway."""


# "Purchase at the shop", "Transfer of June": behind a noun.
# In names these are hardly ever verbs.
_SELDOM = lexicon("new store mark star like produce form")
_OF = lexicon("at of from in for on by with")
_apart = spaces_for("_-./\\:;,!?\"'()[]{}|+*=#@&<>~^%$0123456789")
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


def _words(text: str) -> list[str]:
    words = _apart(text[:MAX_LOOKED]).split()
    plain = " ".join(words)
    if len(words) < ORDER and not plain.islower():
        plain = _CAMEL.sub(" ", plain)
    return plain.lower().split()


__all__ = ["MAX_LOOKED", "ORDER", "ordering_key", "orders"]
