"""Reviews: what a person has said about the tools of one upstream, each for one definition.

A review holds for the definition whose digest it names and for no other: a tool that changed by one
word is a tool that nobody has reviewed. Below: the traits. Above: the traits file, and the verbs
that pin by it.
"""

from __future__ import annotations

import msgspec

from midflight.domain.canonical import sha256_hex
from midflight.domain.traits import Traits
from midflight.domain.value import Value


class Review(Value):
    """One tool: the digest of the definition that was looked at, and what it can do.

    `traits.reviewed` says whether a person has confirmed it; else it is a proposal.
    """

    name: str
    digest: str
    traits: Traits

    @property
    def reviewed(self) -> bool:
        """Whether a person has confirmed it."""
        return self.traits.reviewed

    def holds(self, digest: str | None) -> bool:
        """Whether it is a person's word about the definition with this digest."""
        return self.reviewed and self.digest == digest


class Reviews(Value):
    """The reviews of one upstream, in the order of its file."""

    upstream: str
    tools: tuple[Review, ...] = ()

    def of(self, name: str) -> Review | None:
        """The review of one tool, by its exact name."""
        return next((review for review in self.tools if review.name == name), None)


def proposed(name: str, digest: str, traits: Traits) -> Review:
    """A review that nobody has confirmed yet."""
    unconfirmed = msgspec.structs.replace(traits, reviewed=False, proposed=True)
    return Review(name=name, digest=digest, traits=unconfirmed)


def told(traits: Traits) -> dict[str, str]:
    """Traits in the record of a pin: what they come to, and a digest to tell two apart."""
    state = "reviewed" if traits.reviewed else "proposed" if traits.proposed else "none"
    return {
        "effect": traits.effect.value,
        "reach": traits.reach.value,
        "review": state,
        "traits": sha256_hex(msgspec.to_builtins(traits, order="sorted")),
    }


__all__ = ["Review", "Reviews", "proposed", "told"]
