"""The part of the system of record that holds approvals and known counterparties.

Every method is atomic in the store, across processes: two that look and change at the same time
cannot both find what only one may have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from midflight.domain.approval import Answer, ApprovalRequest, ApprovalState
from midflight.domain.counterparty import Counterparty


class ApprovalStore(Protocol):
    """See the module. Times are Unix seconds."""

    async def file_approval(
        self, request: ApprovalRequest, *, max_pending: int, now: int
    ) -> ApprovalRequest | None:
        """Store a pending request and return it, unless there is one for its digest already.

        One that can still be used at `now`, or that was refused, is returned instead: a question
        is asked once, and a no stands. None if the run has `max_pending` pending ones by now.
        `Conflict` if the id exists.
        """
        ...

    async def get_approval(self, approval_id: str) -> ApprovalRequest | None:
        """A request by id."""
        ...

    async def last_approval(self, digest: str) -> ApprovalRequest | None:
        """The request of a digest that was filed last, whatever its state."""
        ...

    async def list_approvals(
        self,
        *,
        run: str | None = None,
        state: ApprovalState | None = None,
        limit: int = 1000,
    ) -> Sequence[ApprovalRequest]:
        """Requests, newest first, at most `limit`."""
        ...

    async def answer_approval(self, approval_id: str, answer: Answer) -> ApprovalRequest:
        """Apply `domain.approval.answered` and return the request as it is then.

        `NotFound` if there is none; `Conflict` as there, or if its run is not open.
        """
        ...

    async def use_approval(self, approval_id: str, *, now: int) -> bool:
        """Move an approved, unexpired request of an open run to `used`: True exactly once."""
        ...

    async def end_approval(self, approval_id: str, state: ApprovalState) -> bool:
        """Move a request to `void` or `expired`. False if its state does not allow it."""
        ...

    async def expire_approvals(self, *, now: int) -> Sequence[ApprovalRequest]:
        """Move every live request whose time is over at `now` to `expired`; those moved."""
        ...

    async def void_approvals(self, run: str) -> Sequence[ApprovalRequest]:
        """Move every live request of a run to `void`; those moved."""
        ...

    async def put_counterparty(self, counterparty: Counterparty) -> None:
        """Add an entry, replacing the one of that owner and key."""
        ...

    async def list_counterparties(self, owner: str | None = None) -> Sequence[Counterparty]:
        """Entries by owner, then oldest first; those that have ended are among them."""
        ...

    async def delete_counterparty(self, owner: str, key: str) -> bool:
        """Remove an entry. False if there was none."""
        ...

    async def prune_counterparties(self, *, now: int) -> int:
        """Remove the entries that have ended at `now`; how many."""
        ...


__all__ = ["ApprovalStore"]
