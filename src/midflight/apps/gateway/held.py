"""Held calls: a modern client at a legacy upstream that asks in the middle of a call.

The legacy upstream's question keeps its call open. The modern client gets an `input_required`
result with a handle as `requestState`, and its retry with that handle brings the answers and picks
the call up again. The handle is random, bound to the caller and to the request it came from, and
new in every round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from midflight.apps.gateway.endpoint import Answered
from midflight.apps.gateway.sinks import ASK_DEADLINE_S, ModernSink
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.wire import json
from midflight.wire.jsonrpc import Request
from midflight.wire.malformed import INVALID_PARAMS, MalformedMessage
from midflight.wire.mcp import translate
from midflight.wire.mcp.retries import subject_of

MAX_HELD = 10_000


class _Held:
    def __init__(
        self, caller: Caller, subject: str, sink: ModernSink, task: asyncio.Task[Answered]
    ) -> None:
        self.caller = caller
        self.subject = subject
        self.sink = sink
        self.task = task
        self.timer: asyncio.TimerHandle | None = None


class HeldCalls:
    """All held calls of this process, by handle."""

    def __init__(self, token: Callable[[], str]) -> None:
        """`token` makes fresh unguessable handles."""
        self._token = token
        self._held: dict[str, _Held] = {}

    async def begin(
        self, request: Request, caller: Caller, sink: ModernSink, task: asyncio.Task[Answered]
    ) -> Answered:
        """Wait for the answer of a call, or for its first question."""
        held = _Held(caller, subject_of(request), sink, task)
        return await self._wait(held)

    def knows(self, request: Request) -> bool:
        """Whether a request picks up a call that is held here."""
        state = request.params.get("requestState")
        return isinstance(state, str) and state.startswith("mfh_")

    async def resume(self, request: Request, caller: Caller, sink: ModernSink) -> Answered:
        """Bring the answers of a retry to the call it belongs to.

        Raises:
            MalformedMessage: -32602, the handle is unknown, used, or of another caller or request.
        """
        held = self._held.get(request.params["requestState"])
        if (
            held is None
            or held.caller.workload != caller.workload
            or held.caller.run != caller.run
            or held.subject != subject_of(request)
        ):
            raise MalformedMessage(
                "The requestState is not one of this request.",
                hint="Send the request again without it.",
                rpc_code=INVALID_PARAMS,
                request_id=request.id,
            )
        del self._held[request.params["requestState"]]
        if held.timer is not None:
            held.timer.cancel()
        held.sink.writer = sink.writer  # what happens next goes to the retry's response
        answers = json.as_object(request.params.get("inputResponses")) or {}
        held.sink.asked.clear()
        for key, (_, future) in list(held.sink.questions.items()):
            answer = json.as_object(answers.get(key))
            if answer is not None and not future.done():
                future.set_result(answer)
            else:
                held.sink.asked.set()  # not answered: asked again
        return await self._wait(held)

    def close(self) -> None:
        """Give up everything that is held."""
        for held in self._held.values():
            held.task.cancel()
        self._held.clear()

    async def _wait(self, held: _Held) -> Answered:
        asked = asyncio.ensure_future(held.sink.asked.wait())
        try:
            await asyncio.wait({held.task, asked}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            held.task.cancel()  # the client has gone while its call was running
            raise
        finally:
            asked.cancel()
        if held.task.done():
            return held.task.result()
        return self._hold(held)

    def _hold(self, held: _Held) -> Answered:
        if len(self._held) >= MAX_HELD:
            oldest = next(iter(self._held))
            self._held.pop(oldest).task.cancel()
        handle = f"mfh_{self._token()}"
        self._held[handle] = held
        held.timer = asyncio.get_running_loop().call_later(ASK_DEADLINE_S, self._expire, handle)
        questions: JSONObject = {
            key: translate.question_for_modern(question.method, question.params)
            for key, (question, _) in held.sink.questions.items()
        }
        return Answered(result=translate.input_required(questions, handle))

    def _expire(self, handle: str) -> None:
        held = self._held.pop(handle, None)
        if held is not None:
            held.task.cancel()


__all__ = ["MAX_HELD", "HeldCalls"]
