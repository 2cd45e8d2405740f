"""In which order flights are cut, and how many in one turn of the event loop.

What is revoked is denied in one turn, however much it is. The rest goes in slices, one slice a
turn, for a thousand flights in one turn would hold up everybody's calls. A slice takes from each
workload in turn: neither do the calls of others wait for all of them, nor does a revocation of one
workload wait for the thousand streams of another. Within a workload what has effects goes first,
and the oldest of it.

First each is severed, which ends it at its upstream and tells its caller. When none is left to be
severed, the tasks that wait for them are woken, each of which comes up through all that it was in
the middle of: that is most of the work, and nobody waits for it. What there is to write down of
them comes last; it costs as much as the cutting and the answers together.

Above: `interruption.py`. It denies nothing and decides nothing.
"""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import structlog

from midflight.services.flights import Flight

log = structlog.get_logger(__name__)

T = TypeVar("T")

SLICE = 32
"""Flights that are severed, or woken, in one turn."""
PATIENCE = 320
"""Turns in a row that only sever: then some are woken, and written down, in each of them as well.
It is ten thousand flights, so that only who has himself cut again and again comes as far."""


class Batch:
    """What one revocation has to cut."""

    __slots__ = ("_done", "_left", "_now", "ended")

    def __init__(self, count: int, now: Callable[[], float]) -> None:
        """`now` says monotonic seconds."""
        self._left = count
        self._now = now
        self._done: asyncio.Future[None] | None = None
        self.ended = now()
        """Monotonic seconds when the last of it was severed."""

    def severed(self) -> None:
        """One more of it is."""
        self._left -= 1
        if not self._left:
            self.ended = self._now()
            if self._done is not None and not self._done.done():
                self._done.set_result(None)

    async def done(self) -> None:
        """Wait until all of it is severed."""
        if self._left:
            if self._done is None:
                self._done = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._done)


class Cutting:
    """What is denied and not yet severed, woken or written down. One event loop."""

    def __init__(self, now: Callable[[], float]) -> None:
        """`now` says monotonic seconds."""
        self._now = now
        self._denied = _InTurn[tuple[Flight, Batch]]()
        self._asleep = _InTurn[Callable[[], object]]()
        self._afterwards: collections.deque[Callable[[], object]] = collections.deque()
        self._in_a_row = 0
        self._is_due = False

    def sever(self, flights: Sequence[Flight]) -> Batch:
        """Sever these, which are denied: the first of them now, all of them in the next turns."""
        batch = Batch(len(flights), self._now)
        for flight in sorted(flights, key=_urgency):
            self._denied.put(flight.workload, (flight, batch))
        if flights:
            self._slice()
        return batch

    def afterwards(self, work: Callable[[], object]) -> None:
        """Do what is left to do about a flight that was cut, in turn, when all are woken."""
        self._afterwards.append(work)
        self._go_on()

    def finish(self) -> None:
        """Do all that is left now: there will be no further turn."""
        while self._denied or self._asleep or self._afterwards:
            if self._denied:
                self._slice()
            else:
                _do(self._asleep.take() if self._asleep else self._afterwards.popleft())

    def _slice(self) -> None:
        for _ in range(SLICE):
            if not self._denied:
                break
            flight, batch = self._denied.take()
            try:
                wake = flight.sever()
                if wake is not None:
                    self._asleep.put(flight.workload, wake)
            except Exception as error:  # noqa: BLE001 -- one that fails must not keep the others
                log.warning("cut_failed", error=type(error).__name__, kind=flight.kind.value)
            _do(flight.tell)
            batch.severed()
        self._go_on()

    def _go_on(self) -> None:
        if (self._denied or self._asleep or self._afterwards) and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._is_due = False
        self._in_a_row = self._in_a_row + 1 if self._denied or self._asleep else 0
        late = self._in_a_row > PATIENCE
        # What waking leads to is written down in later turns.
        written = len(self._afterwards) if late or not self._in_a_row else 0
        woken = len(self._asleep) if late or not self._denied else 0
        self._slice()
        for _ in range(min(SLICE, woken)):
            _do(self._asleep.take())
        for _ in range(min(SLICE, written)):
            _do(self._afterwards.popleft())
        self._go_on()


class _InTurn(Generic[T]):
    """A queue that takes one of each workload in turn."""

    def __init__(self) -> None:
        # In the order in which they are served next.
        self._of: collections.OrderedDict[str, collections.deque[T]] = collections.OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, workload: str, item: T) -> None:
        """One more of a workload, behind its others."""
        queue = self._of.get(workload)
        if queue is None:
            queue = self._of[workload] = collections.deque()
        queue.append(item)
        self._count += 1

    def take(self) -> T:
        """The next; `KeyError` if there is none."""
        workload, queue = self._of.popitem(last=False)
        item = queue.popleft()
        if queue:
            self._of[workload] = queue
        self._count -= 1
        return item


def _do(work: Callable[[], object]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 -- one that fails must not keep the others
        log.warning("cut_left_undone", error=type(error).__name__)


def _urgency(flight: Flight) -> tuple[bool, bool, float]:
    """What has effects before what reads, actions before what only listens, the oldest first."""
    return (not flight.effectful, not flight.record, flight.began)


__all__ = ["PATIENCE", "SLICE", "Batch", "Cutting"]
