"""`propose`: a definition becomes a proposal, by rules that a lying manifest cannot turn down.

It adds to what the rules infer only what holds for every rule: claims raise and never lower, and
what a person could misread in a name is said. The inference itself is in `rules.py`.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

import msgspec

from midflight.domain.proposal import rules
from midflight.domain.proposal.claims import Claims, claims, raised, without_lowering
from midflight.domain.proposal.values import Evidence, Proposal, Sureness
from midflight.domain.tool import Definition
from midflight.domain.traits import Traits

# Control, format (zero width, bidirectional), private use, surrogates, unassigned.
_UNSEEN = frozenset({"Cc", "Cf", "Co", "Cs", "Cn"})


def propose(definition: Definition) -> Proposal:
    """Traits for a definition, unreviewed, with the evidence for each part of them."""
    inferred = rules.propose(without_lowering(definition))
    said = claims(definition.body)
    traits = msgspec.structs.replace(raised(inferred.traits, said), proposed=True, reviewed=False)
    evidence = (
        *inferred.evidence,
        *_raises(inferred.traits, traits),
        *_ignored(said, traits),
        *_misreadings(definition),
    )
    return Proposal(traits=traits, evidence=evidence)


def _raises(before: Traits, after: Traits) -> Iterator[Evidence]:
    if after.effect is not before.effect:
        yield Evidence(
            about="effect",
            says=after.effect.value,
            why="the upstream says itself that it does more than its name and description say",
            sure=Sureness.HIGH,
        )
    if after.reach is not before.reach:
        yield Evidence(
            about="reach",
            says=after.reach.value,
            why="the upstream says itself that it reaches the open world",
            sure=Sureness.HIGH,
        )


def _ignored(said: Claims, traits: Traits) -> Iterator[Evidence]:
    if said.read_only is True and traits.effect.value != "read":
        yield Evidence(
            about="effect",
            says=traits.effect.value,
            why="readOnlyHint says that it only reads; an upstream's word about itself lowers"
            " nothing",
            sure=Sureness.LOW,
            confirm=True,
        )
    if said.open_world is False and traits.reach.value != "closed":
        yield Evidence(
            about="reach",
            says=traits.reach.value,
            why="openWorldHint says that its world is closed; an upstream's word about itself"
            " lowers nothing",
            sure=Sureness.LOW,
            confirm=True,
        )


def _misreadings(definition: Definition) -> Iterator[Evidence]:
    """What makes a person read something else than what is there."""
    if not definition.name.isascii():
        yield Evidence(
            about="name",
            says=ascii(definition.name),
            why="the name has letters that can look like others",
            sure=Sureness.HIGH,
            confirm=True,
        )
    for field in ("title", "description"):
        text = definition.body.get(field)
        if type(text) is str and any(map(_is_unseen, text)):
            yield Evidence(
                about=field,
                says="holds characters that nobody sees",
                why="a model reads them, and a person who reviews it does not",
                sure=Sureness.HIGH,
                confirm=True,
            )


def _is_unseen(character: str) -> bool:
    return character not in "\n\r\t" and unicodedata.category(character) in _UNSEEN


__all__ = ["propose"]
