"""Approvals and counterparties in memory: a part of `memory.py`.

Atomic because no method awaits between looking and changing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from midflight.adapters.store.memory_part import MemoryPart
from midflight.domain.approval import (
    LIVE,
    Answer,
    ApprovalRequest,
    ApprovalState,
    answered,
    may_follow,
)
from midflight.domain.counterparty import Counterparty
from midflight.domain.errors import Conflict, NotFound
from midflight.domain.run import RunState
from midflight.services.ports.store import StoredRun


class MemoryApprovals(MemoryPart):
    """See the module, and `services/ports/approval_store.py` for what the methods promise."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[str, StoredRun] = {}
        self._approvals: dict[str, ApprovalRequest] = {}
        self._counterparties: dict[tuple[str, str], Counterparty] = {}

    async def file_approval(
        self, request: ApprovalRequest, *, max_pending: int, now: int
    ) -> ApprovalRequest | None:
        """Store it, or return what there is for its digest; None if there are too many."""
        self._check_open()
        last = self._last(request.digest)
        if last is not None and (last.is_live(now) or last.state is ApprovalState.REFUSED):
            return last
        pending = [
            known
            for known in self._approvals.values()
            if known.run == request.run
            and known.state is ApprovalState.PENDING
            and known.is_live(now)
        ]
        if len(pending) >= max_pending:
            return None
        if request.id in self._approvals:
            raise Conflict(f"Approval {request.id} exists.")
        self._approvals[request.id] = request
        return request

    async def get_approval(self, approval_id: str) -> ApprovalRequest | None:
        """A request by id."""
        self._check_open()
        return self._approvals.get(approval_id)

    async def last_approval(self, digest: str) -> ApprovalRequest | None:
        """The request of a digest that was filed last."""
        self._check_open()
        return self._last(digest)

    async def list_approvals(
        self, *, run: str | None = None, state: ApprovalState | None = None, limit: int = 1000
    ) -> Sequence[ApprovalRequest]:
        """Requests, newest first, at most `limit`."""
        self._check_open()
        found = [
            request
            for request in reversed(self._approvals.values())
            if run in (None, request.run) and state in (None, request.state)
        ]
        return found[: max(0, limit)]

    async def answer_approval(self, approval_id: str, answer: Answer) -> ApprovalRequest:
        """Apply an answer and return the request as it is then."""
        self._check_open()
        request = self._approvals.get(approval_id)
        if request is None:
            raise NotFound(f"There is no approval {approval_id}.")
        if not self._run_is_open(request.run):
            raise Conflict(f"Run {request.run} has ended, so {approval_id} cannot be answered.")
        after = answered(request, answer)
        self._approvals[approval_id] = after
        return after

    async def use_approval(self, approval_id: str, *, now: int) -> bool:
        """Move an approved, unexpired request of an open run to `used`: True exactly once."""
        self._check_open()
        request = self._approvals.get(approval_id)
        if (
            request is None
            or request.state is not ApprovalState.APPROVED
            or not request.is_live(now)
            or not self._run_is_open(request.run)
        ):
            return False
        self._move(request, ApprovalState.USED)
        return True

    async def end_approval(self, approval_id: str, state: ApprovalState) -> bool:
        """Move a request to `void` or `expired`. False if its state does not allow it."""
        self._check_open()
        request = self._approvals.get(approval_id)
        if request is None or not may_follow(request.state, state):
            return False
        self._move(request, state)
        return True

    async def expire_approvals(self, *, now: int) -> Sequence[ApprovalRequest]:
        """Move every live request whose time is over to `expired`; those moved."""
        self._check_open()
        over = [r for r in self._approvals.values() if r.state in LIVE and not r.is_live(now)]
        return [self._move(request, ApprovalState.EXPIRED) for request in over]

    async def void_approvals(self, run: str) -> Sequence[ApprovalRequest]:
        """Move every live request of a run to `void`; those moved."""
        self._check_open()
        over = [r for r in self._approvals.values() if r.run == run and r.state in LIVE]
        return [self._move(request, ApprovalState.VOID) for request in over]

    async def put_counterparty(self, counterparty: Counterparty) -> None:
        """Add an entry, replacing the one of that owner and key."""
        self._check_open()
        self._counterparties[counterparty.owner, counterparty.key] = counterparty

    async def list_counterparties(self, owner: str | None = None) -> Sequence[Counterparty]:
        """Entries by owner, then oldest first."""
        self._check_open()
        found = [c for c in self._counterparties.values() if owner in (None, c.owner)]
        return sorted(found, key=lambda c: (c.owner, c.added_at, c.key))

    async def delete_counterparty(self, owner: str, key: str) -> bool:
        """Remove an entry. False if there was none."""
        self._check_open()
        return self._counterparties.pop((owner, key), None) is not None

    async def prune_counterparties(self, *, now: int) -> int:
        """Remove the entries that have ended; how many."""
        self._check_open()
        ended = [key for key, c in self._counterparties.items() if c.expires_at <= now]
        for key in ended:
            del self._counterparties[key]
        return len(ended)

    def _last(self, digest: str) -> ApprovalRequest | None:
        found = (r for r in reversed(self._approvals.values()) if r.digest == digest)
        return next(found, None)

    def _run_is_open(self, run: str) -> bool:
        stored = self._runs.get(run)
        return stored is not None and stored.state is RunState.OPEN

    def _move(self, request: ApprovalRequest, state: ApprovalState) -> ApprovalRequest:
        moved = msgspec.structs.replace(request, state=state)
        self._approvals[request.id] = moved
        return moved


__all__ = ["MemoryApprovals"]
