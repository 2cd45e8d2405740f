"""Answers: what Cedar said, and what it said to the very same question before.

Cedar is a function. Policies, entities, ids, schema and context are all that goes in, no clock and
no state of its own; so a question that is equal in every byte has the same answer, and is not asked
again. Whatever can change an answer is a part of the question: labels, steps, arguments, standing
and approval stand in its context as far as any policy looks at them, a pin and the workload in its
parties, and another set or registration is another generation, which begins with nothing known.
Revocations, ends of runs and limits are no questions of policy and never come here.

Only a clean Allow or Deny is kept, and of its context only a hash: arguments stand in there, and
may not outlive their action in clear. Below: `calls.py`, `parties.py`. Above: `asking.py`.
"""

from __future__ import annotations

from hashlib import sha256

import cedarpy

from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.parties import Parties
from midflight.domain.value import Value

MAX_ANSWERS = 8_192
MAX_CONTEXT = 512
"""Bytes of a context that is kept. Longer ones hold arguments, which hardly come twice."""


class Answer(Value):
    """What Cedar said.

    Attributes:
        allows: it said Allow; that alone permits nothing, see `errors`.
        determining: ids of the policies that decided, sorted.
        errors: what failed; None of a clean answer, and empty if there was none and no reason why.
    """

    allows: bool
    determining: tuple[str, ...] = ()
    errors: tuple[str, ...] | None = None


class Answers:
    """The clean answers to questions of one generation, those that are asked most."""

    def __init__(self) -> None:
        self._known = Bounded[tuple[Parties, bytes], Answer](MAX_ANSWERS)

    def known(self, parties: Parties, context: bytes) -> Answer | None:
        """What was said to this question, or None."""
        if len(context) > MAX_CONTEXT:
            return None
        return self._known.get((parties, sha256(context).digest()))

    def keep(self, parties: Parties, context: bytes, answer: Answer) -> None:
        """Remember an answer, if it is clean and its question short."""
        if answer.errors is None and len(context) <= MAX_CONTEXT:
            self._known.put((parties, sha256(context).digest()), answer)

    def __len__(self) -> int:
        return len(self._known)


def read(result: cedarpy.AuthzResult) -> Answer:
    """A result of the engine. Clean is an Allow or a Deny that brought no error."""
    decision, diagnostics = result.decision, result.diagnostics
    errors = tuple(diagnostics.errors)
    unclean = errors or decision is cedarpy.Decision.NoDecision
    return Answer(
        allows=decision is cedarpy.Decision.Allow,
        determining=tuple(sorted(diagnostics.reasons)),
        errors=errors if unclean else None,
    )


__all__ = ["MAX_ANSWERS", "MAX_CONTEXT", "Answer", "Answers", "read"]
