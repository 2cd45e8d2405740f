"""Approvals on the path of an action: a question is filed, and a yes is used up.

What the guard calls when policy says `Challenge`. A yes is used before the action leaves, once, for
the very digest it was given for, and only while the facts are no worse than those that were shown;
policy decides again, as approved, on the facts of now. People answer at `approval_desk.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec

from midflight.domain.action import Action
from midflight.domain.approval import (
    LIVE,
    ApprovalRequest,
    ApprovalState,
    has_agreed,
    worse,
)
from midflight.domain.decision import Challenge, Decision, Deny, DenyCode, Permit
from midflight.domain.endorsement import endorsed
from midflight.domain.errors import LedgerUnavailable
from midflight.domain.identity import Workload
from midflight.domain.question import Question, Target
from midflight.domain.records import ApprovalAsked, ApprovalEnded
from midflight.domain.response import Level
from midflight.services.approval_words import approvers_of, asked_of, no, refused, shown
from midflight.services.ends import Ends
from midflight.services.flow import Flow
from midflight.services.guard_case import Case
from midflight.services.monitors import Monitors
from midflight.services.ports.clock import Clock
from midflight.services.ports.glass import Glass
from midflight.services.ports.policy import PolicyEngine
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.refusing import deny
from midflight.services.runs import LiveRun
from midflight.services.sealing import Sealer

MAX_PENDING = 20
"""Questions of one run that may wait at a time: more would wear people out, not protect them."""

_OVER = "Its time was over."

Refresh: TypeAlias = Callable[[Case], dict[str, int]]
"""Brings `case.flow` up to date and says what the monitors say now. Waits for nothing."""


def rejudging(flow: Flow, monitors: Monitors) -> Refresh:
    """What brings the facts of flow and of monitors up to date, for `Approvals`."""

    def refresh(case: Case) -> dict[str, int]:
        live, state, target, workload = case.live, case.flow_run, case.target, case.workload
        if live is None or state is None or target is None or workload is None:
            return {}
        case.flow = flow.judge(live, state, target, case.action, owner=workload.owner)
        # The action itself is in there: its reservation is held while this waits.
        return monitors.peek(workload, case.action.upstream, run=live.first().run)

    return refresh


class Approvals:
    """See the module. Own state: none; the store is the record."""

    def __init__(
        self,
        *,
        store: Store,
        sealer: Sealer,
        recorder: Recorder,
        engine: PolicyEngine,
        clock: Clock,
        target: Callable[[Action], Target | None],
        workload: Callable[[str], Workload | None],
        max_pending: int = MAX_PENDING,
        refresh: Refresh | None = None,
    ) -> None:
        """What it needs besides its ports.

        `target` says what an action acts on now (`Catalogue.target`), `workload` how a workload is
        registered now (`Inventory.current`); `max_pending` bounds the pending requests of one run;
        `refresh` brings `case.flow` up to date after a wait, without one of its own.
        """
        self._store = store
        self._sealer = sealer
        self._recorder = recorder
        self._engine = engine
        self._clock = clock
        self._target = target
        self._workload = workload
        self._max_pending = max_pending
        self._refresh = refresh
        self._filed: list[Callable[[ApprovalRequest], None]] = []
        self._settled: list[Callable[[str], None]] = []
        self._glass: Glass | None = None
        self._ends = Ends(clock=clock)

    def now(self, request: ApprovalRequest) -> float:
        """Unix seconds, for this request: a clock that is set back prolongs it by nothing."""
        if request.state not in LIVE:
            return self._clock.now()
        return self.time_of(request.id, request.expires_at)

    def time_of(self, approval_id: str, ends_at: int) -> float:
        """As `now`, for whoever has but the id of a request and its end."""
        return self._ends.now(approval_id, ends_at=ends_at)

    async def start(self, *, alive_at: float) -> None:
        """Take up what is live, and end what is over; `alive_at` is the last time on record."""
        for state in LIVE:
            for request in await self._store.list_approvals(state=state):
                now = self._ends.now(request.id, ends_at=request.expires_at, since=alive_at)
                if now >= request.expires_at:
                    await self._end(request, ApprovalState.EXPIRED, _OVER)
        await self.sweep()

    def break_with(self, glass: Glass) -> None:
        """Ask this whether break-glass is open for a workload."""
        self._glass = glass

    def on_filed(self, listener: Callable[[ApprovalRequest], None]) -> None:
        """Call `listener` with each question that was filed, in the turn it was recorded.

        It waits for nothing and raises nothing: the action that asked is on its way to an answer.
        """
        self._filed.append(listener)

    def on_settled(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with the id of each request that is settled: decided, expired or void.

        After the store has it. A request that was agreed to and then expires, or becomes void, is
        told of again. Of an answer after which others must still agree nobody hears.
        """
        self._settled.append(listener)

    def settled(self, approval_id: str) -> None:
        """Tell who listens. For `ApprovalDesk`, where people decide."""
        for listener in self._settled:
            listener(approval_id)

    # For the guard

    async def settle(self, case: Case, question: Question, challenge: Challenge) -> Decision:
        """What becomes of a challenge: a permit if a yes is used up for it, else a question.

        `case` then carries the facts that were decided on last, and the id of the approval used.
        The caller records the intent in the same turn of the loop.

        Raises:
            StoreUnavailable, LedgerUnavailable: so the answer is no.
        """
        found = await self._store.last_approval(case.digest)
        if found is not None and found.state is ApprovalState.REFUSED:
            return refused(found, challenge)
        broken = self._break(case, question)
        if broken is not None:
            return broken
        if found is None or not found.is_live(self.now(found)):
            if found is not None and found.state in LIVE:  # the store may know but the wall clock
                await self._end(found, ApprovalState.EXPIRED, _OVER)
            return await self._file(case, question, challenge)
        question = self._again(case, question)
        why = self._worse(found, case, question, challenge)
        if why is not None:
            await self._end(found, ApprovalState.VOID, why)
        elif found.state is ApprovalState.PENDING:
            return self._waiting(found, challenge)
        else:
            decision = await self._use(case, question, found)
            if decision is not None:
                return decision
        return await self._file(case, question, challenge, instead=found.id)

    # Beside it

    async def endorsed(self, run_id: str) -> Sequence[str]:
        """Every value that was endorsed in a run, for whoever loads the run again."""
        found: dict[str, None] = {}
        for request in await self._store.list_approvals(run=run_id):
            if not has_agreed(request.approvers, request.answers):
                continue
            opened = await self._sealer.open_arguments(request.arguments)
            if opened is not None:
                values = endorsed(opened[0], request.shown.flow)
                found.update(dict.fromkeys(entry.value for entry in values))
        return tuple(found)

    async def run_ended(self, run_id: str) -> None:
        """What still waits for an answer, or for its use, goes with the run."""
        for request in await self._store.void_approvals(run_id):
            self._ended(request, ApprovalState.VOID, "The run has ended.")

    async def sweep(self) -> None:
        """End what nobody answered or used in time."""
        for request in await self._store.expire_approvals(now=int(self._clock.now())):
            self._ended(request, ApprovalState.EXPIRED, _OVER)
        for approval in self._ends.over():
            request = await self._store.get_approval(approval)
            if request is not None:
                await self._end(request, ApprovalState.EXPIRED, _OVER)
            self._ends.forget(approval)

    # Using a yes

    async def _use(  # noqa: PLR0911 -- one return a reason, in order
        self, case: Case, question: Question, request: ApprovalRequest
    ) -> Decision | None:
        """Use it up and decide again; None if it could not be used, or not for these facts."""
        decision = self._engine.decide(_approved(question))
        if not isinstance(decision, Permit):
            why = "Policy does not permit it any more, even if approved."
            await self._end(request, ApprovalState.VOID, why)
            return decision if isinstance(decision, Deny) else None
        # From here on it is spent, whatever happens next: a crash must not leave it to be used
        # again, and of two that try at the same time one gets it.
        if not await self._store.use_approval(request.id, now=int(self.now(request))):
            return None
        # Others acted while this waited, so everything is looked at once more; there is no wait
        # between here and the record of the intent.
        if not self._is_as_judged(case, question):
            return deny(
                DenyCode.APPROVAL_REQUIRED,
                "changed-meanwhile",
                "What it calls, or the workload, was changed while its approval was being used.",
                "Do it again; it will be asked about as it is now.",
            )
        question = self._again(case, question)
        first = self._engine.decide(question)
        if isinstance(first, Deny):
            return first
        if isinstance(first, Challenge) and self._worse(request, case, question, first):
            return None
        decision = self._engine.decide(_approved(question))
        if not isinstance(decision, Permit):
            return decision if isinstance(decision, Deny) else None
        case.approval = request.id
        case.run_facts, case.asked_at, case.flow = question.run, question.at, question.flow
        return decision

    def _break(self, case: Case, question: Question) -> Decision | None:
        """A permit where break-glass is open and an approval would give one; else None, or a no.

        What people have refused, what policy denies, and a run for which a response asks about
        everything, it does not touch. No wait until the intent is on record, which names it.
        """
        glass, workload = self._glass, question.workload.id
        opening = "" if glass is None else glass.lets_pass(workload)
        if glass is None or not opening or not self._is_as_judged(case, question):
            return None
        question = self._again(case, question)
        if Level(question.run.response).rank >= Level.CHALLENGE.rank:
            # Somebody opened it before he knew what has been found since: that one is asked about.
            return None
        decision = self._engine.decide(question)
        if isinstance(decision, Challenge):
            decision = self._engine.decide(_approved(question))
        if isinstance(decision, Challenge):
            return None
        if isinstance(decision, Permit):
            case.approval = opening
            case.run_facts, case.asked_at, case.flow = question.run, question.at, question.flow
            glass.used(workload)
        return decision

    def _is_as_judged(self, case: Case, question: Question) -> bool:
        """Whether what is called, and who calls, are what they were before the wait."""
        return (
            self._target(case.action) == case.target
            and self._workload(question.workload.id) == question.workload
        )

    def _again(self, case: Case, question: Question) -> Question:
        """The question with the facts of now."""
        now = int(self._clock.now())
        counted = question.run.monitors if self._refresh is None else self._refresh(case)
        through = case.caller.acting
        facts = _run_of(case).facts(now=now, monitors=counted, through=through)
        return msgspec.structs.replace(question, run=facts, at=now, flow=case.flow)

    def _worse(
        self, request: ApprovalRequest, case: Case, question: Question, challenge: Challenge
    ) -> str | None:
        """Why what was shown does not cover what is asked now, or None."""
        if request.run != _run_of(case).run.id or request.digest != case.digest:
            return "It is about another action."
        if request.owner != question.workload.owner:
            return "The workload has another owner since it was shown."
        policies = {reason.policy for reason in challenge.reasons}
        news = sorted(policies - {reason.policy for reason in request.reasons})
        if news:
            return f"More policies ask than were shown: {', '.join(news)}."
        if not set(approvers_of(challenge)) <= set(request.approvers):
            return "Policy asks for other approvers than those that were asked."
        return worse(request.shown, shown(question, challenge))

    # Filing a question

    async def _file(
        self, case: Case, question: Question, challenge: Challenge, *, instead: str = ""
    ) -> Decision:
        now = self._clock.now()
        run = _run_of(case).run
        request = ApprovalRequest(
            id=f"apr_{self._clock.token()}",
            digest=case.digest,
            run=run.id,
            workload=question.workload.id,
            owner=question.workload.owner,
            kind=case.action.kind.value,
            method=case.action.method,
            upstream=case.action.upstream,
            name=case.action.name,
            arguments=case.arguments,
            reasons=challenge.reasons,
            approvers=approvers_of(challenge),
            shown=shown(question, challenge),
            created_at=int(now),
            expires_at=min(int(now) + challenge.expires_s, run.expires_at),
        )
        filed = await self._store.file_approval(
            request, max_pending=self._max_pending, now=int(now)
        )
        if filed is None:
            return no(
                challenge,
                "too-many-approvals",
                f"{self._max_pending} questions of this run wait for an answer already.",
                "Wait until some are answered (`midflight approval list`), then try again.",
            )
        if filed.state is ApprovalState.REFUSED:
            return refused(filed, challenge)
        self.now(filed)
        if filed.id == request.id:
            self._recorder.append(
                ApprovalAsked(
                    at=now,
                    approval=request.id,
                    digest=request.digest,
                    run=request.run,
                    workload=request.workload,
                    owner=request.owner,
                    upstream=request.upstream,
                    name=request.name,
                    policies=tuple(reason.policy for reason in request.reasons),
                    approvers=request.approvers,
                    expires_at=request.expires_at,
                    instead=instead,
                )
            )
            for listener in self._filed:
                listener(request)
        return self._waiting(filed, challenge)

    def _waiting(self, request: ApprovalRequest, challenge: Challenge) -> Challenge:
        """The refusal that names the request, and how long it may still be answered."""
        return msgspec.structs.replace(
            challenge,
            approvers=request.approvers,
            expires_s=max(0, request.expires_at - int(self.now(request))),
            approval=request.id,
            asked=asked_of(request),
            expires_at=request.expires_at,
        )

    async def _end(self, request: ApprovalRequest, state: ApprovalState, why: str) -> None:
        if await self._store.end_approval(request.id, state):
            self._ended(request, state, why)

    def _ended(self, request: ApprovalRequest, state: ApprovalState, why: str) -> None:
        self.settled(request.id)
        try:
            self._recorder.append(
                ApprovalEnded(
                    at=self._clock.now(),
                    approval=request.id,
                    digest=request.digest,
                    run=request.run,
                    state=state.value,
                    reason=why,
                )
            )
        except LedgerUnavailable:
            return  # the ledger counts what it could not take; an end only takes away


def _approved(question: Question) -> Question:
    return msgspec.structs.replace(question, approved=True)


def _run_of(case: Case) -> LiveRun:
    assert case.live is not None
    return case.live


__all__ = ["MAX_PENDING", "Approvals", "rejudging"]
