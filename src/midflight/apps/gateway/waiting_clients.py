"""Clients that wait for a person, as an endpoint sees them: one call for all forms of waiting.

Above: `endpoint.py`. Below: `waiting.py` (calls), `waiting_tasks.py` (tasks).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec
import structlog

from midflight.apps.gateway.waiting import Resumed, Waits
from midflight.apps.gateway.waiting_call import Again, Call, Interim, foreign, is_pending
from midflight.apps.gateway.waiting_tasks import Act, Poll, Shape, WaitingTasks
from midflight.domain.errors import MidflightError
from midflight.domain.held import HeldForm
from midflight.domain.identity import Caller
from midflight.domain.value import JSONObject
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Sink
from midflight.services.waiting import TICK_S, WaitingRoom
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp.capabilities import merged_capabilities
from midflight.wire.mcp.meta import TASKS_EXTENSION

log = structlog.get_logger(__name__)

SWEEP_TICKS: Final = 60


class WaitingClients:
    """See the module."""

    def __init__(self, waits: Waits, tasks: WaitingTasks, room: WaitingRoom) -> None:
        """Shared by all endpoints."""
        self._waits = waits
        self._tasks = tasks
        self._room = room

    def declared(self, capabilities: JSONObject) -> JSONObject:
        """Capabilities of a server for modern clients, with tasks where some are given."""
        if not self._waits.gives_tasks:
            return capabilities
        return merged_capabilities((capabilities, {"extensions": {TASKS_EXTENSION: {}}}))

    # Calls

    async def take(
        self, request: Request, caller: Caller, covers: Callable[[str], bool]
    ) -> Resumed | None:
        """What the handle of a request stands for; None if it has none.

        Raises:
            MalformedMessage: -32602, it is not one of this request, caller or endpoint.
        """
        resumed = await self._waits.take(request, caller)
        if resumed is not None and not covers(resumed.action.upstream):
            raise foreign(request, "Send it to the endpoint that it was given at.")
        return resumed

    async def settle(
        self,
        outcome: Performed | Refused | None,
        request: Request,
        caller: Caller,
        sink: Sink,
        *,
        modern: bool,
        again: Again,
        resumed: Resumed | None,
    ) -> Performed | Refused | Interim:
        """What to answer, now or when a person has agreed; `outcome` is None for a `resumed` call.

        `again` takes the action through the guard once more.
        """
        if resumed is None and (not isinstance(outcome, Refused) or not is_pending(outcome)):
            assert outcome is not None
            return outcome  # nearly always
        held = None if resumed is None else resumed.held
        call = Call(request, caller, sink, modern=modern, again=again, held=held)
        if resumed is not None:
            return await self._waits.resume(resumed, call)
        assert isinstance(outcome, Refused)
        if self._waits.form(call) is HeldForm.TASK:
            return await self._tasks.begin(outcome, call)
        return await self._waits.settle(outcome, call)

    # Tasks

    def knows(self, request: Request) -> bool:
        """Whether a request is about a task of Midflight's own."""
        return self._tasks.knows(request)

    async def beyond(self, request: Request, caller: Caller) -> Request | None:
        """The request about the upstream's own task that one of these has become, or None."""
        task = await self._tasks.upstream_task(request, caller)
        if task is None:
            return None
        return msgspec.structs.replace(request, params={**request.params, "taskId": task})

    async def task(
        self, request: Request, caller: Caller, sink: Sink, *, act: Act, shape: Shape
    ) -> Interim:
        """Answer a request about a task; see `WaitingTasks.answer`."""
        return await self._tasks.answer(request, Poll(caller, sink, act, shape))

    # Time

    async def run(self) -> None:
        """Wake whose time has come, and forget what is over. For good."""
        ticks = 0
        while True:
            await asyncio.sleep(TICK_S)
            await self._room.tick()
            ticks += 1
            if ticks % SWEEP_TICKS == 0:
                await self.sweep()

    async def sweep(self) -> None:
        """Forget handles, results and pages whose time is over."""
        self._tasks.sweep()
        self._waits.pages.sweep()
        try:
            await self._waits.handles.sweep()
        except MidflightError as error:
            log.warning("handles_not_swept", why=error.message)

    def close(self) -> None:
        """Stop what is being done for tasks."""
        self._tasks.close()


__all__ = ["WaitingClients"]
