"""Tasks: how a client of 2026-07-28 that polls waits for a person (tasks extension, SEP-2663).

The server decides that a call becomes a task, and here it does where a person is asked. The task is
in the store before its id is given out, so it outlives a restart. The action is done when its
client polls after the yes, with the proof of that poll: an agent that is gone, or whose right has
ended, has nothing done for it. What came of it stays in memory until it is fetched or forgotten;
one that was being done when the process ended is not done again.

An answer to the question about the page means nothing (`waiting.py`). Answers to what the upstream
asks are judged as ever. Above: `endpoint.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, cast

import msgspec

from midflight.apps.gateway.sinks import ASK_DEADLINE_S
from midflight.apps.gateway.waiting import Waits
from midflight.apps.gateway.waiting_call import (
    Call,
    Interim,
    challenge_of,
    foreign,
    is_pending,
    message_of,
)
from midflight.domain.action import Action
from midflight.domain.approval import ApprovalRequest, ApprovalState
from midflight.domain.errors import Conflict, MidflightError, NotFound
from midflight.domain.held import Held, HeldForm, HeldState, waiting_words
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.services.approval_words import asked_of
from midflight.services.guard import Performed, Refused
from midflight.services.handles import TASK
from midflight.services.ports.clock import Clock
from midflight.services.ports.upstream import ClientRequest, Sink
from midflight.wire import json, refusal
from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import INTERNAL_ERROR
from midflight.wire.mcp import translate
from midflight.wire.mcp import waiting as shapes

MAX_JOBS: Final = 100
"""Tasks of one workload that are being done, or whose results wait to be fetched."""
PROMPT_S: Final = 1.0
"""How long the poll that starts an action waits for its result: most are done by then."""

Act: TypeAlias = Callable[[Action, Sink], Awaitable[Performed | Refused]]
Shape: TypeAlias = Callable[[Performed | Refused, str], Interim]


class Poll:
    """One request about a task: who sent it, and how to act for him."""

    __slots__ = ("act", "caller", "shape", "sink")

    def __init__(self, caller: Caller, sink: Sink, act: Act, shape: Shape) -> None:
        """What the endpoint lends.

        Args:
            caller: who asks, as proved by this very request.
            sink: what the client declared with it.
            act: takes an action of this caller through the guard.
            shape: what an outcome at an upstream is, as the answer to the call that became a task.
        """
        self.caller = caller
        self.sink = sink
        self.act = act
        self.shape = shape


class Job:
    """The action of one task, from its yes on. Mutable; one event loop."""

    def __init__(self, workload: str, capabilities: JSONObject, ends_at: int) -> None:
        """`capabilities` are those that the client declared with the poll that began it."""
        self.workload = workload
        self.capabilities = capabilities
        self.ends_at = ends_at
        self.outcome: Interim | None = None
        self.is_cancelled = False
        self.work: asyncio.Task[None] | None = None
        self.questions: dict[str, tuple[ClientRequest, asyncio.Future[JSONObject]]] = {}
        self._asked = 0

    takes_input_required = False

    async def notify(self, method: str, params: JSONObject) -> None:
        """Drop it: tasks have neither progress nor logs (SEP-2663 §Task Status Notifications)."""

    async def ask(self, request: ClientRequest) -> JSONObject:
        """Ask with the next poll, and wait until `tasks/update` brings the answer."""
        self._asked += 1
        key = f"{self._asked}-{request.key}"  # never the same twice in a task
        future: asyncio.Future[JSONObject] = asyncio.get_running_loop().create_future()
        self.questions[key] = (request, future)
        try:
            async with asyncio.timeout(ASK_DEADLINE_S):
                return await future
        except TimeoutError:
            raise Conflict("The client did not answer in time.") from None
        finally:
            self.questions.pop(key, None)

    @property
    def upstream_task(self) -> str | None:
        """The upstream's own task, where that is what came of the action."""
        result = None if self.outcome is None else self.outcome.result
        if result is None or result.get("resultType") != translate.TASK:
            return None
        found = result.get("taskId")
        return found if isinstance(found, str) else None


class WaitingTasks:
    """See the module."""

    def __init__(self, waits: Waits, clock: Clock) -> None:
        """Shares its handles and questions with every other form of waiting."""
        self._waits = waits
        self._clock = clock
        self._jobs: dict[str, Job] = {}

    def knows(self, request: Request) -> bool:
        """Whether a request is about one of these tasks."""
        task = request.params.get("taskId")
        return isinstance(task, str) and task.startswith(TASK)

    async def begin(self, refused: Refused, call: Call) -> Interim:
        """A task for a call that waits for a person."""
        challenge = challenge_of(refused)
        now = int(self._clock.now())
        await self._waits.keep(refused)
        task_id = await self._waits.handle(HeldForm.TASK, refused, call)
        held = await self._waits.handles.task(task_id, call.caller)
        outline = _outline(task_id, held, "working", message_of(challenge), now)
        way = refusal.Way(url=self._waits.pages.url(challenge.approval))
        carried = refusal.as_data(challenge, refused.record, way)
        return Interim(result={**shapes.created(outline), "_meta": carried})

    async def upstream_task(self, request: Request, caller: Caller) -> str | None:
        """The upstream's own task behind one of these, for its requests to go on there.

        Raises:
            MalformedMessage: -32602, there is no such task of this caller.
        """
        held = await self._found(request, caller)
        job = self._jobs.get(held.key)
        return None if job is None else job.upstream_task

    async def answer(self, request: Request, poll: Poll) -> Interim:
        """Answer `tasks/get`, `tasks/update` or `tasks/cancel`.

        Raises:
            MalformedMessage: -32602, there is no such task of this caller.
        """
        held = await self._found(request, poll.caller)
        match request.method:
            case "tasks/cancel":
                await self._cancel(held)
                return Interim(result={})
            case "tasks/update":
                await self._update(held, request)
                return Interim(result={})
            case _:
                return Interim(result=await self._get(held, request, poll))

    def sweep(self) -> None:
        """Forget results that nobody fetched in time."""
        now = self._clock.now()
        for key in [key for key, job in self._jobs.items() if job.ends_at <= now]:
            self._drop(key)

    def close(self) -> None:
        """Stop everything."""
        for key in list(self._jobs):
            self._drop(key)

    # Polling

    async def _get(self, held: Held, request: Request, poll: Poll) -> JSONObject:
        task_id: str = request.params["taskId"]
        if held.key not in self._jobs:
            standing = await self._standing(task_id, held, request, poll)
            if standing is not None:
                return standing
        job = self._jobs.get(held.key)
        if job is not None and job.work is not None and not job.work.done():
            await asyncio.wait({job.work}, timeout=PROMPT_S)
        now = int(self._clock.now())
        job = self._jobs.get(held.key)
        if job is not None:
            return _view(task_id, held, job, now)
        # Another poll had just begun it; or facts became worse, and another question was asked.
        return _outline(task_id, held, "working", "It is looked at again.", now)

    async def _standing(  # noqa: PLR0911 -- a return a state, in order
        self, task_id: str, held: Held, request: Request, poll: Poll
    ) -> JSONObject | None:
        """What a poll says of an action that has not begun; None if it begins it."""
        now = int(self._clock.now())
        if held.state is HeldState.ACTING:
            # Another poll may have been at it when this one read its state.
            held = await self._waits.handles.task(task_id, poll.caller)
        found = await self._waits.approvals.get_approval(held.approval)
        if held.key in self._jobs:
            return None
        if held.state is HeldState.CANCELLED:
            return _outline(task_id, held, "cancelled", "Its client cancelled it.", now)
        if found is None or held.state is HeldState.ACTING:
            return _lost(task_id, held, now)
        over = self._waits.holding.over(found)
        if over is not None:
            return _done(task_id, held, poll.shape(over, found.upstream), now)
        if found.state is ApprovalState.PENDING:
            return self._pending(task_id, held, found, poll.sink, now)
        if not await self._start(held, found, request, poll):
            return _outline(task_id, held, "working", "Approved; it waits for its turn.", now)
        return None

    def _pending(
        self, task_id: str, held: Held, found: ApprovalRequest, sink: Sink, now: int
    ) -> JSONObject:
        words = waiting_words(asked_of(found), expires_at=found.expires_at, now=now)
        opens = json.as_object(sink.capabilities.get("elicitation")) or {}
        if held.shown or "url" not in opens:
            return _outline(task_id, held, "working", f"{words}.", now)
        page = shapes.page(url=self._waits.pages.url(found.id), message=f"{words}.")
        key = f"{shapes.QUESTION}-{held.rounds}"
        return {
            **_outline(task_id, held, "input_required", f"{words}.", now),
            "inputRequests": shapes.questions([(key, shapes.ELICIT, page)]),
        }

    async def _start(
        self, held: Held, found: ApprovalRequest, request: Request, poll: Poll
    ) -> bool:
        """Do the action, once: of several polls one begins it. False if there is no room."""
        if not self._has_room(held.workload):
            return False
        action = await self._waits.rebuilt(found, request)
        if action is None:
            raise foreign(request, "Its arguments were erased. Send the call again.")
        if held.key in self._jobs:
            return True  # another poll found it as this one did, and was first
        acting = msgspec.structs.replace(held, state=HeldState.ACTING)
        # Here first: a poll in between must not take it for one that a crash has left.
        job = self._jobs[held.key] = Job(held.workload, poll.sink.capabilities, held.expires_at)
        is_mine = False
        try:
            is_mine = await self._waits.handles.change(acting, was=HeldState.WAITING)
        finally:
            if not is_mine:
                self._jobs.pop(held.key, None)  # its time may have passed meanwhile
        if not is_mine:
            return True
        self._waits.holding.unpark(held.approval)
        if job.is_cancelled:
            await self._give_up(acting)
            return True
        job.work = asyncio.get_running_loop().create_task(self._work(acting, job, action, poll))
        return True

    async def _work(self, held: Held, job: Job, action: Action, poll: Poll) -> None:
        try:
            outcome = await poll.act(action, job)
        except asyncio.CancelledError:
            job.is_cancelled = True
            raise
        if not isinstance(outcome, Refused) or not is_pending(outcome):
            job.outcome = poll.shape(outcome, action.upstream)
            return
        challenge = challenge_of(outcome)
        try:
            await self._waits.handles.rebind(
                held, approval=challenge.approval, ends_at=challenge.expires_at
            )
        except MidflightError:  # then it ends here, with what was said
            job.outcome = poll.shape(outcome, action.upstream)
            return
        self._jobs.pop(held.key, None)
        self._waits.holding.park(outcome, poll.caller)

    # The other two

    async def _update(self, held: Held, request: Request) -> None:
        given = cast("JSONObject", request.params.get("inputResponses") or {})
        job = self._jobs.get(held.key)
        for key, (_, future) in list(job.questions.items()) if job is not None else ():
            answer = json.as_object(given.get(key))
            if answer is not None and not future.done():
                future.set_result(answer)
        if f"{shapes.QUESTION}-{held.rounds}" in given and not held.shown:
            # Its content is not looked at: the page was shown, and that is all it says.
            shown = msgspec.structs.replace(held, shown=True)
            await self._waits.handles.change(shown, was=HeldState.WAITING)

    async def _cancel(self, held: Held) -> None:
        job = self._jobs.get(held.key)
        if job is not None and job.outcome is not None:
            return  # it has ended
        if job is not None:
            job.is_cancelled = True
            if job.work is not None:
                job.work.cancel()
        await self._give_up(held)
        self._waits.holding.unpark(held.approval)

    async def _give_up(self, held: Held) -> None:
        cancelled = msgspec.structs.replace(held, state=HeldState.CANCELLED)
        await self._waits.handles.change(cancelled, was=held.state)

    # Inside

    async def _found(self, request: Request, caller: Caller) -> Held:
        try:
            return await self._waits.handles.task(request.params["taskId"], caller)
        except NotFound:
            raise foreign(request, "This caller has no such task here.") from None

    def _has_room(self, workload: str) -> bool:
        own = [key for key, job in self._jobs.items() if job.workload == workload]
        if len(own) < MAX_JOBS:
            return True
        ended = next((key for key in own if self._jobs[key].outcome is not None), None)
        if ended is None:
            return False
        self._drop(ended)
        return True

    def _drop(self, key: str) -> None:
        job = self._jobs.pop(key)
        if job.work is not None:
            job.work.cancel()


def _outline(task_id: str, held: Held, status: str, message: str, now: int) -> JSONObject:
    return shapes.task(
        task_id,
        status,
        message=message,
        created_at=held.created_at,
        updated_at=now,
        ends_at=held.expires_at,
    )


def _view(task_id: str, held: Held, job: Job, now: int) -> JSONObject:
    """What a poll says of an action that was begun."""
    if job.upstream_task is not None:  # which the next poll asks about
        return _outline(task_id, held, "working", "The upstream has begun it.", now)
    if job.outcome is not None:
        return _done(task_id, held, job.outcome, now)
    if job.is_cancelled:
        return _outline(task_id, held, "cancelled", "Its client cancelled it.", now)
    asked = [
        (key, request.method, translate.question_for_modern(request.method, request.params))
        for key, (request, _) in job.questions.items()
    ]
    if not asked:
        return _outline(task_id, held, "working", "Approved; it is being done.", now)
    questions: JSONObject = {key: question for key, _, question in asked}
    outline = _outline(task_id, held, "input_required", "The upstream asks something.", now)
    return {**outline, "inputRequests": questions}


def _done(task_id: str, held: Held, outcome: Interim, now: int) -> JSONObject:
    if outcome.error is not None:
        outline = _outline(task_id, held, "failed", str(outcome.error.get("message", "")), now)
        return {**outline, "error": outcome.error}
    return {**_outline(task_id, held, "completed", "", now), "result": outcome.result or {}}


def _lost(task_id: str, held: Held, now: int) -> JSONObject:
    text = (
        "Midflight stopped while this was being done, or keeps its result no longer. "
        "It is not done again; its record says what came of it."
    )
    outline = _outline(task_id, held, "failed", text, now)
    return {**outline, "error": {"code": INTERNAL_ERROR, "message": text}}


__all__ = ["MAX_JOBS", "Act", "Job", "Poll", "Shape", "WaitingTasks"]
