"""Waiting for people: who waits for which approval, in the registry, until it is settled.

A wait costs one entry in the registry and one future: no worker, no thread, no connection to the
store. It ends by itself when the approval is answered, expires or is void, when a revocation cuts
it, or at its deadline; one tick a second serves all of them. What is waited for is decided
elsewhere: an answer here only means "look again". Above: the gateway's forms of waiting.
"""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from collections.abc import Callable
from typing import Final

import msgspec

from midflight.domain.errors import MidflightError
from midflight.domain.revocation import ScopeKind
from midflight.domain.value import Value
from midflight.services.flights import Flight, FlightKind, FlightStatus
from midflight.services.interruption import Interruption
from midflight.services.ports.approval_store import ApprovalStore
from midflight.services.ports.clock import Clock

TICK_S: Final = 1.0
BEAT_S: Final = 10.0
"""How often a client that waits is told so: proxies close what is silent for a minute."""
LOOKS: Final = 10
"""Approvals that are looked up in one tick, in turn: another process may have settled one."""


class Woken(enum.Enum):
    """Why a wait was woken."""

    SETTLED = "settled"
    """Something became of the approval; or it was cut, which the next look raises."""
    BEAT = "beat"
    """Nothing happened; the client may be told so."""
    OVER = "over"
    """Its deadline has passed."""


class WaitLimits(Value):
    """How many waits there may be at a time: of one run, of one workload, of all."""

    of_run: int = 20
    of_workload: int = 200
    of_all: int = 5_000


class Waiter(Value):
    """What waits: for which approval, in whose name, and what cuts it.

    `note` says it in words, to whoever looks into the registry.
    """

    approval: str
    run: str
    workload: str
    upstream: str
    name: str
    scopes: frozenset[tuple[ScopeKind, str]]
    note: str = ""


class WaitingFlight(Flight):
    """An action that waits for a person: nothing of it has left."""

    __slots__ = ("note",)

    def __init__(self, waiter: Waiter, *, began: float) -> None:
        """`began` is monotonic seconds."""
        super().__init__(
            record="",  # what it will be on record by is not decided yet
            run=waiter.run,
            workload=waiter.workload,
            upstream=waiter.upstream,
            name=waiter.name,
            scopes=waiter.scopes,
            began=began,
            kind=FlightKind.APPROVAL,
        )
        self.note = waiter.note

    def status(self, now: float) -> FlightStatus:
        """For people; `now` is monotonic seconds."""
        return msgspec.structs.replace(super().status(now), note=self.note)


class Wait:
    """One wait. Mutable; one event loop; made by `WaitingRoom.enter`, and closed by its owner."""

    __slots__ = (
        "_close",
        "_flight",
        "_future",
        "_woken",
        "beat_at",
        "deadline",
        "is_parked",
        "waiter",
    )

    def __init__(
        self, waiter: Waiter, flight: Flight, *, deadline: float, close: Callable[[Wait], None]
    ) -> None:
        """`deadline` is monotonic seconds."""
        self.waiter = waiter
        self.deadline = deadline
        self.beat_at = 0.0
        self.is_parked = False
        self._flight = flight
        self._close = close
        self._woken: Woken | None = None
        self._future: asyncio.Future[None] | None = None
        flight.on_cut(lambda _: self.wake(Woken.SETTLED))

    async def next(self) -> Woken:
        """Wait for what comes next; what came since the last time counts.

        Raises:
            Interrupted: it was cut.
        """
        while True:
            self._flight.look()
            if self._woken is not None:
                woken, self._woken = self._woken, None
                return woken
            self._future = asyncio.get_running_loop().create_future()
            try:
                await self._future
            finally:
                self._future = None

    def wake(self, why: Woken) -> None:
        """Have `next` return. A beat says less than everything else, and nothing to the parked."""
        if self.is_parked:
            if why is not Woken.BEAT:
                self.close()
            return
        if self._woken is None or self._woken is Woken.BEAT:
            self._woken = why
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def close(self) -> None:
        """It waits no more. Closing it twice does nothing."""
        self._close(self)

    @property
    def flight(self) -> Flight:
        """What stands in the registry for it."""
        return self._flight


class WaitingRoom:
    """All waits of this process."""

    def __init__(
        self,
        *,
        store: ApprovalStore,
        interruption: Interruption,
        clock: Clock,
        limits: WaitLimits | None = None,
    ) -> None:
        """`settled` must be told what becomes of approvals, and `tick` be called every second."""
        self._store = store
        self._interruption = interruption
        self._clock = clock
        self._limits = limits or WaitLimits()
        self._waits: dict[str, set[Wait]] = {}
        self._of_run: Counter[str] = Counter()
        self._of_workload: Counter[str] = Counter()
        self._count = 0
        self._listeners: list[Callable[[str], None]] = []

    @property
    def count(self) -> int:
        """How many wait."""
        return self._count

    def enter(self, waiter: Waiter, *, for_s: float) -> Wait | None:
        """Begin to wait, at most `for_s` seconds. None if too many wait already.

        Raises:
            Interrupted: its scope is revoked.
        """
        limits = self._limits
        if (
            self._count >= limits.of_all
            or self._of_run[waiter.run] >= limits.of_run
            or self._of_workload[waiter.workload] >= limits.of_workload
        ):
            return None
        now = self._clock.monotonic()
        flight = WaitingFlight(waiter, began=now)
        self._interruption.take_off(flight)
        wait = Wait(waiter, flight, deadline=now + for_s, close=self._leave)
        wait.beat_at = now + BEAT_S
        self._waits.setdefault(waiter.approval, set()).add(wait)
        self._count += 1
        self._of_run[waiter.run] += 1
        self._of_workload[waiter.workload] += 1
        return wait

    def park(self, waiter: Waiter, *, for_s: float) -> Wait | None:
        """Enter for a client that is not here and will come back. It closes by itself at the end.

        Raises:
            Interrupted: its scope is revoked.
        """
        wait = self.enter(waiter, for_s=for_s)
        if wait is not None:
            wait.is_parked = True
        return wait

    def on_settled(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with each approval that was settled, after those who wait were woken."""
        self._listeners.append(listener)

    def settled(self, approval_id: str) -> None:
        """Something became of an approval: whoever waits for it looks again."""
        for wait in list(self._waits.get(approval_id, ())):
            wait.wake(Woken.SETTLED)
        for listener in self._listeners:
            listener(approval_id)

    async def tick(self) -> None:
        """Wake whose deadline has passed, whose beat has come, and what others have settled."""
        now = self._clock.monotonic()
        for waits in list(self._waits.values()):
            for wait in list(waits):
                if now >= wait.deadline:
                    wait.wake(Woken.OVER)
                elif now >= wait.beat_at:
                    wait.beat_at = now + BEAT_S
                    wait.wake(Woken.BEAT)
        for approval in list(self._waits)[:LOOKS]:
            if approval not in self._waits:
                continue
            self._waits[approval] = self._waits.pop(approval)  # behind all others
            try:
                found = await self._store.get_approval(approval)
            except MidflightError:
                return  # it says so to everybody else; who waits has a deadline
            if found is None or found.state.value != "pending":
                self.settled(approval)

    async def run(self) -> None:
        """Tick for good."""
        while True:
            await asyncio.sleep(TICK_S)
            await self.tick()

    def _leave(self, wait: Wait) -> None:
        waiter = wait.waiter
        waits = self._waits.get(waiter.approval, set())
        if wait not in waits:
            return
        waits.discard(wait)
        if not waits:
            del self._waits[waiter.approval]
        self._interruption.leave(wait.flight)
        self._count -= 1
        for counter, key in (
            (self._of_run, waiter.run),
            (self._of_workload, waiter.workload),
        ):
            counter[key] -= 1
            if not counter[key]:
                del counter[key]


__all__ = [
    "BEAT_S",
    "LOOKS",
    "TICK_S",
    "Wait",
    "WaitLimits",
    "Waiter",
    "WaitingFlight",
    "WaitingRoom",
    "Woken",
]
