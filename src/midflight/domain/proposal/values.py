"""What a proposal is."""

from __future__ import annotations

import enum

from midflight.domain.traits import Traits
from midflight.domain.value import Value


class Sureness(enum.StrEnum):
    """How sure a proposal is of one thing."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Evidence(Value):
    """One thing that a proposal says, and why.

    Attributes:
        about: `effect`, `reach`, `argument <path>`, `yield <path>`.
        says: the proposed value.
        why: what in the manifest suggests it.
        sure: how sure that is.
        confirm: a person must confirm it, since being wrong would lower protection.
    """

    about: str
    says: str
    why: str
    sure: Sureness
    confirm: bool = False


class Proposal(Value):
    """Proposed traits of one tool, unreviewed, and the evidence for them."""

    traits: Traits
    evidence: tuple[Evidence, ...]


__all__ = ["Evidence", "Proposal", "Sureness"]
