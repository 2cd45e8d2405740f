"""What a question to people says: whom it asks, which facts it shows, and how a no reads. Pure.

Above: `approvals.py`, and the gateway's tasks.
"""

from __future__ import annotations

import msgspec

from midflight.domain.approval import OWNER, ApprovalRequest, Shown, still_missing
from midflight.domain.decision import Challenge, Deny, DenyCode
from midflight.domain.question import Question
from midflight.services.refusing import deny


def asked_of(request: ApprovalRequest) -> tuple[str, ...]:
    """Who has still to agree, by name: the owner as whoever that is."""
    missing = still_missing(request.approvers, request.answers)
    return tuple(request.owner if name == OWNER else name for name in missing)


def refused(request: ApprovalRequest, challenge: Challenge) -> Deny:
    """The refusal of what somebody has refused already."""
    by = ", ".join(answer.author for answer in request.answers if not answer.yes)
    return no(
        challenge,
        f"refused:{request.id}",
        f"{by} refused this very action in this run, and it is not asked about again.",
        "Do something else, or ask who opened the run for a new one.",
    )


def no(challenge: Challenge, rule: str, text: str, help_text: str) -> Deny:
    """A refusal of what policy would have asked about; it names the version that would have."""
    said = deny(DenyCode.APPROVAL_REQUIRED, rule, text, help_text)
    return msgspec.structs.replace(said, version=challenge.version)


def approvers_of(challenge: Challenge) -> tuple[str, ...]:
    """Who must agree; a policy that names nobody asks the owner."""
    return challenge.approvers or (OWNER,)


def shown(question: Question, challenge: Challenge) -> Shown:
    """The facts that an approver sees."""
    return Shown(
        labels=question.run.labels,
        labels_source=question.run.labels_source,
        flow=question.flow,
        pin=question.target.pin,
        traits=question.target.traits,
        version=challenge.version,
        risk=question.run.risk,
        response=question.run.response,
    )


__all__ = ["approvers_of", "asked_of", "no", "refused", "shown"]
