"""The policy engine: questions in, decisions out, by Cedar.

Total and fail-closed: whatever fails inside, the answer is a Deny. This file holds what stands
before a question reaches Cedar; how it is asked is in `asking.py`, what it is asked with is made in
`generation.py`. Implements `services/ports/policy.py` and `PolicySwitch` beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from midflight.adapters.policy.arguments import Misfit
from midflight.adapters.policy.asking import Asking
from midflight.adapters.policy.generation import Generation, same_types
from midflight.adapters.policy.parsing import CedarSet
from midflight.adapters.policy.visible import Visibility
from midflight.domain.action import ActionKind
from midflight.domain.decision import Decision, Deny, DenyCode, Reason
from midflight.domain.identity import Workload
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.services.ports.policy_sets import PolicySet

NO_VERSION = "none"


class CedarEngine:
    """Decides by the active set. Until one is activated, everything is denied."""

    def __init__(self, policies: CedarSet | None = None, targets: Sequence[Target] = ()) -> None:
        self._now = Generation(policies, _by_name(targets), 0)

    def __repr__(self) -> str:
        return f"CedarEngine(version={self.version[:16]}, {len(self._now.targets)} tools)"

    @property
    def version(self) -> str:
        """Digest of the active set; `none` when there is none."""
        return self._now.policies.version if self._now.policies else NO_VERSION

    @property
    def targets(self) -> Sequence[Target]:
        """What was registered last."""
        return tuple(self._now.targets.values())

    @property
    def generation(self) -> int:
        """Grows with every registration and activation."""
        return self._now.number

    def activate(self, policies: PolicySet | None) -> None:
        """Decide by this set from the next question on; None for no set."""
        if policies is not None and not isinstance(policies, CedarSet):
            raise TypeError("a Cedar engine takes sets that a Cedar compiler parsed")
        self._now = Generation(policies, self._now.targets, self._now.number + 1)

    def register(self, targets: Sequence[Target]) -> None:
        """Take these tools for all there are. Seats of unchanged tools stay warm."""
        before = self._now
        after = Generation(before.policies, _by_name(targets), before.number + 1)
        after.index, after.items, after.parties = before.index, before.items, before.parties
        after.tools = {
            key: seat
            for key, seat in before.tools.items()
            if key in after.targets and same_types(after.targets[key], seat.target)
        }
        after.held = {
            key: why
            for key, why in before.held.items()
            if key in after.targets and same_types(after.targets[key], before.targets[key])
        }
        self._now = after

    def hold(self, tools: Mapping[tuple[str, str], str]) -> None:
        """Deny calls of these tools until the next call of this."""
        self._now.held = {key: why for key, why in tools.items() if key in self._now.targets}
        self._now.visibility = Visibility()

    def decide(self, question: Question) -> Decision:
        """Decide one action. See the module; never raises."""
        try:
            return self._decide(self._now, question)
        except Misfit as misfit:
            return self._deny(
                DenyCode.INVALID_ARGUMENTS,
                "midflight:arguments",
                str(misfit),
                "Send the arguments as the tool's input schema declares them.",
            )
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            # The error's text may quote arguments, so only its kind is told.
            return self._deny(
                DenyCode.POLICY_ERROR,
                "midflight:policy-engine",
                f"The policy engine failed ({type(error).__name__}).",
                "The owner of this plane has to look at its policies and log.",
            )

    def visible(
        self,
        targets: Sequence[Target],
        *,
        workload: Workload,
        run: RunFacts,
        source: Source,
        at: int,  # noqa: ARG002 -- the time is left open, so answers can be kept
        kind: ActionKind = ActionKind.CALL_TOOL,
    ) -> frozenset[str]:
        """Names of the targets of `kind` that some argument or approval could permit."""
        now = self._now
        if not now.policies:
            return frozenset()
        view = now.visibility.view(workload=workload, run=run, source=source)
        shown = view.shown(kind, targets)
        if shown is not None:
            return shown
        try:
            known = [(target, view.known(kind, target)) for target in targets]
            names = {target.name for target, visible in known if visible}
            unknown = [target for target, visible in known if visible is None]
            names |= view.ask(kind, unknown, now.seats(kind, unknown), workload=workload)
            return view.show(kind, targets, names)
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            return frozenset()

    def _decide(self, now: Generation, question: Question) -> Decision:
        if not now.policies:
            return self._deny(
                DenyCode.NO_POLICY,
                "midflight:no-policy",
                "No policy set is active, so nothing is permitted.",
                "An operator has to put policies into the policy directory.",
            )
        target = question.target
        seat = now.seat(question.kind, target)
        if seat is None:
            return self._deny(
                DenyCode.UNKNOWN_TARGET,
                "midflight:unknown-target",
                "The tool is not registered, or has changed since it was.",
                "List the tools again; an operator may have to pin this one.",
            )
        if seat.is_tool and (target.upstream, target.name) in now.held:
            return self._deny(
                DenyCode.POLICY_ERROR,
                "midflight:held-tool",
                f"A policy does not fit this tool: {now.held[target.upstream, target.name]}",
                "An operator has to correct the policy; `midflight check` names it.",
            )
        return Asking(self.version, seat, now, question).answer()

    def _deny(self, code: DenyCode, policy: str, text: str, help_text: str) -> Deny:
        reason = Reason(policy=policy, text=text, help=help_text)
        return Deny(version=self.version, code=code, reasons=(reason,), help=help_text)


def _by_name(targets: Iterable[Target]) -> dict[tuple[str, str], Target]:
    return {(target.upstream, target.name): target for target in targets}


__all__ = ["NO_VERSION", "CedarEngine"]
