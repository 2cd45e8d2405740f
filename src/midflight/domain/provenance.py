"""Provenance: where in a run the values of an action came from, and what that says.

`FlowFacts` is what policy sees and what a record keeps. It names arguments and fields and never
holds a value: values are in the sealed arguments.
"""

from __future__ import annotations

import enum

from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.traits import Role
from midflight.domain.value import Value


class Origin(enum.StrEnum):
    """Where a value came from, best first. Stored in records: append, never change."""

    INTENT = "intent"
    """The principal said it."""
    ENDORSED = "endorsed"
    """A person approved it."""
    TRUSTED = "trusted"
    """A field that the upstream itself fills."""
    UNTRUSTED = "untrusted"
    """Words that somebody wrote."""
    MODEL = "model"
    """Nowhere: the model made it up, or put it together."""


RANK: dict[Origin, int] = {origin: rank for rank, origin in enumerate(Origin)}
"""Order of origins, best first."""


class Concern(enum.StrEnum):
    """What speaks against an action. Stored in records and named in policies: append only."""

    EFFECT_NOT_ASKED = "effect-not-asked"
    """The intent does not ask for an effect of this kind."""
    TOO_MANY = "too-many"
    """The intent asks for fewer of these."""
    KEY_UNTRUSTED = "key-untrusted"
    """A key argument comes from words that somebody wrote."""
    KEY_UNKNOWN = "key-unknown"
    """A key argument comes from nowhere."""
    KEY_UNLINKED = "key-unlinked"
    """A recipient or a thing comes from a record that the intent does not mean."""
    KEY_CONTESTED = "key-contested"
    """A key argument is named in words that somebody wrote."""
    CONTENT_CONTACT = "content-contact"
    """The content holds an address, account or link that is not vouched for."""
    CONTENT_PASSAGE = "content-passage"
    """The content repeats a passage of a source that the intent did not select."""
    CONTENT_SECRET = "content-secret"  # noqa: S105 -- the name of a concern
    """The content holds a value of a secret field."""
    URL_ASSEMBLED = "url-assembled"
    """The address was put together, so it can carry data out."""


class ArgumentFacts(Value):
    """Where one value came from.

    Attributes:
        path: which argument (`recipients[0]`).
        role: what it is for.
        origin: the best place that holds it.
        field: the field of the result that it was first seen in.
        record: the record that brought that result.
        untrusted: it is also named in words that somebody wrote.
        confidentiality: of the field it came from.
    """

    path: str
    role: Role
    origin: Origin
    field: str = ""
    record: str = ""
    untrusted: bool = False
    confidentiality: int = 0


class FlowFacts(Value):
    """What flow says about one action.

    Attributes:
        arguments: the key arguments, and content that carries something.
        origin: the worst origin of a key argument; `intent` where there is none.
        asked: the intent asks for an effect of this kind.
        concerns: what speaks against it, sorted.
        carries: labels of what the content carries.
    """

    arguments: tuple[ArgumentFacts, ...] = ()
    origin: Origin = Origin.INTENT
    asked: bool = True
    concerns: tuple[Concern, ...] = ()
    carries: Labels = BOTTOM


NO_FLOW = FlowFacts()

__all__ = ["NO_FLOW", "RANK", "ArgumentFacts", "Concern", "FlowFacts", "Origin"]
