"""One action on its way: what cuts it, what times it, and where the messages about it go.

A passage stands between the caller's task and a link. Whatever ends it early (a cut, a deadline, a
dead child), the upstream is told in that very turn of the loop. The caller's task is woken with the
error, wherever it waits, in the sink's hands too; after a cut when `services/cutting.py` says so.
That costs a cancelled future, no scope and no task group (1,000 in a few milliseconds).
Not here: which protocol generation is spoken (`session`) and how bytes travel (links).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from midflight.adapters.upstream.deadlines import Deadlines
from midflight.domain.action import Action
from midflight.domain.errors import Conflict, Interrupted, UpstreamBroken
from midflight.domain.value import JSONObject, Value
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.upstream import (
    ClientRequest,
    Flight,
    NoticeHandler,
    Reply,
    RunSeat,
    Sink,
)
from midflight.wire.json import as_object
from midflight.wire.jsonrpc import (
    Message,
    Notification,
    Request,
    Response,
    encode_error,
    encode_result,
)
from midflight.wire.malformed import INTERNAL_ERROR, METHOD_NOT_FOUND
from midflight.wire.mcp.meta import PROGRESS_TOKEN, SUBSCRIPTION_ID

Answer = Callable[[bytes], Awaitable[None]]

# What an upstream may ask of a client, and the capability a client declares to be asked.
ASKABLE = {
    "elicitation/create": "elicitation",
    "sampling/createMessage": "sampling",
    "roots/list": "roots",
}
# Notifications that belong to the run, on whichever stream they come.
UNSOLICITED = frozenset(
    {
        "notifications/tools/list_changed",
        "notifications/prompts/list_changed",
        "notifications/resources/list_changed",
        "notifications/resources/updated",
        "notifications/tasks/status",
        "notifications/elicitation/complete",
    }
)
_MAX_QUESTIONS = 16


class CallTimeouts(Value):
    """Seconds.

    Attributes:
        answer: how long a call may be silent; progress starts it again.
        whole: how long a call may take, whatever it reports.
        handshake: how long discovery, initialization and Midflight's other own requests may take.
    """

    answer: float = 300.0
    whole: float = 3600.0
    handshake: float = 30.0


ENDLESS = CallTimeouts(answer=math.inf, whole=math.inf)


class Passage:
    """See the module. Used as a context manager by the task that makes the call, around it all."""

    __slots__ = (
        "_cancelled",
        "_cancelling",
        "_deadlines",
        "_error",
        "_flight",
        "_hang_up",
        "_hard_deadline",
        "_loop",
        "_notices",
        "_over",
        "_peer",
        "_questions",
        "_task",
        "_timeouts",
        "_token",
        "abandon",
        "action",
        "attachment",
        "bytes_in",
        "bytes_out",
        "deadline",
        "listens",
        "request_id",
        "seat",
        "sink",
    )

    def __init__(
        self,
        action: Action,
        *,
        seat: RunSeat,
        flight: Flight,
        sink: Sink,
        notices: NoticeHandler,
        peer: str,
        timeouts: CallTimeouts,
        deadlines: Deadlines,
        attachment: Attachment = NOTHING,
    ) -> None:
        self.action = action
        self.attachment = attachment
        self.seat = seat
        self.sink = sink
        self.request_id = 0
        self.bytes_in = 0
        self.bytes_out = 0
        # Whether unsolicited notifications were asked for here, on this very stream.
        self.listens = action.method == "subscriptions/listen"
        # Tells the upstream that nobody waits any more; set by the link, called at most once.
        self.abandon: Callable[[str], None] | None = None
        self._hang_up: Callable[[], None] | None = None
        self._flight = flight
        self._notices = notices
        self._peer = peer
        self._token = action.meta.get(PROGRESS_TOKEN)
        self._error: Exception | None = None
        self._cancelled = False
        self._over = False
        self._questions: dict[int | str, asyncio.Task[None]] = {}
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._timeouts = timeouts
        self._deadlines = deadlines
        now = self._loop.time()
        self._hard_deadline = now + timeouts.whole
        self.deadline = min(now + timeouts.answer, self._hard_deadline)

    def __enter__(self) -> Self:
        if self.deadline != math.inf:
            self._deadlines.keep(self, self._loop)
        try:
            self._flight.on_cut(self._cut)
            self.check()
        except BaseException:
            self._finish("")
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._finish("" if error is None else "the call was given up")
        if self._error is None:
            return
        if self._cancelled:
            others = self._task.uncancel() > self._cancelling
            if others and isinstance(error, asyncio.CancelledError):
                # The caller's own task is being cancelled as well: that goes first.
                return
        # Without the frames of those that are cut for the same reason; see `Flight.look`.
        raise self._error.with_traceback(None) from None

    # The gate: what the clients ask and tell

    def look(self) -> None:
        """Raise if nothing may leave any more."""
        if self._error is not None:
            raise self._error
        self._flight.look()

    def left(self, nbytes: int) -> None:
        """Count bytes that have left."""
        self.bytes_out += nbytes
        self._flight.left(nbytes)

    def came(self, nbytes: int) -> None:
        """Count bytes that have come back."""
        self.bytes_in += nbytes
        self._flight.came(nbytes)

    def carried(self, close: Callable[[], None]) -> None:
        """Learn what ends the exchange that carries it. The last one counts."""
        self._hang_up = close

    def check(self) -> None:
        """Raise if the passage has been ended from outside."""
        if self._error is not None:
            raise self._error

    # Ends

    def fail(self, error: Exception, reason: str) -> None:
        """End it now: tell the upstream, wake the caller with `error`. Idempotent; synchronous."""
        if self._end(error, reason):
            self._wake()

    def overdue(self) -> None:
        """End it: the upstream was silent, or the call took too long."""
        whole = self.deadline == self._hard_deadline
        seconds = self._timeouts.whole if whole else self._timeouts.answer
        text = f"did not finish within {seconds:g} s" if whole else f"was silent for {seconds:g} s"
        self.fail(self.broken(text), "it took too long")

    def reply(self, response: Response) -> Reply:
        """The final answer as the guard sees it."""
        return Reply(result=response.result, error=response.error, bytes_in=self.bytes_in)

    def broken(self, text: str, *, hint: str = "") -> UpstreamBroken:
        """The error for an answer that is unusable or lost."""
        return UpstreamBroken(
            f"Upstream {self._peer} {text}.",
            hint=hint or "Whether the action took effect is not known.",
        )

    # Messages

    def addressed(self, params: JSONObject, request_id: int) -> JSONObject:
        """`params` with the upstream's own progress token, if the client asked for progress."""
        self.request_id = request_id
        if self._token is None:
            return params
        meta: JSONObject = dict(params.get("_meta", {}))
        meta[PROGRESS_TOKEN] = request_id
        return {**params, "_meta": meta}

    async def take(self, answer: Answer | None, message: Message) -> Response | None:
        """Handle one message about this action; the response if it is the final one.

        `answer` sends an answer to the upstream; None where it may not ask (modern generation).

        Raises:
            UpstreamBroken: a response to something else, on a stream that is this action's own, or
                more questions than are asked at once.
        """
        if type(message) is Response:
            return self.own(message)
        if type(message) is Notification:
            await self.heed(message)
        elif type(message) is Request:
            if answer is None:
                raise self.broken("sent a request where its protocol version allows none")
            self.question(message, answer)
        self.check()  # a task that ends its own call is woken by nobody
        return None

    def own(self, message: Response) -> Response:
        """The response, if it is this action's."""
        if message.id is None or (type(message.id) is int and message.id == self.request_id):
            return message
        raise self.broken("answered with the id of another request")

    async def heed(self, message: Notification) -> None:
        """Pass a notification on, with the client's own token in it."""
        method, params = message.method, message.params
        match method:
            case "notifications/progress":
                token = params.get(PROGRESS_TOKEN)
                if self._token is None or type(token) is not int or token != self.request_id:
                    return
                params = {**params, PROGRESS_TOKEN: self._token}
                self.deadline = min(self._loop.time() + self._timeouts.answer, self._hard_deadline)
            case "notifications/cancelled":
                self._withdraw_question(params.get("requestId"))
                return
            case _ if self.listens:
                params = _without_subscription_id(params)
            case _ if method in UNSOLICITED:
                self._notices(self.seat.run, method, params)
                return
            case _:
                pass
        await self.sink.notify(method, params)

    def question(self, request: Request, answer: Answer) -> None:
        """Ask the client what the upstream wants to know, beside the call."""
        if request.id in self._questions or len(self._questions) >= _MAX_QUESTIONS:
            self.fail(self.broken("asked too much at once"), "too many questions")
            return
        task = self._loop.create_task(self._ask(request, answer))
        self._questions[request.id] = task
        task.add_done_callback(lambda done: self._asked(request.id, done))

    async def gather(self, result: JSONObject) -> JSONObject:
        """Ask the client everything an `input_required` result wants; the retry's extra params.

        Raises:
            UpstreamBroken: what it wants cannot be asked, or the client did not declare it.
            Conflict: the client gave no answer to something other than an elicitation.
        """
        extra: JSONObject = {}
        wanted = as_object(result.get("inputRequests", {}))
        state = result.get("requestState")
        if wanted is None or not (wanted or state) or len(wanted) > _MAX_QUESTIONS:
            raise self.broken("asked for input in a form that cannot be used")
        answers: JSONObject = {}
        for key, item in wanted.items():
            asked = as_object(item) or {}
            method, params = asked.get("method"), as_object(asked.get("params", {}))
            if type(method) is not str or params is None:
                raise self.broken("asked for input in a form that cannot be used")
            if not self._may_ask(method):
                raise self.broken("asked for input that the client does not give")
            answers[key] = await self._answer(ClientRequest(key=key, method=method, params=params))
            self.check()
        if answers:
            extra["inputResponses"] = answers
        if state is not None:
            extra["requestState"] = state
        return extra

    # Inside

    def _cut(self, reason: str) -> Callable[[], None] | None:
        try:
            self._flight.look()
        except Interrupted as known:
            # It knows which revocation it was.
            error: Exception = known
        else:
            error = Interrupted(reason, revocation="")
        ends = self.abandon is not None or self._hang_up is not None
        if not self._end(error, reason):
            return None
        if ends:
            return self._wake
        self._wake()  # nothing but its own task can end it at the upstream
        return None

    def _end(self, error: Exception, reason: str) -> bool:
        """Tell the upstream; whether the caller's task is still to be woken."""
        if self._over or self._error is not None:
            return False
        self._error = error
        is_awake = asyncio.current_task(self._loop) is self._task
        try:
            self._give_up(reason)
        except BaseException:
            if not is_awake:
                self._wake()  # what cannot be ended from beside ends with its task
            raise
        return not is_awake

    def _wake(self) -> None:
        if not self._over and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    def _finish(self, reason: str) -> None:
        if reason:
            self._give_up(reason)
        self._over = True
        self.abandon = self._hang_up = None
        self._deadlines.drop(self)
        for task in self._questions.values():
            task.cancel()

    def _give_up(self, reason: str) -> None:
        abandon, self.abandon = self.abandon, None
        hang_up, self._hang_up = self._hang_up, None
        if abandon is not None:
            abandon(reason)
        if hang_up is not None:
            hang_up()

    def _may_ask(self, method: str) -> bool:
        capability = ASKABLE.get(method)
        if capability is None and method.startswith("tasks/"):
            capability = "tasks"
        return capability is not None and capability in self.sink.capabilities

    async def _ask(self, request: Request, answer: Answer) -> None:
        if request.method == "ping":
            await answer(encode_result(request.id, {}))
            return
        if not self._may_ask(request.method):
            code, text = METHOD_NOT_FOUND, "The client does not answer such requests."
            await answer(encode_error(request.id, code=code, message=text))
            return
        question = ClientRequest(key=str(request.id), method=request.method, params=request.params)
        try:
            result = await self._answer(question)
        except Conflict as refusal:
            await answer(encode_error(request.id, code=INTERNAL_ERROR, message=refusal.message))
        else:
            await answer(encode_result(request.id, result))

    async def _answer(self, question: ClientRequest) -> JSONObject:
        try:
            return await self.sink.ask(question)
        except Conflict:
            if question.method != "elicitation/create":
                raise
            # The protocol's own word for a question that got no answer.
            return {"action": "cancel"}

    def _asked(self, request_id: int | str, task: asyncio.Task[None]) -> None:
        self._questions.pop(request_id, None)
        if not task.cancelled():
            error = task.exception()
            if isinstance(error, Exception):
                self.fail(error, "a question could not be answered")

    def _withdraw_question(self, request_id: object) -> None:
        if isinstance(request_id, int | str):
            task = self._questions.get(request_id)
            if task is not None:
                task.cancel()


def _without_subscription_id(params: JSONObject) -> JSONObject:
    """The id is that of the upstream's request; whoever serves the client puts the client's in."""
    carried = as_object(params.get("_meta"))
    if carried is None or SUBSCRIPTION_ID not in carried:
        return params
    rest = {key: value for key, value in carried.items() if key != SUBSCRIPTION_ID}
    bare = {key: value for key, value in params.items() if key != "_meta"}
    return {**bare, "_meta": rest} if rest else bare


__all__ = ["ENDLESS", "UNSOLICITED", "Answer", "CallTimeouts", "Passage"]
