"""What answers questions: a policy engine with one active, versioned set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision
from midflight.domain.identity import Workload
from midflight.domain.question import Question, RunFacts, Source, Target


class PolicyEngine(Protocol):
    """Total and fail-closed: whatever happens inside, the answer is a decision (I4)."""

    @property
    def version(self) -> str:
        """Digest of the canonical form of the active set; `none` when there is none."""
        ...

    def decide(self, question: Question) -> Decision:
        """Decide one action. Synchronous and CPU-bound: about 100 µs. Never raises."""
        ...

    def visible(
        self,
        targets: Sequence[Target],
        *,
        workload: Workload,
        run: RunFacts,
        source: Source,
        at: int,
        kind: ActionKind = ActionKind.CALL_TOOL,
    ) -> frozenset[str]:
        """Names of the targets of one upstream and kind that could be permitted.

        Cached by what it depends on; a target is hidden only when no argument and no approval
        could permit it. Never raises: on failure nothing is visible.
        """
        ...

    def register(self, targets: Sequence[Target]) -> None:
        """Tell the engine all targets that exist (names, traits, schemas).

        Types are generated from them. A target that is not registered is denied.
        """
        ...


__all__ = ["PolicyEngine"]
