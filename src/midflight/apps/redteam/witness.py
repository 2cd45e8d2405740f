"""A witness beside the engine of policy: what a replay asked it last, and what it said.

It decides nothing and changes no question. Below: the engine. Above: `compose_replay.py`, which
hands it to the services in the engine's place; `replay.py` reads what it saw.
"""

from __future__ import annotations

from collections.abc import Sequence

from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision
from midflight.domain.identity import Workload
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.services.ports.policy import PolicyEngine


class Witness:
    """An engine, and the question that it was asked last: the facts behind a decision."""

    def __init__(self, engine: PolicyEngine) -> None:
        """Everything is asked of `engine`."""
        self._engine = engine
        self.asked: Question | None = None
        self.said: Decision | None = None

    @property
    def version(self) -> str:
        """Of the active set."""
        return self._engine.version

    def decide(self, question: Question) -> Decision:
        """Decide, and remember what was asked."""
        self.asked, self.said = question, self._engine.decide(question)
        return self.said

    def forget(self) -> None:
        """What comes next is another action."""
        self.asked = self.said = None

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
        """See `PolicyEngine`."""
        return self._engine.visible(
            targets, workload=workload, run=run, source=source, at=at, kind=kind
        )

    def register(self, targets: Sequence[Target]) -> None:
        """See `PolicyEngine`."""
        self._engine.register(targets)


__all__ = ["Witness"]
