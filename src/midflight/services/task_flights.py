"""Tasks that run at an upstream for a call that it has answered (MCP tasks, both generations).

Such a task outlives its call, and would outlive a revocation: so it is a flight of its own, in the
scopes of the call that made it, until the upstream says that it has ended. When it is cut, or its
run ends, the upstream is told `tasks/cancel` beside the path, once, and what it says to that is
recorded. What an upstream says of a task's lifetime is not relied on.

A task is in the store before its id is given out, so a process that is killed leaves none running:
the next one has it in flight again, or cancels it at once where its run is over or revoked by then.
What a credential was lent for is cancelled without it then, as no store has the credential. Tasks
of child processes are not kept, as those end with their process.

Own words of the guard's: above, `guard.py`. It does not know who made which task for whom
(`gateway/routing.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, MidflightError, NotFound
from midflight.domain.lease import Lease
from midflight.domain.records import Observed
from midflight.domain.run import RunState
from midflight.domain.upstream_task import UpstreamTask
from midflight.domain.value import JSONObject
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.own_request import NoClient, OwnFlight
from midflight.services.ports.clock import Clock
from midflight.services.ports.injection import NOTHING, Attachment
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.store import Store
from midflight.services.ports.upstream import RunSeat, Upstream

MAX_A_RUN = 256
"""Tasks that may run for one run at a time; one more is cancelled as soon as it is known of."""
CANCEL_S = 10.0
"""How long an upstream may take to answer a cancellation, before that is what is recorded."""
MAX_ID = 4096
"""Characters of a task's id; a longer one could not be asked for."""

_OVER = frozenset({"completed", "failed", "cancelled"})


class _Running:
    __slots__ = ("attachment", "flight", "keeping", "kept", "seat")

    def __init__(
        self, kept: UpstreamTask, flight: Flight, *, seat: RunSeat, attachment: Attachment
    ) -> None:
        self.kept = kept
        self.flight = flight
        self.seat = seat
        self.attachment = attachment
        self.keeping: asyncio.Task[None] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return (self.kept.upstream, self.kept.task_id)


class TaskFlights:
    """See the module. One event loop."""

    def __init__(
        self,
        *,
        interruption: Interruption,
        store: Store,
        upstreams: Mapping[str, Upstream],
        recorder: Recorder,
        clock: Clock,
        children: Collection[str] = (),
        cancel_s: float = CANCEL_S,
    ) -> None:
        """Shares its parts with the guard. `children` are upstreams that are processes of ours."""
        self._interruption = interruption
        self._store = store
        self._children = frozenset(children)
        self._upstreams = upstreams
        self._recorder = recorder
        self._clock = clock
        self._cancel_s = cancel_s
        self._running: dict[str, dict[tuple[str, str], _Running]] = {}
        self._cancelling: dict[asyncio.Task[None], str] = {}
        self._beside: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Take up what ran when the last process ended, and leave the store up to date.

        Revocations are in force by then, and upstreams can be spoken to.

        Raises:
            StoreUnavailable: it cannot be known.
        """
        await self._take_up()
        try:
            yield
        finally:
            while self._beside:
                await asyncio.wait(self._beside)

    def heard(
        self,
        call: Flight,
        action: Action,
        result: JSONObject | None,
        *,
        seat: RunSeat,
        attachment: Attachment = NOTHING,
    ) -> asyncio.Task[None] | None:
        """An upstream has answered: a task may have begun, or have ended.

        Returns:
            What keeps a task that has begun, to be waited for before its id is given out; it raises
            `StoreUnavailable` where that cannot be done, and the task is being cancelled.
        """
        if result is None:
            return None
        if action.kind is ActionKind.TASK:
            over = action.method in {"tasks/result", "tasks/cancel"}
            if over or result.get("status") in _OVER:
                self._ended(call.run, action.upstream, action.name)
            return None
        task = result.get("task")
        made = cast("JSONObject", task) if type(task) is dict else result
        task_id = made.get("taskId")
        if (
            type(task_id) is str
            and 0 < len(task_id) <= MAX_ID
            and made.get("status") not in _OVER
            and action.kind is ActionKind.CALL_TOOL
        ):
            return self._began(call, task_id, seat=seat, attachment=attachment)
        return None

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

    async def _take_up(self) -> None:
        for kept in await self._store.list_tasks():
            stored = await self._store.get_run(kept.run)
            why = None
            if (
                stored is None
                or stored.state is not RunState.OPEN
                or stored.run.expires_at <= self._clock.now()
            ):
                why = Interrupted(f"Run {kept.run} is over.", revocation="")
            seat = RunSeat(
                run=kept.run, workload=kept.workload, capabilities={"extensions": kept.extensions}
            )
            self._enter(_Running(kept, self._flight(kept), seat=seat, attachment=NOTHING), why)

    def _began(
        self, call: Flight, task_id: str, *, seat: RunSeat, attachment: Attachment
    ) -> asyncio.Task[None] | None:
        running = self._running.get(call.run, {})
        if (call.upstream, task_id) in running:
            return None  # the upstream says it twice
        kept = UpstreamTask(
            upstream=call.upstream,
            task_id=task_id,
            run=call.run,
            workload=call.workload,
            tool=call.name,
            record=call.record,
            scopes=tuple(sorted(call.scopes)),
            effectful=call.effectful,
            token=call.token,
            extensions=cast("JSONObject", seat.capabilities.get("extensions") or {}),
        )
        each = _Running(kept, self._flight(kept), seat=seat, attachment=attachment)
        if call.upstream not in self._children:
            each.keeping = self._aside(self._keep(each))
        why = call.interrupted
        if len(running) >= MAX_A_RUN:
            text = f"The run has {MAX_A_RUN} tasks that have not ended."
            why = why or Interrupted(text, revocation="", hint="Wait for one of them.")
        self._enter(each, why)
        return each.keeping

    def _flight(self, kept: UpstreamTask) -> Flight:
        return Flight(
            record="",
            run=kept.run,
            workload=kept.workload,
            upstream=kept.upstream,
            name=kept.tool,
            scopes=frozenset(kept.scopes),
            began=self._clock.monotonic(),
            kind=FlightKind.TASK,
            effectful=kept.effectful,
            token=kept.token,
        )

    def _enter(self, each: _Running, why: Interrupted | None) -> None:
        """In flight from now on; cancelled at once if there is a reason why."""
        flight = each.flight
        self._running.setdefault(flight.run, {})[each.key] = each
        try:
            self._interruption.take_off(flight)
        except Interrupted as revoked:
            flight.deny(revoked)
        if why is not None:
            flight.deny(why)
        # At once, if one of these holds.
        flight.on_cut(lambda _: self._cut(each))

    async def _keep(self, each: _Running) -> None:
        try:
            await self._store.put_task(each.kept)
        except MidflightError as error:
            # Nobody could cancel it after a crash, so it does not go on.
            text = "The store has not taken note of the task, so it is cancelled."
            each.flight.cut(Interrupted(text, revocation="", hint=error.hint))
            raise

    async def _drop(self, each: _Running) -> None:
        if each.keeping is not None:
            await asyncio.wait({each.keeping})
        with contextlib.suppress(MidflightError):  # then the next process cancels it once more
            await self._store.drop_task(each.kept)

    def _aside(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
        # Whoever waits for it is told; nobody else has to be.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

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
        if each.kept.upstream not in self._children:
            self._aside(self._drop(each))

    def _cut(self, each: _Running) -> None:
        task = asyncio.get_running_loop().create_task(self._cancel(each))
        self._cancelling[task] = each.flight.run
        task.add_done_callback(lambda done: self._cancelling.pop(done, None))

    async def _cancel(self, each: _Running) -> None:
        flight = each.flight
        action = Action(
            kind=ActionKind.TASK,
            upstream=flight.upstream,
            name=each.kept.task_id,
            method="tasks/cancel",
        )
        what, why = "task.cancelled", ""
        try:
            upstream = self._upstreams.get(flight.upstream)
            if upstream is None:
                raise NotFound(f"There is no upstream {flight.upstream} any more.")
            async with asyncio.timeout(self._cancel_s):
                reply = await upstream.call(
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
            "record": each.kept.record,
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
