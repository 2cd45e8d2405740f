"""Traits as operators hand them in, and the operation that pins what a traits file reviews.

A review is applied to the definition that was looked at and to no other. What the file says is
checked again here, since not every caller is the command line. Below: `services/catalogue.py`.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

from midflight.apps.control.operation import Input, Operation
from midflight.apps.control.operators import Operator
from midflight.apps.control.plane import Plane
from midflight.domain.errors import Conflict
from midflight.domain.labels import Confidentiality
from midflight.domain.paths import argument_path, result_path
from midflight.domain.proposal import contradictions
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Argument, Effect, FieldKind, Reach, Role, Traits, Yield
from midflight.domain.value import Value


class GivenArgument(Input):
    """What one argument is for."""

    path: str
    role: Role


class GivenYield(Input):
    """What one part of a result is."""

    path: str
    kind: FieldKind
    confidentiality: Confidentiality = Confidentiality.PUBLIC
    compartments: frozenset[str] = frozenset()
    unless_field: str = ""
    domains: frozenset[str] = frozenset()


class GivenTraits(Input):
    """Traits that an operator has reviewed."""

    effect: Effect
    reach: Reach
    arguments: tuple[GivenArgument, ...] = ()
    yields: tuple[GivenYield, ...] = ()
    first_party: bool = False
    persists: bool = True

    def reviewed(self) -> Traits:
        """The traits, as a person's word.

        Raises:
            Malformed: a path that is none.
        """
        for argument in self.arguments:
            argument_path(argument.path)
        for given in self.yields:
            result_path(given.path)
        return Traits(
            effect=self.effect,
            reach=self.reach,
            reviewed=True,
            arguments=tuple(Argument(path=a.path, role=a.role) for a in self.arguments),
            yields=tuple(
                Yield(
                    path=given.path,
                    kind=given.kind,
                    confidentiality=given.confidentiality,
                    compartments=given.compartments,
                    unless_field=given.unless_field,
                    domains=given.domains,
                )
                for given in self.yields
            ),
            first_party=self.first_party,
            persists=self.persists,
        )


class GivenReview(Input):
    """One reviewed tool of a traits file; `digest` is that of the definition looked at."""

    name: str
    digest: str
    traits: GivenTraits


class GivenReviews(Input):
    """The reviewed tools of one upstream."""

    upstream: str
    tools: tuple[GivenReview, ...]


class Outcome(enum.StrEnum):
    """What came of one review."""

    PINNED = "pinned"
    SAME = "same"
    """It was pinned so already."""
    DIFFERS = "differs"
    """Another definition is served; nothing was pinned."""
    GONE = "gone"
    """Nothing of that name is served."""


class Applied(Value):
    """One review, and what came of it.

    Attributes:
        name, outcome: see there.
        served: digest of the definition that is served.
        before: traits of the pin that stood there.
        contradictions: what the upstream says of the tool that its traits deny.
    """

    name: str
    outcome: Outcome
    served: str | None = None
    before: Traits | None = None
    contradictions: tuple[str, ...] = ()


class TraitsVerbs:
    """See the module."""

    def __init__(self, plane: Plane) -> None:
        self._catalogue = plane.catalogue

    async def apply_traits(self, given: GivenReviews, operator: Operator) -> Sequence[Applied]:
        """Pin what is reviewed, where the definition served is the one that was looked at."""
        names = [review.name for review in given.tools]
        if len(set(names)) != len(names):
            raise Conflict("A tool is reviewed twice.", hint="Say each tool once.")
        reviewed = [(review, review.traits.reviewed()) for review in given.tools]
        await self._catalogue.refresh(given.upstream)
        return [
            await self._apply(given.upstream, review, traits, operator)
            for review, traits in reviewed
        ]

    async def _apply(
        self, upstream: str, review: GivenReview, traits: Traits, operator: Operator
    ) -> Applied:
        key = (upstream, PinnedKind.TOOL, review.name)
        served = self._catalogue.definition(*key)
        pin = self._catalogue.pinned(*key)
        outcome = Outcome.PINNED
        if served is None:
            outcome = Outcome.GONE
        elif served.digest() != review.digest:
            outcome = Outcome.DIFFERS
        elif pin is not None and (pin.digest, pin.traits) == (review.digest, traits):
            outcome = Outcome.SAME
        else:
            # Looked at and pinned in one turn: nothing can be served in between.
            await self._catalogue.pin(
                upstream, review.name, traits=traits, digest=review.digest, author=operator.author
            )
        return Applied(
            name=review.name,
            outcome=outcome,
            served=served.digest() if served else None,
            before=pin.traits if pin else None,
            contradictions=contradictions(served.body, traits) if served else (),
        )

    def operations(self) -> Sequence[Operation[Any]]:
        """The rows of the table."""
        return (
            Operation(
                method="POST",
                path="/v1/traits/apply",
                summary="Pin what a traits file reviews, where it is served as it was reviewed.",
                input=GivenReviews,
                answer=list[Applied],
                act=self.apply_traits,
            ),
        )


__all__ = ["Applied", "GivenReviews", "GivenTraits", "Outcome", "TraitsVerbs"]
