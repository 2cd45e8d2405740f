"""What whoever revokes or lifts is told, and what those are told whom it stops. Pure.

Above: `interruption.py`.
"""

from __future__ import annotations

from midflight.domain.errors import Conflict, Interrupted
from midflight.domain.records import Impact
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.domain.value import Value


class Receipt(Value):
    """What a revocation or a lift did.

    Attributes:
        revocation: the entry itself.
        impact: what had already happened in the scope, and what was cut.
        durable: whether the entry is on disk and every replica has it.
        note: what to know if it is not.
        record: record id of the impact.
    """

    revocation: Revocation
    impact: Impact
    durable: bool
    note: str = ""
    record: str = ""


def check(scope: Scope) -> None:
    """Whether it is a scope. `Conflict` if it is none."""
    if (scope.kind is ScopeKind.EVERYTHING) == bool(scope.id):
        raise Conflict(
            f"A revocation of {scope.kind.value} "
            + ("takes no id." if scope.id else "needs an id."),
            hint="For example: midflight revoke run RUN_ID --reason R",
        )


def refusal(revocation: Revocation) -> Interrupted:
    """What a caller is told whose scope is revoked."""
    return Interrupted(
        f"Revoked ({revocation.scope.kind.value}) by {revocation.author}: {revocation.reason}",
        revocation=revocation.id,
        hint="Nothing of this scope passes until the revocation is lifted or ends.",
    )


def here_only(why: str) -> str:
    """The note of a receipt for what the store has not taken."""
    return (
        f"In force in this process only: {why} The store is told again until it listens; "
        "until then it ends with the process."
    )


__all__ = ["Receipt", "check", "here_only", "refusal"]
