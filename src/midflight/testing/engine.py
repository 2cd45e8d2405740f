"""A policy engine that answers what a test says. Above: `plane.py`; below: the policy port."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision, Permit, Reason
from midflight.domain.identity import Workload
from midflight.domain.question import Question, RunFacts, Source, Target


class FixedEngine:
    """A policy engine that answers what the test says; `ask` is called with each question."""

    def __init__(self, ask: Callable[[Question], Decision] | None = None) -> None:
        """Without `ask` everything is permitted."""
        self.ask = ask
        self.questions: list[Question] = []
        self._version = "fixed"

    @property
    def version(self) -> str:
        """Always the same."""
        return self._version

    def decide(self, question: Question) -> Decision:
        """What `ask` says."""
        self.questions.append(question)
        if self.ask is not None:
            return self.ask(question)
        return Permit(version=self._version, reasons=(Reason(policy="fixed"),))

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
        """Everything."""
        del workload, run, source, at, kind
        return frozenset(target.name for target in targets)

    def register(self, targets: Sequence[Target]) -> None:
        """Nothing to do."""


__all__ = ["FixedEngine"]
