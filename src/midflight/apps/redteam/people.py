"""The people of a replay: whoever is asked for an approval answers at the desk, as in production.

They know who wanted a call (the caller decides yes or no); the product is told only their answer.
Below: `services/approval_desk.py`. Above: `replay.py`.
"""

from __future__ import annotations

from midflight.domain.approval import OWNER as ANY_OWNER
from midflight.domain.endorsement import remembered
from midflight.domain.identity import Author
from midflight.services.approval_desk import ApprovalDesk

OWNER = "recorded-owner"
"""Who owns the workload of every recorded run."""

REMEMBER_S = 30 * 86_400
"""How long a counterparty is remembered where that is asked for: longer than any replay."""


async def agree(desk: ApprovalDesk, approval: str, *, remember: bool) -> None:
    """Everybody whose yes is missing gives it.

    Args:
        desk: where to answer.
        approval: id of the request.
        remember: the owner keeps whom the action reaches, if it reaches anybody who can be kept.

    Raises:
        Conflict: it cannot be answered any more.
    """
    status = await desk.show(approval)
    keeps = remember and bool(remembered(status.endorses))
    for approver in status.missing:
        author = _author(approver)
        # Only the owner writes the owner's list.
        remember_s = REMEMBER_S if keeps and author.name == OWNER else 0
        await desk.approve(approval, author=author, remember_s=remember_s)


async def disagree(desk: ApprovalDesk, approval: str) -> None:
    """The first who is asked says no: the very action is not asked about again. As `agree`."""
    status = await desk.show(approval)
    await desk.refuse(approval, author=_author(status.missing[0]))


def _author(approver: str) -> Author:
    return Author(name=OWNER if approver == ANY_OWNER else approver, proof="replay")


__all__ = ["OWNER", "REMEMBER_S", "agree", "disagree"]
