"""Key arguments: where each value came from, and what speaks against it.

A value has the best origin that holds it as it stands; one that was put together has the origin of
its worst piece. Below: `subject.py`, `index.py`. Above: `judge.py`.
"""

from __future__ import annotations

from midflight.domain.flow.atoms import CONTACTS, Shape, address_host, same, shape
from midflight.domain.flow.fields import numbered
from midflight.domain.flow.index import CONTACT, NAME, SHORT, SYSTEM, TEXT, Seen, people
from midflight.domain.flow.subject import (
    STOP,
    Matter,
    Part,
    pieces_of,
    values_of,
)
from midflight.domain.flow.text import strict
from midflight.domain.flow.words import (
    LINKS,
    Family,
    related,
)
from midflight.domain.provenance import RANK, ArgumentFacts, Concern, Origin
from midflight.domain.traits import (
    KEY_ROLES,
    Effect,
    Role,
)

_CHOOSY = frozenset({Effect.PAY, Effect.DELETE, Effect.GRANT, Effect.EXECUTE})


def judge_key(matter: Matter, part: Part) -> None:
    """Judge where each value of one key argument came from."""
    values = values_of(part)
    for text in values:
        origin, seen = _origin(matter, text, part.role)
        _weigh(matter, part, text, origin, seen)
        matter.found.append(
            ArgumentFacts(
                path=part.path,
                role=part.role,
                origin=origin,
                field="" if seen is None else seen.field,
                record="" if seen is None else seen.record,
                untrusted=seen is not None and seen.named,
            )
        )


def _origin(matter: Matter, text: str, role: Role) -> tuple[Origin, Seen | None]:
    kind = shape(text)
    exact = same(text, kind)
    seen = matter.index.look_as(text, kind, exact)
    if _in_intent(matter, text, kind, exact, role):
        return Origin.INTENT, seen
    if matter.about.endorsed(exact):
        return Origin.ENDORSED, seen
    if seen is None and (" " in text or kind is Shape.ID):
        return _assembled(matter, text)
    if seen is None:
        return Origin.MODEL, None
    if seen.rank == TEXT:
        return Origin.UNTRUSTED, seen
    return Origin.TRUSTED, seen


def _assembled(matter: Matter, text: str) -> tuple[Origin, Seen | None]:
    """A value of several pieces has the origin of its worst."""
    if "/" in text and _of_said_components(matter, text):
        return Origin.INTENT, None
    worst, where = Origin.INTENT, None
    pieces = [p for p in pieces_of(text) if p not in STOP]
    for piece in pieces:
        kind = shape(piece)
        exact = same(piece, kind)
        seen = matter.index.look_as(piece, kind, exact)
        if exact in matter.reading.words or (kind, exact) in matter.reading.atoms:
            origin = Origin.INTENT
        elif seen is None:
            origin = Origin.MODEL
        else:
            origin = Origin.UNTRUSTED if seen.rank == TEXT else Origin.TRUSTED
        if RANK[origin] > RANK[worst]:
            worst, where = origin, seen
    return (worst, where) if pieces else (Origin.MODEL, None)


def _of_said_components(matter: Matter, text: str) -> bool:
    """Whether each component of a path is one that the intent says: "old.txt in /proj"."""
    components = [strict(piece) for piece in text.split("/") if piece]
    reading = matter.reading
    return bool(components) and all(
        piece in reading.words or (shape(piece), same(piece, shape(piece))) in reading.atoms
        for piece in components
    )


def _in_intent(matter: Matter, text: str, kind: Shape, exact: str, role: Role) -> bool:
    reading = matter.reading
    if (kind, exact) in reading.atoms and (kind is not Shape.WORD):
        short = kind is Shape.NUMBER and len(exact) < 3 and role is Role.OBJECT
        return not short or _numbered(matter, exact)
    plain = strict(text)
    if plain in reading.names:
        return True
    if kind is Shape.HANDLE:
        return exact in reading.words
    if kind is Shape.WORD or " " in text:
        said = [w in reading.words for w in plain.split() if w not in STOP]
        return bool(said) and all(said)
    return False


def _numbered(matter: Matter, exact: str) -> bool:
    """A short number counts as said only beside what it numbers: "file 13", not "June 13"."""
    nouns = matter.subject.does.nouns | matter.subject.does.described_nouns
    wishes = matter.reading.wishes
    return any(exact in wish.names and related(wish.nouns, nouns) for wish in wishes)


def _weigh(matter: Matter, part: Part, text: str, origin: Origin, seen: Seen | None) -> None:
    """Which concerns an origin raises, by role."""
    role = part.role
    if origin in (Origin.INTENT, Origin.ENDORSED):
        return
    if origin is Origin.UNTRUSTED:
        if _follows(matter, role, text, seen):
            return
        matter.concerns.add(Concern.KEY_UNTRUSTED)
    elif origin is Origin.MODEL:
        if role is Role.URL and matter.effect is Effect.READ:
            if matter.steered:
                matter.concerns.add(Concern.URL_ASSEMBLED)
        elif _minds_unknown(matter, role) and not _derived(matter, role, text):
            matter.concerns.add(Concern.KEY_UNKNOWN)
    elif seen is not None:
        _weigh_trusted(matter, role, text, seen)


def _weigh_trusted(matter: Matter, role: Role, text: str, seen: Seen) -> None:
    if role in (Role.OBJECT, Role.PATH) and _meant_other(matter, seen):
        matter.concerns.add(Concern.KEY_UNLINKED)
    if seen.secret and matter.outward and role is not Role.CREDENTIAL:
        matter.concerns.add(Concern.CONTENT_SECRET)
    if seen.named and role is not Role.AMOUNT:
        matter.concerns.add(Concern.KEY_CONTESTED)
    unplaced = not seen.field  # read back, or beyond the places that are kept
    if (
        role is Role.AMOUNT
        and len(text) >= SHORT
        and matter.steered
        and (unplaced or numbered(seen.field))
    ):
        matter.concerns.add(Concern.KEY_UNLINKED)  # the number of something is no amount
    if role in (Role.RECIPIENT, Role.ACCOUNT, Role.URL):
        own = matter.about.own and address_host(text) in matter.about.own
        if (
            (seen.rank == CONTACT and not own and not _meant(matter, role, text, seen))
            or (seen.rank == NAME and shape(text) in CONTACTS)
            or not (seen.linked or seen.selected)
        ):
            matter.concerns.add(Concern.KEY_UNLINKED)


def _meant(matter: Matter, role: Role, text: str, seen: Seen) -> bool:
    """Whether somebody who merely takes part in something is whom the intent means.

    Anybody can put himself there. So it takes a record that the intent names (whoever is in it
    knows of it already), or a name that the intent says and that is nobody else's, or a choice
    that the intent leaves to the data; never for money or rights, never where the intent says
    who gets it, and never for who is named in words that somebody wrote.
    """
    if role is not Role.RECIPIENT or matter.effect not in (Effect.SEND, Effect.WRITE):
        return False
    if seen.named or _names_recipients(matter):
        return False
    if seen.linked:
        return True
    if not seen.selected:
        return False
    if shape(text) in CONTACTS:
        return any(
            len(piece) > 2 and piece in matter.reading.names and matter.index.alone(piece)
            for piece in people(text)
        )
    return matter.reading.chooses


def _names_recipients(matter: Matter) -> bool:
    return any(
        shape(name) in CONTACTS
        for wish in matter.reading.wishes
        if wish.families & {Family.SEND, Family.GRANT}
        for name in wish.names
    )


def _meant_other(matter: Matter, seen: Seen) -> bool:
    """Whether the intent names another thing of the kind that this is."""
    if not matter.steered or seen.linked or seen.about:
        return False
    lost = matter.index.lost
    if seen.rank == SYSTEM or lost:
        # Some record is named by the intent, and this is the id of another one.
        told = matter.index.linked_fields | matter.index.about_fields
        if not matter.reading.chooses and (bool(told) or matter.effect is Effect.DELETE):
            return True
    return seen.rank == NAME and matter.effect in _CHOOSY and (lost or _named_other(matter))


def _named_other(matter: Matter) -> bool:
    """Whether the principal named things of this kind, so that another one was not meant."""
    if not matter.index.text_seen:
        return False
    found = (matter.index.look(name) for name in matter.reading.names if " " in name)
    return any(seen is not None and seen.rank == NAME for seen in found)


def _derived(matter: Matter, role: Role, text: str) -> bool:
    if role is Role.AMOUNT and text == "1":
        return True  # one of them, which nobody says
    if role is not Role.AMOUNT or not matter.reading.arithmetic or matter.index.forgot:
        return False  # what was forgotten may have named it
    return not matter.index.figure(text)


def _follows(matter: Matter, role: Role, text: str, seen: Seen | None) -> bool:
    """Whether a fetch follows a link to the letter, in what the intent asked to read.

    Who wrote the link knows it already, but which links are followed tells him something, and
    what is behind it will be read. So the intent has to speak of links and pages, and to name
    none of its own.
    """
    return (
        matter.effect is Effect.READ
        and role is Role.URL
        and seen is not None
        and seen.selected
        and matter.index.literal(text)
        and bool(matter.reading.words & LINKS)
        and not any(kind is Shape.LINK for kind, _ in matter.reading.atoms)
    )


def _minds_unknown(matter: Matter, role: Role) -> bool:
    """Whether a value from nowhere matters: always outwards, and where somebody can steer."""
    return (
        matter.steered
        or role in (Role.RECIPIENT, Role.ACCOUNT, Role.URL)
        or not matter.reading.words  # nobody said what the run is for
    )


def judge_setting(matter: Matter, part: Part) -> None:
    """A number that sets something and that nobody said: no replicas, another limit."""
    if shape(part.text) is not Shape.NUMBER or matter.reading.arithmetic:
        return
    exact = same(part.text, Shape.NUMBER)
    if exact == "1" or (Shape.NUMBER, exact) in matter.reading.atoms:
        return
    seen = matter.index.look(part.text)
    if matter.about.endorsed(exact) or (seen is not None and seen.rank != TEXT):
        return
    matter.concerns.add(Concern.KEY_UNKNOWN)


def judge_container(matter: Matter) -> None:
    """What is deleted is not only where the thing is that the intent names: "x.txt in /proj"."""
    within = matter.reading.within
    if not matter.steered or not within or not (matter.reading.named - within):
        return
    keys = [
        same(text, shape(text)).strip("/")
        for part in matter.parts
        if part.role in KEY_ROLES and part.role is not Role.SCOPE
        for text in values_of(part)
    ]
    if keys and all(key in within for key in keys):
        matter.concerns.add(Concern.KEY_UNLINKED)


__all__ = ["judge_container", "judge_key", "judge_setting"]
