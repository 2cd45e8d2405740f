"""Where people answer: what they are shown, who of them may answer, and what a yes endorses.

Above: the control API, which has established who is asking; nothing here takes a name from a body.
The other side, which uses a yes up, is `approvals.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from midflight.domain.approval import (
    OWNER,
    Answer,
    ApprovalRequest,
    ApprovalState,
    Shown,
    answered,
    stands_for,
    still_missing,
    to_remember,
)
from midflight.domain.counterparty import MAX_REMEMBER_S
from midflight.domain.decision import Reason
from midflight.domain.endorsement import Endorsed, endorsed, remembered
from midflight.domain.errors import Conflict, Forbidden, Malformed, NotFound
from midflight.domain.identity import Author
from midflight.domain.records import ApprovalAnswered
from midflight.domain.run import RunState
from midflight.domain.value import JSONObject, Value
from midflight.services.counterparties import Counterparties
from midflight.services.ports.clock import Clock
from midflight.services.ports.endorser import Endorser
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.sealing import Sealer


class ApprovalStatus(Value):
    """A request as shown to people.

    Attributes:
        arguments, params: as judged, unsealed; None in lists, and where the key was erased.
        facts: what was known when it was asked; a yes holds for these and for better ones.
        missing: approvers who have not agreed yet.
        endorses: the values that a yes endorses for the run.
        others: see `ApprovalRequest`.
    """

    id: str
    state: ApprovalState
    digest: str
    run: str
    workload: str
    owner: str
    kind: str
    method: str
    upstream: str
    name: str
    arguments: JSONObject | None
    params: JSONObject | None
    reasons: tuple[Reason, ...]
    approvers: tuple[str, ...]
    missing: tuple[str, ...]
    facts: Shown
    endorses: tuple[Endorsed, ...]
    answers: tuple[Answer, ...]
    created_at: int
    expires_at: int

    def __repr__(self) -> str:
        return f"ApprovalStatus(id={self.id!r}, state={self.state.value!r})"


class ApprovalDesk:
    """See the module."""

    def __init__(
        self,
        *,
        store: Store,
        sealer: Sealer,
        recorder: Recorder,
        clock: Clock,
        counterparties: Counterparties,
        groups: Mapping[str, Sequence[str]],
        endorser: Endorser | None = None,
        settled: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`groups` maps an approver that is no operator's name to the operators that it is.

        Without an `endorser` a yes holds for the action alone, and vouches for none of its values.
        `settled` is told the id of a request once its answer is in force (`Approvals.settled`).
        """
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._endorser = endorser
        self._counterparties = counterparties
        self._groups = groups
        self._settled = settled
        # One answer at a time, so that what is on record is what the store will take.
        self._turn = asyncio.Lock()

    async def list(
        self, *, run: str | None = None, state: ApprovalState | None = None
    ) -> Sequence[ApprovalStatus]:
        """Requests, newest first, without their arguments."""
        now = self._clock.now()
        found = await self._store.list_approvals(run=run)
        shown = [_status(request, now=now) for request in found]
        return [status for status in shown if state in (None, status.state)]

    async def show(self, approval_id: str) -> ApprovalStatus:
        """One request with its arguments. `NotFound` if there is none."""
        request = await self._get(approval_id)
        return _status(
            request,
            now=self._clock.now(),
            opened=await self._sealer.open_arguments(request.arguments),
        )

    async def approve(
        self, approval_id: str, *, author: Author, remember_s: int = 0
    ) -> ApprovalStatus:
        """Agree: once for this digest, until it expires; its values are endorsed for the run.

        Args:
            approval_id: which request.
            author: who agrees, as established.
            remember_s: keep its counterparties on the owner's list for this many seconds.

        Raises:
            NotFound: there is no such request.
            Forbidden: the author is none of the approvers, or must not write the owner's list.
            Conflict: it cannot be answered any more, or there is nothing to agree to or remember.
            Malformed: to be remembered for longer than a year and a day.
        """
        async with self._turn:
            request = await self._get(approval_id)
            roles = self._stands_for(request, author)
            opened = await self._sealer.open_arguments(request.arguments)
            if opened is None and request.state is ApprovalState.PENDING:
                raise Conflict(
                    f"The arguments of {request.id} are erased, so nobody can see what it is.",
                    hint="Refuse it, or let it expire.",
                )
            values = endorsed(opened[0], request.shown.flow) if opened is not None else ()
            self._check_remember(request, values, author, remember_s)
            answer = self._answer(author, roles, yes=True, remember_s=remember_s)
            after = await self._give(request, answer, values)
            if after.state is ApprovalState.APPROVED:
                await self._endorse(after, values)
        self._settled(approval_id)
        return _status(after, now=self._clock.now(), opened=opened)

    async def refuse(self, approval_id: str, *, author: Author) -> ApprovalStatus:
        """Refuse: this very action is not asked about again in this run. Raises as `approve`."""
        async with self._turn:
            request = await self._get(approval_id)
            roles = self._stands_for(request, author)
            after = await self._give(request, self._answer(author, roles, yes=False), ())
        self._settled(approval_id)
        return _status(
            after, now=self._clock.now(), opened=await self._sealer.open_arguments(after.arguments)
        )

    def check_owner(self, author: Author, owner: str) -> None:
        """Raise `Forbidden` unless the author answers for this owner."""
        if not stands_for(author.name, (OWNER,), owner=owner, groups=self._groups):
            raise Forbidden(
                f"{author.name} does not answer for the owner {owner}.",
                hint=_groups_hint(owner),
            )

    # Inside

    async def _get(self, approval_id: str) -> ApprovalRequest:
        request = await self._store.get_approval(approval_id)
        if request is None:
            raise NotFound(
                f"There is no approval {approval_id}.", hint="midflight approval list shows them."
            )
        return request

    def _stands_for(self, request: ApprovalRequest, author: Author) -> tuple[str, ...]:
        roles = stands_for(author.name, request.approvers, owner=request.owner, groups=self._groups)
        if roles:
            return roles
        wanted = [request.owner if name == OWNER else name for name in request.approvers]
        raise Forbidden(
            f"{author.name} is none of the approvers of {request.id}: {', '.join(wanted)}.",
            hint=_groups_hint(wanted[0]),
        )

    def _answer(
        self, author: Author, roles: tuple[str, ...], *, yes: bool, remember_s: int = 0
    ) -> Answer:
        return Answer(
            author=author.name,
            proof=author.proof,
            at=int(self._clock.now()),
            yes=yes,
            stands_for=roles,
            remember_s=remember_s,
        )

    def _check_remember(
        self,
        request: ApprovalRequest,
        values: Sequence[Endorsed],
        author: Author,
        remember_s: int,
    ) -> None:
        if remember_s == 0:
            return
        if not 0 < remember_s <= MAX_REMEMBER_S:
            raise Malformed("A counterparty is remembered for 1 second to 366 days.")
        self.check_owner(author, request.owner)
        if not remembered(values):
            raise Conflict(
                f"{request.id} has no recipient, account or address to remember.",
                hint="Approve it without --remember.",
            )

    async def _give(
        self, request: ApprovalRequest, answer: Answer, values: Sequence[Endorsed]
    ) -> ApprovalRequest:
        answered(request, answer)  # what cannot be answered leaves no record of an answer
        run = await self._store.get_run(request.run)
        if run is None or run.state is not RunState.OPEN:
            raise Conflict(f"Run {request.run} has ended, so {request.id} cannot be answered.")
        # On record before it counts: a yes in effect has its author in the ledger.
        ticket = self._recorder.append(
            ApprovalAnswered(
                at=self._clock.now(),
                approval=request.id,
                digest=request.digest,
                run=request.run,
                yes=answer.yes,
                author=answer.author,
                proof=answer.proof,
                stands_for=answer.stands_for,
                endorses=tuple(dict.fromkeys(value.path for value in values)),
                remember_s=answer.remember_s,
            )
        )
        await ticket.durable()
        return await self._store.answer_approval(request.id, answer)

    async def _endorse(self, request: ApprovalRequest, values: Sequence[Endorsed]) -> None:
        if values and self._endorser is not None:
            await self._endorser.endorse(
                request.run, list(dict.fromkeys(value.value for value in values))
            )
        asked = to_remember(request)
        if asked is not None:
            await self._counterparties.add(
                request.owner,
                [(value.role, value.value) for value in remembered(values)],
                for_s=asked.remember_s,
                author=Author(name=asked.author, proof=asked.proof),
                approval=request.id,
            )


def _status(
    request: ApprovalRequest, *, now: float, opened: tuple[JSONObject, JSONObject] | None = None
) -> ApprovalStatus:
    over = request.state in (ApprovalState.PENDING, ApprovalState.APPROVED) and not (
        request.is_live(now)
    )
    return ApprovalStatus(
        id=request.id,
        state=ApprovalState.EXPIRED if over else request.state,
        digest=request.digest,
        run=request.run,
        workload=request.workload,
        owner=request.owner,
        kind=request.kind,
        method=request.method,
        upstream=request.upstream,
        name=request.name,
        arguments=None if opened is None else opened[0],
        params=None if opened is None else opened[1],
        reasons=request.reasons,
        approvers=request.approvers,
        missing=still_missing(request.approvers, request.answers),
        facts=request.shown,
        endorses=() if opened is None else endorsed(opened[0], request.shown.flow),
        answers=request.answers,
        created_at=request.created_at,
        expires_at=request.expires_at,
    )


def _groups_hint(name: str) -> str:
    return (
        f'If that is meant, say so in midflight.toml: [approvals] groups = {{ "{name}" = ["…"] }}'
        " with the names of operators, and start Midflight again."
    )


__all__ = ["ApprovalDesk", "ApprovalStatus"]
