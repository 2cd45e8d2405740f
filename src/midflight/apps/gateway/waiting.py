"""How a client waits for a person: the form that its protocol and its capabilities allow.

    task     it declared the tasks extension (2026-07-28): a task, see `waiting_tasks.py`
    round    it can open pages (2026-07-28): `input_required` with the approver's page; its retry is
             held for a while, and then asked to come again
    page     it can open pages (2025-11-25): its user is asked to, while the call is held
    hold     every other: the call is held, with progress where the client asked for it

Every wait is bounded. What is not settled by then is answered "pending", with whom it waits for,
until when, where that person answers, and a handle to go on with. Nothing that a client says here
approves anything: an answer to a question about the page means that somebody looks again. Once a
person has said yes the action goes through the guard again, as it would if it came anew.
Above: `endpoint.py`. Below: `holding.py`, `services/handles.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final

from midflight.apps.gateway.approver_pages import ApproverPages
from midflight.apps.gateway.holding import Holding
from midflight.apps.gateway.sessions import Session
from midflight.apps.gateway.waiting_call import (
    Call,
    Interim,
    challenge_of,
    foreign,
    handle_of,
    is_pending,
    message_of,
)
from midflight.domain.action import Action, ActionKind
from midflight.domain.approval import ApprovalRequest, ApprovalState
from midflight.domain.decision import Challenge
from midflight.domain.errors import NotFound
from midflight.domain.held import Held, HeldForm
from midflight.domain.identity import Caller
from midflight.domain.value import Discreet, JSONObject
from midflight.services.guard import Performed, Refused
from midflight.services.handles import Handles
from midflight.services.ports.approval_store import ApprovalStore
from midflight.services.ports.clock import Clock
from midflight.services.sealing import Sealer
from midflight.services.waiting import WaitingRoom
from midflight.wire import refusal
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp import meta, translate
from midflight.wire.mcp import waiting as shapes
from midflight.wire.mcp.retries import subject_of

FORMS: Final = ("task", "round", "page", "hold")
MAX_ROUNDS: Final = 8
"""How often a client is asked to come again; SDKs give up after ten, with an error of their own."""


class Resumed(Discreet):
    """What a handle stands for: its question, and the action as it was judged."""

    held: Held
    request: ApprovalRequest
    action: Action


class Waits:
    """All clients of this process that wait for a person."""

    def __init__(
        self,
        *,
        room: WaitingRoom,
        handles: Handles,
        approvals: ApprovalStore,
        sealer: Sealer,
        clock: Clock,
        public_url: str,
        hold_s: float,
        keep: Callable[[str], Awaitable[None]],
        now: Callable[[str, int], float],
        forms: Collection[str] = FORMS,
    ) -> None:
        """`hold_s` bounds how long one request is held; `forms` are those that are used.

        `keep` makes durable what is known of a run, so that a question is still the same one when
        it is asked again after a crash. `now`: see `Holding`.
        """
        self.handles = handles
        self.approvals = approvals
        self.pages = ApproverPages(public_url, now=now)
        self.holding = Holding(
            room=room, approvals=approvals, pages=self.pages, clock=clock, now=now
        )
        self._sealer = sealer
        self._keep = keep
        self._hold_s = hold_s
        self._forms = frozenset(forms)
        room.on_settled(self.pages.settled)

    @property
    def gives_tasks(self) -> bool:
        """Whether clients that poll tasks are given some."""
        return "task" in self._forms

    def form(self, call: Call) -> HeldForm:
        """How a client waits."""
        if not call.modern or not call.may_wait:
            return HeldForm.CALL
        if call.polls_tasks and call.held is None and self.gives_tasks:
            return HeldForm.TASK
        pages = call.opens_pages and "round" in self._forms
        return HeldForm.ROUND if pages else HeldForm.CALL

    # What a request goes on with

    async def take(self, request: Request, caller: Caller) -> Resumed | None:
        """What the handle of a request stands for; None if it carries none of these.

        Raises:
            MalformedMessage: -32602, the handle is unknown, used, expired, or of another caller or
                request.
        """
        handle = handle_of(request)
        if handle is None:
            return None
        try:
            held = await self.handles.take(handle, caller, subject=subject_of(request))
        except NotFound as error:
            raise foreign(request, error.hint) from None
        found = await self.approvals.get_approval(held.approval)
        action = None if found is None else await self.rebuilt(found, request)
        if found is None or action is None:
            raise foreign(request, "Send the request again without it.")
        self.holding.unpark(held.approval)
        return Resumed(held=held, request=found, action=action)

    async def rebuilt(self, found: ApprovalRequest, request: Request) -> Action | None:
        """The action that a question is about, with the `_meta` of a request that goes on with it.

        It is what was judged, not what is sent now: a retry has other `requestState` and answers.
        None if its arguments were erased.
        """
        opened = await self._sealer.open_arguments(found.arguments)
        if opened is None:
            return None
        carried = request.params.get("_meta")
        return Action(
            kind=ActionKind(found.kind),
            upstream=found.upstream,
            name=found.name,
            method=found.method,
            arguments=opened[0],
            params=opened[1],
            meta={} if carried is None else meta.passed(carried),
        )

    # Waiting

    async def settle(self, refused: Refused, call: Call) -> Performed | Refused | Interim:
        """What to answer a call that waits for a person, now or when it is settled."""
        await self.keep(refused)
        is_round = self.form(call) is HeldForm.ROUND
        if is_round and call.held is None:
            return await self._round(refused, call, is_shown=False, rounds=0)
        outcome = await self.holding.hold(
            refused, call, for_s=self._bound(call), shows_page=self._shows_pages(call)
        )
        if not isinstance(outcome, Refused) or not is_pending(outcome):
            return outcome
        rounds = 1 if call.held is None else call.held.rounds + 1
        if is_round and rounds < MAX_ROUNDS:
            return await self._round(outcome, call, is_shown=True, rounds=rounds)
        return await self._pending(outcome, call)

    async def resume(self, resumed: Resumed, call: Call) -> Performed | Refused | Interim:
        """Go on with what a handle stands for. What has ended is not asked anew."""
        over = self.holding.over(resumed.request)
        if over is not None:
            return over
        outcome = await call.again()
        if isinstance(outcome, Refused) and is_pending(outcome):
            return await self.settle(outcome, call)
        return outcome

    # Inside

    async def _round(self, refused: Refused, call: Call, *, is_shown: bool, rounds: int) -> Interim:
        """`input_required`: with the page once, and then only to come again."""
        challenge = challenge_of(refused)
        state = await self.handle(HeldForm.ROUND, refused, call, rounds=rounds)
        url = self.pages.url(challenge.approval)
        asked: JSONObject = {}
        if not is_shown:
            page = shapes.page(url=url, message=message_of(challenge))
            asked = shapes.questions([(shapes.QUESTION, shapes.ELICIT, page)])
        result = translate.input_required(asked, state)
        result["_meta"] = refusal.as_data(challenge, refused.record, refusal.Way(url=url))
        return Interim(result=result)

    async def _pending(self, refused: Refused, call: Call) -> Interim:
        """The answer to a client that has waited long enough: it may come again by a handle."""
        challenge = challenge_of(refused)
        rounds = 0 if call.held is None else call.held.rounds + 1
        handle = await self.handle(HeldForm.CALL, refused, call, rounds=rounds)
        way = refusal.Way(url=self.pages.url(challenge.approval), handle=handle)
        session = call.session
        if session is not None and self._shows_pages(call):
            await self._tell_later(challenge, session)
            if not call.streams:
                error = shapes.required_error(
                    self.pages.legacy(challenge),
                    message=refusal.as_text(challenge, refused.record, way),
                    data=refusal.as_data(challenge, refused.record, way),
                )
                return Interim(error=error)
        if call.request.method == "tools/call":
            return Interim(result=refusal.as_result(challenge, refused.record, way))
        return Interim(error=refusal.as_error(challenge, refused.record, way))

    async def _tell_later(self, challenge: Challenge, session: Session) -> None:
        self.pages.tell_later(challenge, session)
        # It may have been settled since it was looked at, and is not settled a second time.
        found = await self.approvals.get_approval(challenge.approval)
        if found is None or found.state is not ApprovalState.PENDING:
            self.pages.settled(challenge.approval)

    async def keep(self, refused: Refused) -> None:
        """Have the question be the same one when it is asked again after a crash."""
        await self._keep(refused.run)

    async def handle(self, form: HeldForm, refused: Refused, call: Call, *, rounds: int = 0) -> str:
        """A handle to go on with, which outlives the process from now on."""
        challenge = challenge_of(refused)
        handle = await self.handles.give(
            form,
            call.caller,
            approval=challenge.approval,
            run=refused.run,
            subject=call.subject,
            ends_at=challenge.expires_at,
            rounds=rounds,
        )
        self.holding.park(refused, call.caller)
        return handle

    def _bound(self, call: Call) -> float:
        """How long the call is held."""
        if not call.may_wait or "hold" not in self._forms:
            return 0.0
        if self._shows_pages(call) and not call.streams:
            return 0.0  # asked by the error, which has to come at once
        return self._hold_s

    def _shows_pages(self, call: Call) -> bool:
        return not call.modern and call.opens_pages and "page" in self._forms


__all__ = ["FORMS", "MAX_ROUNDS", "Resumed", "Waits"]
