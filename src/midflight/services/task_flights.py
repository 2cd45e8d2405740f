"""Tasks that run at an upstream for a call that it has answered (MCP tasks, both generations).

Such a task outlives its call, and would outlive a revocation: so it is a flight of its own, in the
scopes of the call that made it, until the upstream says that it has ended. When it is cut, or its
run ends, the upstream is told `tasks/cancel` beside the path, once, and what it says to that is
recorded. What an upstream says of a task's lifetime is not relied on.

Own words of the guard's: above, `guard.py`. It does not know who made which task for whom
(`gateway/routing.py`). A process that is killed forgets what ran; SECURITY and docs say so.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import cast

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, MidflightError
from midflight.domain.lease import Lease
from midflight.domain.records import Observed
from midflight.domain.value import JSONObject
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.own_request import NoClient, OwnFlight
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.upstream import RunSeat, Upstream

MAX_A_RUN = 256
"""Tasks that may run for one run at a time; one more is cancelled as soon as it is known of."""
CANCEL_S = 10.0
"""How long an upstream may take to answer a cancellation, before that is what is recorded."""
MAX_ID = 4096
"""Characters of a task's id; a longer one could not be asked for."""

_OVER = frozenset({"completed", "failed", "cancelled"})


class _Running:
    __slots__ = ("attachment", "flight", "record", "seat", "task_id")

    def __init__(
        self, flight: Flight, task_id: str, *, record: str, seat: RunSeat, attachment: Attachment
    ) -> None:
        self.flight = flight
        self.task_id = task_id
        self.record = record
        self.seat = seat
        self.attachment = attachment

    @property
    def key(self) -> tuple[str, str]:
        return (self.flight.upstream, self.task_id)


class TaskFlights:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        interruption: Interruption,
        upstreams: Mapping[str, Upstream],
        recorder: Recorder,
        clock: Clock,
        cancel_s: float = CANCEL_S,
    ) -> None:
        """Shares its parts with the guard."""
        self._interruption = interruption
        self._upstreams = upstreams
        self._recorder = recorder
        self._clock = clock
        self._cancel_s = cancel_s
        self._running: dict[str, dict[tuple[str, str], _Running]] = {}
        self._cancelling: dict[asyncio.Task[None], str] = {}

    def heard(
        self,
        call: Flight,
        action: Action,
        result: JSONObject | None,
        *,
        seat: RunSeat,
        attachment: Attachment = NOTHING,
    ) -> None:
        """An upstream has answered: a task may have begun, or have ended."""
        if result is None:
            return
        if action.kind is ActionKind.TASK:
            over = action.method in {"tasks/result", "tasks/cancel"}
            if over or result.get("status") in _OVER:
                self._ended(call.run, action.upstream, action.name)
            return
        task = result.get("task")
        made = cast("JSONObject", task) if type(task) is dict else result
        task_id = made.get("taskId")
        if (
            type(task_id) is str
            and 0 < len(task_id) <= MAX_ID
            and made.get("status") not in _OVER
            and action.kind is ActionKind.CALL_TOOL
        ):
            self._began(call, task_id, seat=seat, attachment=attachment)

    def lease_gone(self, lease: Lease) -> None:
        """Let go of a credential that may not be used any more, but to cancel what is cut."""
        for running in self._running.values():
            for each in running.values():
                if lease.id in each.attachment.leases and each.flight.interrupted is None:
                    each.attachment = NOTHING

    async def told(self, run: str) -> None:
        """Wait until upstreams have been told to cancel what ran for a run that is over."""
        for each in list(self._running.get(run, {}).values()):
            each.flight.sever()
        mine = [task for task, of in self._cancelling.items() if of == run]
        if mine:
            await asyncio.wait(mine)

    # Inside

    def _began(self, call: Flight, task_id: str, *, seat: RunSeat, attachment: Attachment) -> None:
        flight = Flight(
            record="",
            run=call.run,
            workload=call.workload,
            upstream=call.upstream,
            name=call.name,
            scopes=call.scopes,
            began=self._clock.monotonic(),
            kind=FlightKind.TASK,
            effectful=call.effectful,
            token=call.token,
        )
        each = _Running(flight, task_id, record=call.record, seat=seat, attachment=attachment)
        running = self._running.setdefault(call.run, {})
        if each.key in running:
            return  # the upstream says it twice
        full = len(running) >= MAX_A_RUN
        running[each.key] = each
        try:
            self._interruption.take_off(flight)
        except Interrupted as why:
            flight.deny(why)
        if full:
            text = f"The run has {MAX_A_RUN} tasks that have not ended."
            flight.deny(Interrupted(text, revocation="", hint="Wait for one of them."))
        if call.interrupted is not None:
            flight.deny(call.interrupted)
        # At once, if one of these holds.
        flight.on_cut(lambda _: self._cut(each))

    def _ended(self, run: str, upstream: str, task_id: str) -> None:
        running = self._running.get(run, {})
        each = running.get((upstream, task_id))
        # One that is being cancelled goes when the upstream has said so.
        if each is not None and each.flight.interrupted is None:
            self._forget(each)

    def _forget(self, each: _Running) -> None:
        self._interruption.leave(each.flight)
        running = self._running.get(each.flight.run)
        if running is not None:
            running.pop(each.key, None)
            if not running:
                del self._running[each.flight.run]

    def _cut(self, each: _Running) -> None:
        task = asyncio.get_running_loop().create_task(self._cancel(each))
        self._cancelling[task] = each.flight.run
        task.add_done_callback(lambda done: self._cancelling.pop(done, None))

    async def _cancel(self, each: _Running) -> None:
        flight = each.flight
        action = Action(
            kind=ActionKind.TASK,
            upstream=flight.upstream,
            name=each.task_id,
            method="tasks/cancel",
        )
        what, why = "task.cancelled", ""
        try:
            async with asyncio.timeout(self._cancel_s):
                reply = await self._upstreams[flight.upstream].call(
                    action,
                    seat=each.seat,
                    flight=OwnFlight(),
                    sink=NoClient(each.seat.capabilities),
                    attachment=each.attachment,
                )
            if reply.error is not None:
                what, why = "task.not_cancelled", "The upstream answered with an error."
        except TimeoutError:
            what, why = "task.not_cancelled", f"No answer within {self._cancel_s:g} s."
        except MidflightError as error:
            what, why = "task.not_cancelled", error.message
        finally:
            each.attachment = NOTHING
            self._forget(each)
        interrupted = flight.interrupted
        details: JSONObject = {
            "record": each.record,
            "run": flight.run,
            "tool": flight.name,
            "revocation": "" if interrupted is None else interrupted.revocation,
        }
        if why:
            details["why"] = why
        with contextlib.suppress(MidflightError):
            self._recorder.append(
                Observed(at=self._clock.now(), what=what, subject=flight.upstream, details=details)
            )


__all__ = ["CANCEL_S", "MAX_A_RUN", "TaskFlights"]
