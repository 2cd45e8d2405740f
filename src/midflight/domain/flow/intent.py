"""What the principal asked for: the effects an intent implies, and the things it names.

Read clause by clause: a verb in the place of a verb asks for something, the same word behind an
article is a noun ("send an email" asks for one thing, "their share" for none); past tenses tell,
negations forbid. The rest of the clause says what it is done to and how many times. An intent that
says nothing of the kind implies reads.
Below: `words.py`, `atoms.py`. Above: `judge.py`.
"""

from __future__ import annotations

import itertools
import re

from midflight.domain.flow.atoms import CONTACTS, Shape, grouped, same, shape, thousands, tokens
from midflight.domain.flow.grammar import (
    AFTER,
    ALL,
    ARITHMETIC,
    BEFORE,
    BEING,
    COMMON,
    DEFER,
    DETERMINERS,
    EACH,
    INSIDE,
    JOINS,
    LEADS,
    LIGHT,
    NARRATORS,
    NEGATIONS,
    NONE,
    OBJECTS,
    OPENERS,
    PLANS,
    PRONOUNS,
    REMINDERS,
    SELF,
    SUPERLATIVE,
)
from midflight.domain.flow.text import strict
from midflight.domain.flow.words import DEVERBAL, GENERIC, VERBS, Family, classes, singular
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
_GLUED = re.compile(r"(\S+\.[a-z]{2,})\.([A-Z][a-z]+)(?=\s|\Z)")


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
        telling: words by which things can be told apart: no verbs and no common nouns.
        refused: verbs that it forbids: "do not send it yet", "send nothing".
        within: where things are, as it says: what stands behind "in", "from", "under".
        named: ids and paths that it names, `within` among them.
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
    telling: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()


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
    within: set[str] = set()
    refused: set[str] = set()
    left = MAX_INTENT_WORDS
    for clause in _CLAUSE.split(text):
        found: list[str] = _WORD.findall(clause)[:left]
        left -= len(found)
        if found:
            lower = [strict(w.strip("'\"")) if w != "," else w for w in found]
            words.update(lower)
            words.update(singular(w) for w in lower)
            wishes += _wishes(found, lower)
            within |= _within(found, lower)
            refused |= _refused(lower)
    for name in names:
        words.update(name.split())
    return Reading(
        wishes=tuple(wishes),
        atoms=frozenset(atoms),
        words=frozenset(words),
        names=frozenset(names),
        arithmetic=bool(words & ARITHMETIC),
        defers=bool(words & DEFER),
        chooses=bool(words & (SUPERLATIVE | ALL)),
        telling=frozenset(word for word in words if _tells(word)),
        refused=frozenset(refused),
        within=frozenset(within),
        named=frozenset(e.strip("/") for kind, e in atoms if kind in (Shape.ID, Shape.LINK)),
    )


def joined(one: Reading, other: Reading) -> Reading:
    """Two turns of the same principal: what the later one forbids is no longer wished."""
    kept = tuple(wish for wish in one.wishes if not _taken_back(wish, other.refused))
    return Reading(
        wishes=kept + other.wishes,
        refused=one.refused | other.refused,
        atoms=one.atoms | other.atoms,
        words=one.words | other.words,
        names=one.names | other.names,
        arithmetic=one.arithmetic or other.arithmetic,
        defers=one.defers or other.defers,
        chooses=one.chooses or other.chooses,
        telling=one.telling | other.telling,
        within=one.within | other.within,
        named=one.named | other.named,
    )


def _refused(lower: list[str]) -> set[str]:
    """The verbs behind a negation, or in front of a `nothing`."""
    return {
        VERBS[word][0]
        for i, word in enumerate(lower)
        if word in VERBS
        and (
            NEGATIONS & set(lower[max(0, i - 4) : i])
            or lower[i + 1 : i + 2] in (["nothing"], ["none"])
        )
    }


def _taken_back(wish: Wish, refused: frozenset[str]) -> bool:
    """Whether a verb that is forbidden now does what the wish asked for."""
    return any(
        verb == wish.verb or (wish.families and wish.families <= VERBS[verb][2]) for verb in refused
    )


def _within(found: list[str], lower: list[str]) -> set[str]:
    """Where things are: what stands behind a word for a place, up to the next word that joins."""
    places: set[str] = set()
    inside = False
    for raw, word in zip(found, lower, strict=True):
        if word in INSIDE:
            inside = True
        elif word in JOINS:
            inside = False
        elif inside and word not in DETERMINERS:
            bare = raw.strip("'\"").rstrip(".,:")
            places.add(same(bare, shape(bare)).strip("/"))
    return places - {""}


def _tells(word: str) -> bool:
    return (
        len(word) > 2
        and word.isalpha()
        and word == singular(word)
        and word not in VERBS
        and word not in GENERIC
        and word not in COMMON
        and not classes(word)
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
    verbs += [(lower[i], i) for i in range(len(lower)) if _commands(lower, i, found[i])]
    taken = {i for _, i in verbs}
    verbs += [entry for entry in _nominal(lower) if entry[1] not in taken]
    verbs.sort(key=lambda entry: entry[1])
    everything = _nouns(lower)
    wishes: list[Wish] = []
    for at, (verb, i) in enumerate(verbs):
        families = VERBS[verb][2] - {Family.READ} if verb in VERBS else frozenset[Family]()
        if (not families and verb in VERBS) or _to_self(lower, i) or _carries(lower, i):
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
                nouns=frozenset(_meant(nouns, everything, window)),
                names=frozenset(named),
                many=bool(ALL & set(window)) or _plural(window) or _to_each(lower, i),
                count=max(1, _things(window, named)),
            )
        )
    return wishes


def _meant(nouns: set[str], everything: set[str], window: list[str]) -> set[str]:
    if not nouns - GENERIC:
        return everything
    # "Read the report of Ann and move her to the next stage": her, whom the clause names before.
    pronoun = window[0] in PRONOUNS and (len(window) < 2 or window[1] in AFTER)
    return nouns | everything if pronoun else nouns


def _commands(lower: list[str], i: int, raw: str) -> bool:
    """Whether a word that is in no lexicon stands where only a verb can: "retry the build"."""
    word = lower[i]
    if word in VERBS or word in DETERMINERS or not (raw.islower() or not i) or not word.isalpha():
        return False
    if word in OPENERS or word in LEADS or word in NARRATORS or word in BEING or word in LIGHT:
        return False
    if NEGATIONS & set(lower[max(0, i - 4) : i + 1]) or lower[i + 1 : i + 2] in (["no"], ["any"]):
        return False
    return (
        (not i or lower[i - 1] in BEFORE)
        and lower[i + 1 : i + 2] != []
        and (lower[i + 1] in OBJECTS or lower[i + 1] in PRONOUNS)
    )


def _to_self(lower: list[str], i: int) -> bool:
    """The answer is for the principal, in the conversation: "tell me", "let us know"."""
    return lower[i + 1 : i + 2] in (["me"], ["us"]) and lower[i] in SELF


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
    if NEGATIONS & around:
        return False
    match entry[1]:
        case "base":
            if before == "to" and PLANS & set(lower[max(0, i - 3) : i]):
                return False  # "I am looking to book" tells of a plan
            if before == "to" and REMINDERS & around:
                return False  # "remind me to book" asks for a reminder
            following = lower[i + 1] if i + 1 < len(lower) else ""
            # A noun in a row of nouns has nothing behind it that it could be done to; and "send
            # nothing yet".
            if (following in ("", ",", "or") and i) or following in NONE:
                return False
            if not i or before in OPENERS or before.endswith("ly"):
                return True
            # "To each of them write the message"
            return following in OBJECTS and not EACH.isdisjoint(around)
        case "ing":
            return not i or before in LEADS
        case "ed":
            return bool(BEING & set(lower[max(0, i - 3) : i])) and not NARRATORS & around
        case _:
            return False


def _nominal(lower: list[str]) -> list[tuple[str, int]]:
    """Requests that are put as nouns: "arrange the cancellation of", "I need a refund"."""
    if not LIGHT & set(lower) or NEGATIONS & set(lower):
        return []
    return [(DEVERBAL[word], i) for i, word in enumerate(lower) if word in DEVERBAL]


def _nouns(words: list[str]) -> set[str]:
    return {singular(w) for w in words if w.isalpha() and len(w) > 1 and w not in DETERMINERS}


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
        if word in DETERMINERS or word == "," or not word.isalpha():
            continue
        return singular(word) != word and len(word) > 3
    return False


def _to_each(lower: list[str], i: int) -> bool:
    """Whether what stands before the verb multiplies it: "to each of them write"."""
    before = lower[max(0, i - 5) : i]
    return any(a in ("to", "for") and b in EACH for a, b in itertools.pairwise(before))


def _things(window: list[str], named: set[str]) -> int:
    """How many things a clause names: addresses and ids, or what is between commas."""
    contacts = sum(1 for name in named if shape(name) in CONTACTS)
    return max(contacts, window.count(",") + 1 if len(named) > 1 else 1)


__all__ = ["NOTHING", "Reading", "Wish", "joined", "read"]
