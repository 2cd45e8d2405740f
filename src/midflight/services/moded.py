"""Two sets of policies, and which of them speaks for whom: the variants of a pack.

Everybody is judged by the standard set. A workload that an operator has put into mode `observe` is
judged by the set of observers instead, and what the standard set would have said, had it been
enforced, goes along as `shadow`. Without a set of observers such a workload is denied. Who may
open and delegate runs is never merely observed. The mode is a fact of the registry: nothing that
a caller sends is looked at here. Below: the ports. Above: `guard.py`, `listing.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.domain.action import ActionKind
from midflight.domain.decision import (
    Challenge,
    Decision,
    Deny,
    DenyCode,
    Permit,
    Reason,
    Shadow,
)
from midflight.domain.identity import Mode, Workload
from midflight.domain.obligation import owed
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.services.ports.policy import PolicyEngine

NO_VERSION = "none"

_ABOUT_RUNS = (ActionKind.OPEN_RUN, ActionKind.DELEGATE)


class ModedEngine:
    """A policy engine over two. Total, as they are."""

    def __init__(self, standard: PolicyEngine, observing: PolicyEngine) -> None:
        """`observing` decides for workloads in mode observe."""
        self._standard = standard
        self._observing = observing

    @property
    def version(self) -> str:
        """The version of the standard set."""
        return self._standard.version

    def decide(self, question: Question) -> Decision:
        """Decide by the set that is for the workload's mode. Never raises."""
        if not is_observed(question.workload, question.kind):
            decision = self._standard.decide(question)
            return _about_run(decision) if question.kind in _ABOUT_RUNS else decision
        shadow = self._shadow(question)
        if self._observing.version == NO_VERSION:
            return _no_set(shadow)
        return msgspec.structs.replace(self._observing.decide(question), shadow=shadow)

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
        """What could be permitted by the set that is for the workload's mode. Never raises."""
        engine = self._observing if is_observed(workload, kind) else self._standard
        return engine.visible(targets, workload=workload, run=run, source=source, at=at, kind=kind)

    def register(self, targets: Sequence[Target]) -> None:
        """Tell both all targets that exist."""
        self._standard.register(targets)
        self._observing.register(targets)

    def _shadow(self, question: Question) -> Shadow:
        enforced = msgspec.structs.replace(question.workload, mode=Mode.ENFORCE)
        said = self._standard.decide(msgspec.structs.replace(question, workload=enforced))
        return Shadow(version=said.version, decided=_name(said), reasons=said.reasons)


def is_observed(workload: Workload, kind: ActionKind) -> bool:
    """Whether the set of observers decides."""
    return workload.mode is Mode.OBSERVE and kind not in _ABOUT_RUNS


def _about_run(decision: Decision) -> Decision:
    """A decision about a run: no result comes of it, and nobody counts them, so limits refuse."""
    if not isinstance(decision, Permit):
        return decision
    asked = owed(decision.obligations)
    wanting = sorted(asked.unkept) + [f'limit("{rate}")' for rate in sorted(asked.rates)]
    if not wanting:
        return decision
    text = f"It is permitted under what is not kept for runs: {', '.join(wanting)}."
    help_text = "Permit open_run and delegate by policies without these annotations."
    reason = Reason(policy="midflight:obligation", text=text, help=help_text)
    return Deny(
        version=decision.version, code=DenyCode.POLICY_ERROR, reasons=(reason,), help=help_text
    )


def _name(decision: Decision) -> str:
    match decision:
        case Permit():
            return "permit"
        case Challenge():
            return "challenge"
        case Deny():
            return "deny"


def _no_set(shadow: Shadow) -> Deny:
    text = "The workload is in mode observe, and no set of policies for that is installed."
    help_text = (
        "An operator installs the observe pack (`midflight init` writes it), or sets the mode to"
        " `enforce`."
    )
    reason = Reason(policy="midflight:no-observe-policy", text=text, help=help_text)
    return Deny(
        version=NO_VERSION,
        code=DenyCode.NO_POLICY,
        reasons=(reason,),
        help=help_text,
        shadow=shadow,
    )


__all__ = ["ModedEngine", "is_observed"]
