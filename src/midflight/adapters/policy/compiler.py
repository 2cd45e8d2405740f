"""Reading and checking Cedar sets: what `services/policy.py` asks of this technology.

Implements `PolicyCompiler` of `services/ports/policy_sets.py`. Everything here is CPU-bound and
pure; the long parts release the interpreter, so a thread keeps the event loop free.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.parsing import CedarSet, parse_set
from midflight.adapters.policy.validation import inspect_set
from midflight.domain.question import Target
from midflight.services.ports.policy_sets import PolicyProblem, PolicySet, PolicySource


class CedarCompiler:
    """Parses, validates and makes engines. Has no state."""

    def parse(self, sources: Sequence[PolicySource]) -> CedarSet:
        """Parse a set. `Misconfigured` with every problem of every file."""
        return parse_set(sources)

    def inspect(self, policies: PolicySet, targets: Sequence[Target]) -> Sequence[PolicyProblem]:
        """Validate against all registered tools, and look for dead policies."""
        return inspect_set(_cedar(policies), targets)

    def engine(self, policies: PolicySet, targets: Sequence[Target]) -> CedarEngine:
        """An engine of its own for this set."""
        return CedarEngine(_cedar(policies), targets)


def _cedar(policies: PolicySet) -> CedarSet:
    if not isinstance(policies, CedarSet):
        raise TypeError("this set was not parsed by a Cedar compiler")
    return policies


__all__ = ["CedarCompiler"]
