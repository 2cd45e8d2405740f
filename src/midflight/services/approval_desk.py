"""Where people answer: what they are shown, who of them may answer, and what a yes endorses.

Above: the control API and the approval page, which have established who is asking, and which groups
he is in; nothing here takes a name from a body. `approvals.py` uses a yes up.
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
    people,
    stands_for,
    still_missing,
    to_remember,
)
from midflight.domain.approver import MAX_REASON
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
        now: Callable[[ApprovalRequest], float],
        endorser: Endorser | None = None,
        settled: Callable[[str], None] | None = None,
    ) -> None:
        """`groups` maps an approver that is no operator's name to the operators that it is.

        Without an `endorser` a yes holds for the action alone, and vouches for none of its values.
        `settled` is told the id of what is decided, `now` is the time for one (see `Approvals`).
        """
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._clock = clock
        self._endorser = endorser
        self._counterparties = counterparties
        self._groups = groups
        self._settled = settled
        self._now = now
        # One answer at a time, so that what is on record is what the store will take.
        self._turn = asyncio.Lock()

    async def list(
        self, *, run: str | None = None, state: ApprovalState | None = None
    ) -> Sequence[ApprovalStatus]:
        """Requests, newest first, without their arguments."""
        found = await self._store.list_approvals(run=run)
        shown = [_status(request, now=self._now(request)) for request in found]
        return [status for status in shown if state in (None, status.state)]

    async def waiting(
        self, author: Author, *, member_of: Sequence[str] = ()
    ) -> Sequence[ApprovalStatus]:
        """What waits for this very person, the most urgent first, without arguments."""
        found = await self._store.list_approvals(state=ApprovalState.PENDING)
        mine = [
            _status(request, now=self._now(request))
            for request in found
            if request.is_live(self._now(request))
            and self.roles(request, author, member_of=member_of)
            and all(answer.author != author.name for answer in request.answers)
        ]
        return sorted(mine, key=lambda status: (status.expires_at, status.id))

    async def show(
        self, approval_id: str, *, to: Author | None = None, member_of: Sequence[str] = ()
    ) -> ApprovalStatus:
        """One request with its arguments; `to` somebody, only if he is one of its approvers.

        Raises:
            NotFound: there is none, or none that is his to see: others learn nothing of it.
        """
        request = await self._get(approval_id)
        if to is not None and not self.roles(request, to, member_of=member_of):
            raise _missing(approval_id)
        return _status(
            request,
            now=self._now(request),
            opened=await self._sealer.open_arguments(request.arguments),
        )

    async def approve(
        self,
        approval_id: str,
        *,
        author: Author,
        remember_s: int = 0,
        member_of: Sequence[str] = (),
        digest: str | None = None,
        reason: str = "",
    ) -> ApprovalStatus:
        """Agree: once for this digest, until it expires; its values are endorsed for the run.

        Args:
            approval_id: which request.
            author: who agrees, as established.
            remember_s: keep its counterparties on the owner's list for this many seconds.
            member_of: groups that the author was found to be in.
            digest: what the author was shown; None where he looked it up by the id alone.
            reason: what he says to it, for the record.

        Raises:
            NotFound: there is no such request.
            Forbidden: the author is none of the approvers, or must not write the owner's list.
            Conflict: it cannot be answered any more, it is not what was shown, or there is nothing
                to agree to or remember.
            Malformed: to be remembered for longer than a year and a day, or a reason too long.
        """
        async with self._turn:
            request = await self._get(approval_id, digest=digest)
            roles = await self._stands_for(request, author, member_of)
            opened = await self._sealer.open_arguments(request.arguments)
            if opened is None and request.state is ApprovalState.PENDING:
                raise Conflict(
                    f"The arguments of {request.id} are erased, so nobody can see what it is.",
                    hint="Refuse it, or let it expire.",
                )
            values = endorsed(opened[0], request.shown.flow) if opened is not None else ()
            self._check_remember(request, values, author, remember_s, member_of)
            answer = self._said(request, author, roles, reason, yes=True, remember_s=remember_s)
            after = await self._give(request, answer, values)
            try:
                if after.state is ApprovalState.APPROVED:
                    await self._endorse(after, values)
            finally:  # it is decided, whatever became of its values
                self._tell(after)
        return _status(after, now=self._now(after), opened=opened)

    async def refuse(
        self,
        approval_id: str,
        *,
        author: Author,
        member_of: Sequence[str] = (),
        digest: str | None = None,
        reason: str = "",
    ) -> ApprovalStatus:
        """Refuse: this very action is not asked about again in this run. Raises as `approve`."""
        async with self._turn:
            request = await self._get(approval_id, digest=digest)
            roles = await self._stands_for(request, author, member_of)
            answer = self._said(request, author, roles, reason, yes=False)
            after = await self._give(request, answer, ())
            self._tell(after)
        return _status(
            after, now=self._now(after), opened=await self._sealer.open_arguments(after.arguments)
        )

    def check_owner(self, author: Author, owner: str, *, member_of: Sequence[str] = ()) -> None:
        """Raise `Forbidden` unless the author answers for this owner."""
        if not stands_for(
            author.name, (OWNER,), owner=owner, groups=self._groups, member_of=member_of
        ):
            raise Forbidden(
                f"{author.name} does not answer for the owner {owner}.",
                hint=_groups_hint(owner),
            )

    def roles(
        self, request: ApprovalRequest, author: Author, *, member_of: Sequence[str] = ()
    ) -> tuple[str, ...]:
        """The approvers of a request that somebody may answer for."""
        return stands_for(
            author.name,
            request.approvers,
            owner=request.owner,
            groups=self._groups,
            member_of=member_of,
        )

    # Inside

    async def _get(self, approval_id: str, *, digest: str | None = None) -> ApprovalRequest:
        request = await self._store.get_approval(approval_id)
        if request is None:
            raise _missing(approval_id)
        if digest is not None and digest != request.digest:
            raise Conflict(
                f"What was shown is not what {request.id} asks about.", hint="Look at it again."
            )
        return request

    async def _stands_for(
        self, request: ApprovalRequest, author: Author, member_of: Sequence[str]
    ) -> tuple[str, ...]:
        """The same by every way: what an account says against somebody counts wherever he is."""
        roles = self.roles(request, author, member_of=member_of)
        account = await self._store.get_approver(author.name)
        if account is not None:
            if account.disabled:
                raise Forbidden(f"The account of {author.name} is disabled, so he answers nothing.")
            # Its groups take away here (`!owner`); they give only where he has signed in to it.
            known = self.roles(request, author, member_of=(*member_of, *account.groups))
            roles = tuple(role for role in roles if role in known)
        if roles:
            return roles
        wanted = [request.owner if name == OWNER else name for name in people(request.approvers)]
        raise Forbidden(
            f"{author.name} is none of the approvers of {request.id}: {', '.join(wanted)}.",
            hint=_groups_hint(wanted[0]),
        )

    def _said(
        self,
        request: ApprovalRequest,
        author: Author,
        roles: tuple[str, ...],
        reason: str,
        *,
        yes: bool,
        remember_s: int = 0,
    ) -> Answer:
        if len(reason) > MAX_REASON:
            raise Malformed(f"A reason is at most {MAX_REASON} characters.")
        return Answer(
            author=author.name,
            proof=author.proof,
            at=int(self._now(request)),
            yes=yes,
            stands_for=roles,
            remember_s=remember_s,
            reason=reason,
        )

    def _check_remember(
        self,
        request: ApprovalRequest,
        values: Sequence[Endorsed],
        author: Author,
        remember_s: int,
        member_of: Sequence[str],
    ) -> None:
        if remember_s == 0:
            return
        if not 0 < remember_s <= MAX_REMEMBER_S:
            raise Malformed("A counterparty is remembered for 1 second to 366 days.")
        self.check_owner(author, request.owner, member_of=member_of)
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
                reason=answer.reason,
            )
        )
        await ticket.durable()
        return await self._store.answer_approval(request.id, answer)

    def _tell(self, request: ApprovalRequest) -> None:
        if self._settled is not None and request.state is not ApprovalState.PENDING:
            self._settled(request.id)

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


def _missing(approval_id: str) -> NotFound:
    return NotFound(
        f"There is no approval {approval_id}.", hint="midflight approval list shows them."
    )


def _groups_hint(name: str) -> str:
    return (
        f'If that is meant, say so in midflight.toml: [approvals] groups = {{ "{name}" = ["…"] }}'
        " with the names of operators, and start Midflight again."
    )


__all__ = ["ApprovalDesk", "ApprovalStatus"]
