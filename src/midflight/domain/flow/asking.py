"""Asking: whether the intent asks for an effect, and for as many of them.

It has to where the run has seen words of others: what they say may be what the agent does now.
Below: `subject.py`, `words.py`. Above: `judge.py`.
"""

from __future__ import annotations

from midflight.domain.flow.atoms import Shape, same, shape
from midflight.domain.flow.index import SYSTEM
from midflight.domain.flow.intent import Wish
from midflight.domain.flow.subject import (
    Matter,
    values_of,
)
from midflight.domain.flow.text import strict
from midflight.domain.flow.words import (
    COMMON_VERBS,
    GENERIC,
    IMPLIED,
    MONEY,
    MONEY_VERBS,
    Family,
    related,
)
from midflight.domain.provenance import Concern
from midflight.domain.traits import (
    KEY_ROLES,
    Effect,
    Role,
)

_FAMILIES: dict[Effect, frozenset[Family]] = {
    Effect.WRITE: frozenset({Family.CREATE, Family.UPDATE}),
    Effect.DELETE: frozenset({Family.DELETE}),
    Effect.SEND: frozenset({Family.SEND}),
    Effect.PAY: frozenset({Family.PAY}),
    Effect.EXECUTE: frozenset({Family.EXECUTE}),
    Effect.GRANT: frozenset({Family.GRANT}),
    Effect.INSTRUCT: frozenset({Family.CREATE, Family.UPDATE}),
}
_BY_OBJECT = frozenset({Effect.GRANT, Effect.PAY, Effect.INSTRUCT, Effect.EXECUTE})


def asked(matter: Matter) -> bool:
    """Whether the intent asks for this effect, and for as many of them."""
    if not matter.about.gated or not _gated(matter):
        return True
    matching = [wish for wish in matter.reading.wishes if _matches(matter, wish)]
    if not matching:
        matter.concerns.add(Concern.EFFECT_NOT_ASKED)
        return False
    several = any(wish.many for wish in matching) or not matter.index.text_seen
    if not several and matter.about.done >= sum(wish.count for wish in matching):
        matter.concerns.add(Concern.TOO_MANY)
    return True


def _gated(matter: Matter) -> bool:
    """Whether the intent has to ask for it: always, where words of others were seen."""
    return (
        matter.index.text_seen
        or matter.index.phrase_seen
        or matter.effect in (Effect.GRANT, Effect.INSTRUCT)
    )


def _matches(matter: Matter, wish: Wish) -> bool:
    does = matter.subject.does
    if wish.verb in (does.verb, does.described_verb) and wish.verb not in COMMON_VERBS:
        return True
    nouns = (does.nouns or does.described_nouns) - GENERIC
    about = wish.nouns - GENERIC - {wish.verb}
    implied = IMPLIED.get(wish.verb)
    if implied is not None and (matter.effect is not Effect.PAY or not about):
        about |= implied
    if matter.effect is Effect.PAY and wish.verb in MONEY_VERBS and not _speaks_of_money(wish):
        return False
    if wish.families & _FAMILIES[matter.effect]:
        return not nouns or not about or related(about, nouns) or _acts_on(matter, wish)
    if matter.effect in _BY_OBJECT and wish.families & {Family.CREATE, Family.UPDATE}:
        # "Set up a payment", "change my password": the object makes it what it is.
        return bool(nouns and about) and related(about, nouns)
    return False


def _speaks_of_money(wish: Wish) -> bool:
    return bool(wish.nouns & MONEY) or any(
        shape(name) in (Shape.NUMBER, Shape.ACCOUNT) for name in wish.names
    )


def _acts_on(matter: Matter, wish: Wish) -> bool:
    """What the clause names is what this acts upon, or stands in the record of it."""
    for part in matter.parts:
        if part.role not in KEY_ROLES:
            continue
        for text in values_of(part):
            if same(text, shape(text)) in wish.names or strict(text) in wish.names:
                return True
            if part.role is not Role.OBJECT or not wish.names:
                continue
            seen = matter.index.look(text)
            if seen is not None and seen.linked and seen.rank == SYSTEM and not seen.named:
                return True
    return False


__all__ = ["asked"]
