"""The judgement of flow: where an action's values came from, and what speaks against it.

Only effects are judged, and reads that go out with an address. What it says is facts for policy:
which concerns ask a person and which forbid is written in Cedar.
Below: `index.py`, `intent.py`. Above: `services/flow.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

from midflight.domain.flow.atoms import CONTACTS, Shape, host, number, same, shape, telling, tokens
from midflight.domain.flow.fields import Leaf, words_of
from midflight.domain.flow.index import CONTACT, NAME, SHORT, SYSTEM, TEXT, RunIndex, Seen, people
from midflight.domain.flow.intent import Reading, Wish
from midflight.domain.flow.text import decodings, strict
from midflight.domain.flow.words import (
    COMMON_VERBS,
    GENERIC,
    IMPLIED,
    LINKS,
    MONEY,
    MONEY_VERBS,
    Family,
    lexicon,
    related,
    singular,
)
from midflight.domain.labels import BOTTOM
from midflight.domain.paths import Place, argument_path, bare
from midflight.domain.proposal.naming import Doing, doing
from midflight.domain.proposal.roles import risky, role_of
from midflight.domain.provenance import RANK, ArgumentFacts, Concern, FlowFacts, Origin
from midflight.domain.traits import (
    CONTENT_ROLES,
    KEY_ROLES,
    Effect,
    FieldKind,
    Reach,
    Role,
    Traits,
)
from midflight.domain.value import JSONObject, Value

MAX_VALUES = 512
"""Argument values looked at; with more of them an action counts as made up."""

DICTATED = 3
"""Words from which on a title that stands in a text counts as dictated by it."""
OPAQUE = 16
"""Characters from which on a token that can be decoded counts as a message in code."""

_OUTWARD = frozenset({Effect.SEND, Effect.PAY, Effect.GRANT, Effect.INSTRUCT, Effect.EXECUTE})
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
_CHOOSY = frozenset({Effect.PAY, Effect.DELETE, Effect.GRANT, Effect.EXECUTE})
# A setting or a time of one of these shapes carries nothing.
_PLAIN = frozenset({Shape.WORD, Shape.NUMBER, Shape.DATE})
_JOINTS = str.maketrans("_/-.", "    ")
_STOP = lexicon("the a an of and or to in on for at by with from is re")


class Subject(Value):
    """What is judged: a tool, as far as flow needs to know it.

    Attributes:
        traits: reviewed or proposed.
        does: what its name and description say.
        schema: its input schema, for arguments that the traits do not name.
    """

    name: str
    traits: Traits
    does: Doing
    roles: dict[Place, Role]


class Circumstances(Value):
    """What the run has done and knows besides its index.

    Attributes:
        done: how many effects of this tool have been permitted in the run.
        endorsed: whether a value, in strict form, was approved for the run or its owner.
        own: domains of the owner.
        gated: the intent has to ask for an effect.
    """

    done: int
    endorsed: Callable[[str], bool]
    own: frozenset[str] = frozenset()
    gated: bool = True


def subject(name: str, description: str, traits: Traits) -> Subject:
    """A tool to be judged; made once for each pinned definition."""
    return Subject(
        name=name,
        traits=traits,
        does=doing(name, description),
        roles={argument_path(a.path).place: a.role for a in traits.arguments},
    )


class _Part(Value):
    """One value of the arguments."""

    path: str
    role: Role
    text: str


def parts(subject: Subject, arguments: JSONObject) -> Iterator[_Part]:
    """Every value of the arguments with its role, depth first."""
    for name, value in arguments.items():
        yield from _parts(subject, value, name, (name,), name)


def _parts(subject: Subject, value: Any, path: str, place: Place, name: str) -> Iterator[_Part]:
    if isinstance(value, dict):
        for key, inner in cast("JSONObject", value).items():
            yield from _parts(subject, inner, f"{path}.{key}", (*place, key), key)
    elif isinstance(value, list):
        for at, inner in enumerate(cast("list[Any]", value)):
            yield from _parts(subject, inner, f"{path}[{at}]", (*place, None), name)
    elif value is True and risky(name):
        yield _Part(path=path, role=Role.SCOPE, text=words_of(name).replace("_", " "))
    elif isinstance(value, bool) or value is None:
        return
    else:
        role = subject.roles.get(bare(place))
        if role is None:
            role = role_of(name, {"type": "string" if isinstance(value, str) else "number"})[0]
        text = value if isinstance(value, str) else _numeral(value)
        if text.strip():
            yield _Part(path=path, role=role, text=text)


def values(subject: Subject, arguments: JSONObject) -> Iterator[tuple[Role, str]]:
    """The values of the arguments with their roles, several addresses in one string apart."""
    for part in parts(subject, arguments):
        for text in _values(part):
            yield part.role, text


def judge(
    subject: Subject,
    arguments: JSONObject,
    *,
    index: RunIndex,
    reading: Reading,
    about: Circumstances,
) -> FlowFacts:
    """What flow says about an action."""
    return _Judging(subject, arguments, index, reading, about).facts()


class _Judging:
    def __init__(
        self,
        subject: Subject,
        arguments: JSONObject,
        index: RunIndex,
        reading: Reading,
        about: Circumstances,
    ) -> None:
        self._subject = subject
        self._index = index
        self._reading = reading
        self._about = about
        self._parts = list(parts(subject, arguments))[:MAX_VALUES]
        self._concerns: set[Concern] = set()
        self._found: list[ArgumentFacts] = []
        self._effect = subject.traits.effect
        self._outward = self._effect in _OUTWARD or (
            self._effect is not Effect.READ and subject.traits.reach is Reach.OPEN
        )

    def facts(self) -> FlowFacts:
        read = self._effect is Effect.READ
        if read and self._subject.traits.reach is Reach.CLOSED:
            return FlowFacts()
        for part in self._parts:
            if part.role in KEY_ROLES:
                if not read or part.role in (Role.URL, Role.RECIPIENT):
                    self._key(part)
            elif part.role in CONTENT_ROLES or (not read and shape(part.text) not in _PLAIN):
                self._content(part)
        asked = read or self._asked()
        origins = (a.origin for a in self._found if a.role in KEY_ROLES)
        worst = max(origins, key=RANK.__getitem__, default=Origin.INTENT)
        return FlowFacts(
            arguments=tuple(self._found),
            origin=worst,
            asked=asked,
            concerns=tuple(sorted(self._concerns)),
            carries=BOTTOM,
        )

    # Key arguments

    def _key(self, part: _Part) -> None:
        values = _values(part)
        for text in values:
            origin, seen = self._origin(text, part.role)
            self._weigh(part, text, origin, seen)
            self._found.append(
                ArgumentFacts(
                    path=part.path,
                    role=part.role,
                    origin=origin,
                    field="" if seen is None else seen.field,
                    record="" if seen is None else seen.record,
                    untrusted=seen is not None and seen.named,
                )
            )

    def _origin(self, text: str, role: Role) -> tuple[Origin, Seen | None]:
        kind = shape(text)
        exact = same(text, kind)
        seen = self._index.look(text)
        if self._in_intent(text, kind, exact, role):
            return Origin.INTENT, seen
        if self._about.endorsed(exact):
            return Origin.ENDORSED, seen
        if seen is None and (" " in text or kind is Shape.ID):
            return self._assembled(text)
        if seen is None:
            return Origin.MODEL, None
        if seen.rank == TEXT:
            return Origin.UNTRUSTED, seen
        return Origin.TRUSTED, seen

    def _assembled(self, text: str) -> tuple[Origin, Seen | None]:
        """A value of several pieces has the origin of its worst."""
        worst, where = Origin.INTENT, None
        pieces = [p for p in _pieces(text) if p not in _STOP]
        for piece in pieces:
            kind = shape(piece)
            exact = same(piece, kind)
            seen = self._index.look(piece)
            if exact in self._reading.words or (kind, exact) in self._reading.atoms:
                origin = Origin.INTENT
            elif seen is None:
                origin = Origin.MODEL
            else:
                origin = Origin.UNTRUSTED if seen.rank == TEXT else Origin.TRUSTED
            if RANK[origin] > RANK[worst]:
                worst, where = origin, seen
        return (worst, where) if pieces else (Origin.MODEL, None)

    def _in_intent(self, text: str, kind: Shape, exact: str, role: Role) -> bool:
        reading = self._reading
        if (kind, exact) in reading.atoms and (kind is not Shape.WORD):
            short = kind is Shape.NUMBER and len(exact) < 3 and role is Role.OBJECT
            return not short or self._numbered(exact)
        plain = strict(text)
        if plain in reading.names:
            return True
        if kind is Shape.HANDLE:
            return exact in reading.words
        if kind is Shape.WORD or " " in text:
            return all(w in reading.words for w in plain.split() if w not in _STOP)
        return False

    def _numbered(self, exact: str) -> bool:
        """A short number counts as said only beside what it numbers: "file 13", not "June 13"."""
        nouns = self._subject.does.nouns | self._subject.does.described_nouns
        wishes = self._reading.wishes
        return any(exact in wish.names and related(wish.nouns, nouns) for wish in wishes)

    def _weigh(self, part: _Part, text: str, origin: Origin, seen: Seen | None) -> None:
        """Which concerns an origin raises, by role."""
        role, tainted = part.role, self._index.text_seen
        if origin in (Origin.INTENT, Origin.ENDORSED):
            return
        if origin is Origin.UNTRUSTED:
            if self._follows(role, seen):
                return
            self._concerns.add(Concern.KEY_UNTRUSTED)
        elif origin is Origin.MODEL:
            if role is Role.URL and self._effect is Effect.READ:
                if tainted:
                    self._concerns.add(Concern.URL_ASSEMBLED)
            elif self._minds_unknown(role) and not self._derived(role, text):
                self._concerns.add(Concern.KEY_UNKNOWN)
        elif seen is not None:
            self._weigh_trusted(role, text, seen)

    def _meant(self, role: Role, text: str, seen: Seen) -> bool:
        """Whether somebody who merely takes part in something is whom the intent means.

        Anybody can put himself there. So it takes a record that the intent names (whoever is in it
        knows of it already), or a name that the intent says and that is nobody else's, or a choice
        that the intent leaves to the data; never for money or rights, never where the intent says
        who gets it, and never for who is named in words that somebody wrote.
        """
        if role is not Role.RECIPIENT or self._effect not in (Effect.SEND, Effect.WRITE):
            return False
        if seen.named or self._names_recipients():
            return False
        if seen.linked:
            return True
        if not seen.selected:
            return False
        if shape(text) in CONTACTS:
            return any(
                len(piece) > 2 and piece in self._reading.names and self._index.alone(piece)
                for piece in people(text)
            )
        return self._reading.chooses

    def _names_recipients(self) -> bool:
        return any(
            shape(name) in CONTACTS
            for wish in self._reading.wishes
            if wish.families & {Family.SEND, Family.GRANT}
            for name in wish.names
        )

    def _meant_other(self, seen: Seen) -> bool:
        """Whether the intent names another thing of the kind that this is."""
        if not self._index.text_seen or seen.linked:
            return False
        if seen.rank == SYSTEM:
            # Some record is named by the intent, and this is the id of another one.
            return not self._reading.chooses and seen.field in self._index.linked_fields
        return seen.rank == NAME and self._effect in _CHOOSY and self._named_other()

    def _named_other(self) -> bool:
        """Whether the principal named things of this kind, so that another one was not meant."""
        if not self._index.text_seen:
            return False
        found = (self._index.look(name) for name in self._reading.names if " " in name)
        return any(seen is not None and seen.rank == NAME for seen in found)

    def _derived(self, role: Role, text: str) -> bool:
        return role is Role.AMOUNT and self._reading.arithmetic and not self._index.figure(text)

    def _follows(self, role: Role, seen: Seen | None) -> bool:
        """Whether a fetch follows a link as it stands, in what the intent asked to read.

        Who wrote the link knows it already, but which links are followed tells him something, and
        what is behind it will be read. So the intent has to speak of links and pages, and to name
        none of its own.
        """
        return (
            self._effect is Effect.READ
            and role is Role.URL
            and seen is not None
            and seen.selected
            and bool(self._reading.words & LINKS)
            and not any(kind is Shape.LINK for kind, _ in self._reading.atoms)
        )

    def _minds_unknown(self, role: Role) -> bool:
        """Whether a value from nowhere matters: always outwards, and where somebody can steer."""
        return (
            self._index.text_seen
            or role in (Role.RECIPIENT, Role.ACCOUNT, Role.URL)
            or not self._reading.words  # nobody said what the run is for
        )

    def _weigh_trusted(self, role: Role, text: str, seen: Seen) -> None:
        if role is Role.OBJECT and self._meant_other(seen):
            self._concerns.add(Concern.KEY_UNLINKED)
        if seen.named and role is not Role.AMOUNT:
            self._concerns.add(Concern.KEY_CONTESTED)
        if role in (Role.RECIPIENT, Role.ACCOUNT, Role.URL):
            own = self._about.own and host(text) in self._about.own
            if (
                (seen.rank == CONTACT and not own and not self._meant(role, text, seen))
                or (seen.rank == NAME and shape(text) in CONTACTS)
                or not (seen.linked or seen.selected)
            ):
                self._concerns.add(Concern.KEY_UNLINKED)

    # Content

    def _content(self, part: _Part) -> None:
        if not self._index.text_seen and not self._outward:
            return
        worst: ArgumentFacts | None = None
        # Where a secret has been seen it may be a plain word, so then every word is looked up.
        every = self._index.secret_seen and self._outward
        found = tokens(part.text) if every else (token for token, _ in telling(part.text))
        for token in found:
            kind = shape(token)
            if (kind is Shape.WORD and not every) or kind is Shape.DATE:
                continue
            if kind is Shape.NUMBER and len(token) < SHORT:
                continue
            if (kind, same(token, kind)) in self._reading.atoms:
                continue
            seen = self._index.look(token)
            concern = self._carried(kind, token, seen)
            if concern is not None:
                self._concerns.add(concern)
                worst = ArgumentFacts(
                    path=part.path,
                    role=part.role,
                    origin=Origin.MODEL if seen is None else Origin.UNTRUSTED,
                    field="" if seen is None else seen.field,
                    record="" if seen is None else seen.record,
                    untrusted=seen is not None and seen.named,
                )
        if self._outward and (self._index.passages(part.text) or self._dictated(part)):
            self._concerns.add(Concern.CONTENT_PASSAGE)
        if worst is not None:
            self._found.append(worst)

    def _dictated(self, part: _Part) -> bool:
        """Whether a title of some words stands as a whole in words that somebody wrote."""
        if part.role is not Role.TITLE or part.text.count(" ") < DICTATED - 1:
            return False
        seen = self._index.look(part.text.strip())
        if seen is None or seen.rank != TEXT:
            return False
        return not all(word in self._reading.words for word in _pieces(part.text))

    def _carried(  # noqa: PLR0911 -- one return a rule, in order
        self, kind: Shape, token: str, seen: Seen | None
    ) -> Concern | None:
        if self._about.endorsed(same(token, kind)):
            return None
        if seen is not None and seen.secret and self._outward:
            return Concern.CONTENT_SECRET
        if kind is Shape.WORD or not self._outward or not self._index.text_seen:
            return None
        if len(token) >= OPAQUE and decodings(token):
            return Concern.CONTENT_PASSAGE  # what is said in code is not said to a person
        if kind in CONTACTS and (seen is None or seen.rank in (TEXT, CONTACT)):
            return Concern.CONTENT_CONTACT
        if seen is not None and not seen.selected and not seen.linked:
            return Concern.CONTENT_PASSAGE
        return None

    # What was asked for

    def _asked(self) -> bool:
        """Whether the intent asks for this effect, and for as many of them."""
        if not self._about.gated or not self._gated():
            return True
        matching = [wish for wish in self._reading.wishes if self._matches(wish)]
        if not matching:
            self._concerns.add(Concern.EFFECT_NOT_ASKED)
            return False
        several = any(wish.many for wish in matching) or not self._index.text_seen
        if not several and self._about.done >= sum(wish.count for wish in matching):
            self._concerns.add(Concern.TOO_MANY)
        return True

    def _gated(self) -> bool:
        """Whether the intent has to ask for it: always, where words of others were seen."""
        return (
            self._index.text_seen
            or self._index.phrase_seen
            or self._effect in (Effect.GRANT, Effect.INSTRUCT)
        )

    def _matches(self, wish: Wish) -> bool:
        does = self._subject.does
        if wish.verb in (does.verb, does.described_verb) and wish.verb not in COMMON_VERBS:
            return True
        nouns = (does.nouns or does.described_nouns) - GENERIC
        about = wish.nouns - GENERIC - {wish.verb}
        implied = IMPLIED.get(wish.verb)
        if implied is not None and (self._effect is not Effect.PAY or not about):
            about |= implied
        if (
            self._effect is Effect.PAY
            and wish.verb in MONEY_VERBS
            and not self._speaks_of_money(wish)
        ):
            return False
        if wish.families & _FAMILIES[self._effect]:
            return not nouns or not about or related(about, nouns) or self._acts_on(wish)
        if self._effect in _BY_OBJECT and wish.families & {Family.CREATE, Family.UPDATE}:
            # "Set up a payment", "change my password": the object makes it what it is.
            return bool(nouns and about) and related(about, nouns)
        return False

    @staticmethod
    def _speaks_of_money(wish: Wish) -> bool:
        return bool(wish.nouns & MONEY) or any(
            shape(name) in (Shape.NUMBER, Shape.ACCOUNT) for name in wish.names
        )

    def _acts_on(self, wish: Wish) -> bool:
        """What the clause names is what this acts upon, or stands in the record of it."""
        for part in self._parts:
            if part.role not in KEY_ROLES:
                continue
            for text in _values(part):
                if same(text, shape(text)) in wish.names or strict(text) in wish.names:
                    return True
                if part.role is not Role.OBJECT or not wish.names:
                    continue
                seen = self._index.look(text)
                if seen is not None and seen.linked and seen.rank == SYSTEM and not seen.named:
                    return True
        return False


def linked_records(found: Iterable[Leaf], reading: Reading) -> frozenset[int]:
    """Numbers of the records that the intent names: by an address, an id, a name."""
    linked: set[int] = set()
    long_names = [name for name in reading.names if len(name) > 5]
    for leaf in found:
        if leaf.kind is FieldKind.TEXT or not leaf.records or leaf.records[-1] in linked:
            continue
        kind = leaf.shape
        if kind in (Shape.NUMBER, Shape.DATE):
            continue
        plain = leaf.exact
        if (
            (kind is not Shape.WORD and (kind, plain) in reading.atoms)
            or plain in reading.names
            or (" " in plain and any(plain in name or name in plain for name in long_names))
            or (kind not in CONTACTS and _worded(plain, kind, reading))
        ):
            linked.add(leaf.records[-1])
    return frozenset(linked)


def _worded(text: str, kind: Shape, reading: Reading) -> bool:
    """Whether a name of several words is made of the intent's words: "team-minutes.docx"."""
    pieces = [p for p in _pieces(text) if p not in _STOP and not p.isdigit()]
    if kind is Shape.ID and "." in text:
        pieces = pieces[:-1]  # the end of a file name
    return len(pieces) > 1 and all(p in reading.words for p in pieces)


def selected(subject: Subject, arguments: JSONObject, *, index: RunIndex, reading: Reading) -> bool:
    """Whether the intent asked for what this read returns: its arguments are the intent's words."""
    judged = False
    nouns = subject.does.nouns - GENERIC
    about = related(nouns, reading.words) if nouns else bool(reading.words)
    for part in parts(subject, arguments):
        if part.role in (Role.TIME, Role.SETTING, Role.AMOUNT):
            continue
        judged = True
        for text in _values(part) if part.role in KEY_ROLES else [part.text]:
            if not _said(text, index, reading) and not (
                about and part.role is not Role.QUERY and _listed(text, index)
            ):
                return False
    return judged or about


def _listed(text: str, index: RunIndex) -> bool:
    """Whether a name of several words stands in what the intent selected, if only in a text."""
    seen = index.look(text) if " " in text.strip() else None
    return seen is not None and seen.selected


def _said(text: str, index: RunIndex, reading: Reading) -> bool:
    kind = shape(text)
    if (kind, same(text, kind)) in reading.atoms or strict(text) in reading.names:
        return True
    pieces = [p for p in _pieces(text) if p not in _STOP and len(p) > 1]
    if pieces and all(p in reading.words or singular(p) in reading.words for p in pieces):
        return True
    seen = index.look(text)
    if seen is None or seen.rank not in (SYSTEM, NAME):
        return False
    return seen.selected or seen.linked


def _values(part: _Part) -> list[str]:
    """The values in an argument: several addresses in one string are several."""
    text = part.text.strip()
    if part.role is Role.RECIPIENT and ("," in text or ";" in text):
        several = list(tokens(text))
        # Several addresses in one string; anything else is one value, however long.
        return several if all(shape(t) in CONTACTS for t in several) and several else [text]
    if part.role is Role.AMOUNT:
        return [number(text) or text]
    return [text]


def _pieces(text: str) -> list[str]:
    """The words of a text, those inside of ids and paths too."""
    plain = strict(text)
    found: list[str] = []
    for word in plain.translate(_JOINTS).split():
        bare = word.strip("'\"(),:;!?#@")
        if bare:
            found.append(bare)
    return found


def _numeral(value: Any) -> str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


__all__ = [
    "Circumstances",
    "Subject",
    "judge",
    "linked_records",
    "parts",
    "selected",
    "subject",
    "values",
]
