"""A second look at an action whose intent is on record: what was found in that very turn.

An event goes through the detectors when the intent is appended, and a finding can say something
about the run that the decision did not know. If the standing of the run became worse, policy is
asked again before anything leaves. No wait comes between this and the flight's entry into the
registry, from which on responses cut what they must. Above: `guard.py`. Below: the policy port.
"""

from __future__ import annotations

import msgspec

from midflight.domain.decision import Challenge, Deny, DenyCode, Permit
from midflight.domain.question import Question
from midflight.domain.response import Level
from midflight.services.guard_case import Case
from midflight.services.ports.clock import Clock
from midflight.services.ports.policy import PolicyEngine
from midflight.services.refusing import deny


class SecondLook:
    """See the module. Own state: none."""

    def __init__(self, *, engine: PolicyEngine, clock: Clock) -> None:
        """Shares its parts with the guard."""
        self._engine = engine
        self._clock = clock

    def stopped(self, case: Case, permit: Permit) -> Deny | None:
        """Why an action that was permitted must not leave any more, or None.

        The case then carries the facts of now, for the record of the refusal.
        """
        live, facts, target, workload = case.live, case.run_facts, case.target, case.workload
        if live is None or not live.standings:
            return None
        assert facts is not None
        assert target is not None
        assert workload is not None
        now = live.standing(self._clock.now(), case.caller.acting)
        if not now.is_worse_than(facts.response, facts.risk, facts.findings):
            return None
        case.run_facts = msgspec.structs.replace(
            facts, risk=now.risk, response=now.level.value, findings=now.findings
        )
        decision = self._engine.decide(
            Question(
                kind=case.action.kind,
                workload=workload,
                run=case.run_facts,
                target=target,
                arguments=case.action.arguments,
                source=case.source(),
                at=case.asked_at,
                approved=bool(case.approval),
                flow=case.flow,
            )
        )
        # Whoever said yes to it had not seen what makes everything ask now.
        unseen = bool(case.approval) and _asks(now.level) and not _asks(Level(facts.response))
        match decision:
            case Deny():
                return decision
            case Permit() if decision.obligations == permit.obligations and not unseen:
                case.run_facts = facts
                return None
            case Permit() | Challenge():
                said = deny(
                    DenyCode.APPROVAL_REQUIRED,
                    "found-meanwhile",
                    f"This very action was found unusual ({', '.join(now.findings)}).",
                    "Do it again; it will be judged, and asked about, as it is now.",
                )
                return msgspec.structs.replace(said, version=decision.version)


def _asks(level: Level) -> bool:
    return level.rank >= Level.CHALLENGE.rank


__all__ = ["SecondLook"]
