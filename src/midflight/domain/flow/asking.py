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
    VERBS,
    Family,
    classes,
    lexicon,
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
_OWN = frozenset({Family.CREATE, Family.UPDATE, Family.GRANT})
_BY_OBJECT = frozenset({Effect.GRANT, Effect.PAY, Effect.INSTRUCT, Effect.EXECUTE})
# Here the same verb on something else is something else: to cancel a meeting, and a contract.
_CAREFUL = frozenset({Effect.DELETE, Effect.PAY, Effect.GRANT, Effect.EXECUTE})
# These say one thing only, which no tool of another verb does but one that sets a field.
_NARROW = lexicon("acknowledge scale resize silence mute unmute snooze reject deny decline")
_PLAIN_CHANGES = lexicon("set update change modify edit respond answer")
_TELLING = lexicon("reply respond answer tell inform let thank confirm write ask comment")
# A tool that answers, passes on or invites, and the verbs that ask for it.
_KINDS: dict[str, frozenset[str]] = {
    "reply": _TELLING,
    "respond": _TELLING,
    "answer": _TELLING,
    "forward": lexicon("forward relay pass share send"),
    "invite": lexicon("invite add bring ask onboard enroll share"),
}
_TO_ALL = lexicon("publish post tweet announce broadcast")
_TO_ONE = lexicon("reply respond answer thank tell inform")
_ONE_MEDIUM = {
    "email": frozenset({"email"}),
    "mail": frozenset({"email"}),
    "text": frozenset({"message"}),
    "dm": frozenset({"message"}),
}


def asked(matter: Matter) -> bool:
    """Whether the intent asks for this effect, and for as many of them."""
    if not matter.about.gated or not _gated(matter):
        return True
    matching = [wish for wish in matter.reading.wishes if _matches(matter, wish)]
    if not matching:
        matter.concerns.add(Concern.EFFECT_NOT_ASKED)
        return False
    several = any(wish.many for wish in matching) or not matter.steered
    if not several and matter.about.done >= sum(wish.count for wish in matching):
        matter.concerns.add(Concern.TOO_MANY)
    return True


def _gated(matter: Matter) -> bool:
    """Whether the intent has to ask for it: always, where words of others were seen."""
    return (
        matter.steered
        or matter.index.phrase_seen
        or matter.effect in (Effect.GRANT, Effect.INSTRUCT)
    )


def _matches(matter: Matter, wish: Wish) -> bool:
    does = matter.subject.does
    nouns = (does.nouns or does.described_nouns) - GENERIC
    about = wish.nouns - GENERIC - {wish.verb}
    if wish.verb in (does.verb, does.described_verb, *does.parts[:1]):
        if not wish.families:
            # A verb that the lexicon does not know: the tool is called what the intent says.
            return not (nouns and about) or related(about, nouns) or _acts_on(matter, wish)
        if wish.verb not in COMMON_VERBS:
            other = matter.effect in _CAREFUL and _strangers(about, nouns)
            return not other or _acts_on(matter, wish)
    if wish.verb in _NARROW and does.verb not in _PLAIN_CHANGES:
        return False
    if _unheard(matter) or not _of_its_kind(matter, wish):
        return False
    if matter.effect is Effect.PAY and wish.verb in MONEY_VERBS and not _speaks_of_money(wish):
        return False
    return _of_its_family(matter, wish, about, nouns)


def _of_its_family(
    matter: Matter, wish: Wish, about: frozenset[str], nouns: frozenset[str]
) -> bool:
    """Whether another verb asks for such an effect, on such a thing."""
    implied = _ONE_MEDIUM.get(wish.verb) or IMPLIED.get(wish.verb)
    if implied is not None and (matter.effect is not Effect.PAY or not about):
        about |= implied
    if wish.families & _FAMILIES[matter.effect]:
        return not nouns or not about or related(about, nouns) or _acts_on(matter, wish)
    if matter.effect not in _BY_OBJECT or not wish.families & {Family.CREATE, Family.UPDATE}:
        return False
    # "Set up a payment", "change my password": the object makes it what it is.
    if matter.effect in (Effect.EXECUTE, Effect.GRANT):
        does = matter.subject.does
        return bool((does.families or does.described) & _OWN and about & nouns)
    return bool(nouns and about) and related(about, nouns)


def _unheard(matter: Matter) -> bool:
    """Whether what a tool that executes is called is in no lexicon, so that no other verb asks."""
    parts = matter.subject.does.parts
    if matter.effect is not Effect.EXECUTE:
        return False
    return bool(parts) and parts[0] not in VERBS and not classes(parts[0])


def _strangers(about: frozenset[str], nouns: frozenset[str]) -> bool:
    """Whether both speak of known things, and of other ones."""
    known = frozenset(noun for noun in about if classes(noun))
    others = frozenset(noun for noun in nouns if classes(noun))
    return bool(known and others) and not related(known, others)


def _of_its_kind(matter: Matter, wish: Wish) -> bool:
    """Whether the verb can ask for a way of sending as special as this."""
    if matter.effect is not Effect.SEND and matter.effect is not Effect.GRANT:
        return True
    verb = matter.subject.does.verb
    kind = _KINDS.get(verb)
    if kind is not None and wish.verb not in kind:
        return False
    return verb not in _TO_ALL or wish.verb not in _TO_ONE


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
