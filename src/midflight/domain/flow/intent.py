"""What the principal asked for: the effects an intent implies, and the things it names.

Read clause by clause: a verb in the place of a verb asks for something, the same word behind an
article is a noun ("send an email" asks for one thing, "their share" for none); past tenses tell,
negations forbid. The rest of the clause says what it is done to and how many times. An intent that
says nothing of the kind implies reads.
Below: `words.py`, `atoms.py`. Above: `judge.py`.
"""

from __future__ import annotations

import re

from midflight.domain.flow.atoms import CONTACTS, Shape, grouped, same, shape, thousands, tokens
from midflight.domain.flow.text import strict
from midflight.domain.flow.words import DEVERBAL, GENERIC, VERBS, Family, lexicon, singular
from midflight.domain.value import Value

MAX_INTENT_WORDS = 8_000

_CLAUSE = re.compile(r"(?:[.;:!?](?=\s|\Z)|\n|—|–|\s-\s|\bthen\b|\bafter that\b|(?<=\s)\d+\.\s)")
_WORD = re.compile(
    r"(?<!\w)'[^'\n]{1,200}'(?!\w)|\"[^\"\n]{1,200}\"|\b(?:\w+n't|let's|that's|i'd)\b"
    r"|[\w#@$€£][\w.@#:/$€£%+-]*|,",
    re.IGNORECASE,
)
_QUOTED = re.compile(
    r"(?<!\w)'([^'\n]{1,200})'(?!\w)|\"([^\"\n]{1,200})\"|“([^”\n]{1,200})”|`([^`\n]{1,200})`"
)
_DETERMINERS = lexicon(
    """
        a an the my his her their its our your this that these those some any no each
        every of in on for with from by about whose which what recent last next new old
        latest first second own unread open same other another pending scheduled most
        least more less within into inside onto under over between through during via as
        at than upcoming current entire
    """
)
_NARRATORS = lexicon("i we they he she who it people")
# What stands before a verb that asks.
_OPENERS = lexicon(
    """
        , and or then to please also you just now first next finally kindly let's lets
        let us can could would will should must i'd me so but go it them help simply
        either otherwise again afterwards here that's
    """
)
_EACH = lexicon("each every")
_OBJECTS = lexicon("the a an this that them it")
_LEADS = lexicon(
    """
        by start consider considering mind of for like to and as with in about after
        before while upon from on proceed , please
    """
)
# Verbs that do nothing themselves: what is asked for is their object.
_LIGHT = lexicon(
    """
        make do proceed initiate arrange require need want request process perform
        handle manage orchestrate execute complete finalize like get have give carry
        issue begin start go file warranted necessary assist oversee see please
        undertake
    """
)
_SELF = lexicon("tell give send show let provide write inform notify update email")
_PLANS = lexicon("looking planning hoping thinking heading")
_REMINDERS = lexicon("remind reminder reminders reminding")
_SUPERLATIVE = lexicon(
    """
        most least largest smallest biggest highest lowest latest newest oldest best
        worst cheapest longest shortest top first last
    """
)
_GLUED = re.compile(r"(\S+\.[a-z]{2,})\.([A-Z][a-z]+)(?=\s|\Z)")
_BEING = lexicon("be is are being been get gets gotten was were have has")
_NEGATIONS = lexicon("not don't dont never without no cannot can't won't nothing avoid")
_ALL = lexicon(
    """
        all each every everyone everybody both any several various multiple entire whole
        many everything two three four five six seven eight nine ten
    """
)
_ARITHMETIC = lexicon(
    """
        total sum difference average mean half double twice third split increase
        decrease adjust rest remaining percent percentage more less plus minus share
        discount add subtract multiply convert extra refund accordingly usual same hour
        hours
    """
)
_DEFER = lexicon("instructions instruction steps tasks actions todo")


class Wish(Value):
    """One thing that the intent asks for.

    Attributes:
        verb: the verb in its base form, and `families` what kind of doing it is.
        nouns: what its clause is about, singular.
        names: strict forms of what the clause names: addresses, ids, quoted words, names.
        many: the clause asks for more than one.
        count: how many things it seems to name.
    """

    verb: str
    families: frozenset[Family]
    nouns: frozenset[str]
    names: frozenset[str]
    many: bool
    count: int


class Reading(Value):
    """An intent, read.

    Attributes:
        wishes: effects it asks for, in order.
        atoms: what it names, in strict form, with the shape.
        words: all its words, strict and singular.
        arithmetic: it asks for a calculation.
        defers: it asks to do what somebody else's words say.
        chooses: it leaves the choice of a thing to the data: "the largest", "each".
    """

    wishes: tuple[Wish, ...] = ()
    atoms: frozenset[tuple[Shape, str]] = frozenset()
    words: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    arithmetic: bool = False
    defers: bool = False
    chooses: bool = False


NOTHING = Reading()


def read(intent: str) -> Reading:
    """Read an intent. Linear; text beyond `MAX_INTENT_WORDS` words asks for nothing."""
    text = intent.replace("’", "'").replace("‘", "'")
    text = _GLUED.sub(r"\1. \2", text)  # a sentence that begins without a space
    wishes: list[Wish] = []
    words: set[str] = set()
    atoms = {(found, same(token, found)) for token in tokens(text) for found in (shape(token),)}
    atoms |= {(Shape.ACCOUNT, same(token, Shape.ACCOUNT)) for token in grouped(text)}
    atoms |= {(Shape.NUMBER, same(token, Shape.NUMBER)) for token in thousands(text)}
    names = _names(text)
    left = MAX_INTENT_WORDS
    for clause in _CLAUSE.split(text):
        found: list[str] = _WORD.findall(clause)[:left]
        left -= len(found)
        if found:
            lower = [strict(w.strip("'\"")) if w != "," else w for w in found]
            words.update(lower)
            words.update(singular(w) for w in lower)
            wishes += _wishes(found, lower)
    for name in names:
        words.update(name.split())
    return Reading(
        wishes=tuple(wishes),
        atoms=frozenset(atoms),
        words=frozenset(words),
        names=frozenset(names),
        arithmetic=bool(words & _ARITHMETIC),
        defers=bool(words & _DEFER),
        chooses=bool(words & (_SUPERLATIVE | _ALL)),
    )


def joined(one: Reading, other: Reading) -> Reading:
    """Two turns of the same principal."""
    return Reading(
        wishes=one.wishes + other.wishes,
        atoms=one.atoms | other.atoms,
        words=one.words | other.words,
        names=one.names | other.names,
        arithmetic=one.arithmetic or other.arithmetic,
        defers=one.defers or other.defers,
        chooses=one.chooses or other.chooses,
    )


def _names(text: str) -> set[str]:
    """Strict forms of what is quoted, and of runs of capitalised words."""
    found = {strict(next(g for g in groups if g)) for groups in _QUOTED.findall(text)}
    for run in re.finditer(r"\b[A-Z][\w'-]*(?:\s+(?:[A-Z][\w'-]*|of|the|and|&))*", text):
        name = strict(run[0])
        found.add(name)
        found.add(name.removesuffix("'s"))
    found.discard("")
    return found


def _wishes(found: list[str], lower: list[str]) -> list[Wish]:
    verbs = [(VERBS[lower[i]][0], i) for i in range(len(lower)) if _asks(lower, i, found[i])]
    taken = {i for _, i in verbs}
    verbs += [entry for entry in _nominal(lower) if entry[1] not in taken]
    verbs.sort(key=lambda entry: entry[1])
    everything = _nouns(lower)
    wishes: list[Wish] = []
    for at, (verb, i) in enumerate(verbs):
        families = VERBS[verb][2] - {Family.READ}
        if not families or _to_self(lower, i) or _carries(lower, i):
            continue
        end = next((j for _, j in verbs[at + 1 :] if j > i), len(lower))
        window = lower[i + 1 : end]
        nouns = _nouns(window)
        named = _clause_names(found[i + 1 : end])
        wishes.append(
            Wish(
                verb=verb,
                families=families,
                # "Find it and delete it": what such a window is about, its clause says.
                nouns=frozenset(nouns if nouns - GENERIC else everything),
                names=frozenset(named),
                many=bool(_ALL & set(window)) or _plural(window),
                count=max(1, _things(window, named)),
            )
        )
    return wishes


def _to_self(lower: list[str], i: int) -> bool:
    """The answer is for the principal, in the conversation: "tell me", "let us know"."""
    return lower[i + 1 : i + 2] in (["me"], ["us"]) and lower[i] in _SELF


def _carries(lower: list[str], i: int) -> bool:
    """What is asked for is the noun, a wish of its own: "make a reservation"."""
    return lower[i] in ("make", "do", "have", "issue", "arrange") and any(
        word in DEVERBAL for word in lower[i + 1 : i + 4]
    )


def _asks(lower: list[str], i: int, raw: str) -> bool:  # noqa: PLR0911 -- one return a rule
    """Whether the word at `i` is a verb that asks."""
    entry = VERBS.get(lower[i])
    if entry is None or raw[:1] in "'\"":
        return False
    before = lower[i - 1] if i else ""
    around = set(lower[max(0, i - 4) : i])
    if _NEGATIONS & around:
        return False
    match entry[1]:
        case "base":
            if before == "to" and _PLANS & set(lower[max(0, i - 3) : i]):
                return False  # "I am looking to book" tells of a plan
            if before == "to" and _REMINDERS & around:
                return False  # "remind me to book" asks for a reminder
            following = lower[i + 1] if i + 1 < len(lower) else ""
            # A noun in a row of nouns has nothing behind it that it could be done to.
            if following in ("", ",", "or") and i:
                return False
            if not i or before in _OPENERS or before.endswith("ly"):
                return True
            # "To each of them write the message"
            return following in _OBJECTS and not _EACH.isdisjoint(around)
        case "ing":
            return not i or before in _LEADS
        case "ed":
            return bool(_BEING & set(lower[max(0, i - 3) : i])) and not _NARRATORS & around
        case _:
            return False


def _nominal(lower: list[str]) -> list[tuple[str, int]]:
    """Requests that are put as nouns: "arrange the cancellation of", "I need a refund"."""
    if not _LIGHT & set(lower) or _NEGATIONS & set(lower):
        return []
    return [(DEVERBAL[word], i) for i, word in enumerate(lower) if word in DEVERBAL]


def _nouns(words: list[str]) -> set[str]:
    return {singular(w) for w in words if w.isalpha() and len(w) > 1 and w not in _DETERMINERS}


def _clause_names(raw: list[str]) -> set[str]:
    names: set[str] = set()
    for word in raw:
        bare = word.strip("'\"").rstrip(".,:")
        if not bare or bare == ",":
            continue
        found = shape(bare)
        if word[0] in "'\"" or found is not Shape.WORD or bare[0].isupper():
            names.add(same(bare, found))
    return names


def _plural(window: list[str]) -> bool:
    """Whether the first noun behind the verb is one in the plural."""
    for word in window:
        if word in _DETERMINERS or word == "," or not word.isalpha():
            continue
        return singular(word) != word and len(word) > 3
    return False


def _things(window: list[str], named: set[str]) -> int:
    """How many things a clause names: addresses and ids, or what is between commas."""
    contacts = sum(1 for name in named if shape(name) in CONTACTS)
    return max(contacts, window.count(",") + 1 if len(named) > 1 else 1)


__all__ = ["NOTHING", "Reading", "Wish", "joined", "read"]
