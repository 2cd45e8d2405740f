"""Cells: the value of one monitor for one run, workload, owner or upstream. Pure state.

An event goes through a cell as a hold: `reserve` when it is asked about (it counts at once, so that
events side by side see each other), then `refuse`, or `confirm` when it is permitted (its time in
the window begins) and `land` when it is over. What is reserved or in flight counts however old it
is. Time is handed in, in microseconds, and never steps back (`services/monitors.py` sees to that).

Every step costs O(1), amortised over the events that leave a window. Memory is bounded: beyond
`remember` events in a window the newest are kept as one that has the time of the last, so the value
is too large for at most one window and never too small; a limit fails closed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from typing import Protocol

from midflight.domain.monitor import Monitor, MonitorKind
from midflight.domain.value import Value

NEVER = 1 << 62
"""A time that does not come."""


class Saved(Value):
    """A cell as a snapshot keeps it: what is confirmed, with nothing in flight.

    Attributes:
        total: what does not leave.
        marks: (time, amount) in a window, in order.
        seen: (key, last time) of a `distinct`, in order.
        starts: for each step of a sequence, when the latest first step that led to it was.
    """

    total: int = 0
    marks: tuple[tuple[int, int], ...] = ()
    seen: tuple[tuple[str, int], ...] = ()
    starts: tuple[int | None, ...] = ()


class Hold:
    """One event in one cell, from `reserve` to its end. Belongs to the cell that made it."""

    __slots__ = ("amount", "at", "beyond", "flying", "keys", "late")

    def __init__(self, amount: int, keys: Sequence[str] = (), beyond: Hold | None = None) -> None:
        self.amount = amount
        self.keys = keys
        self.beyond = beyond
        self.at = 0
        self.flying = 0
        self.late = False


class Cell(Protocol):
    """What every kind of cell does."""

    def reserve(self, now: int, amount: int, keys: Sequence[str]) -> Hold:
        """Count an event that is not decided yet."""
        ...

    def refuse(self, hold: Hold) -> None:
        """It was not permitted: as if it had never been."""
        ...

    def confirm(self, hold: Hold, now: int) -> Hold:
        """It is permitted and in flight from now on; use the hold that comes back."""
        ...

    def land(self, hold: Hold) -> None:
        """It is over; it counts for as long as its window lasts."""
        ...

    def read(self, now: int) -> int:
        """The value, with all that is reserved and in flight."""
        ...

    def is_idle(self, now: int) -> bool:
        """Whether nothing would be lost with the cell."""
        ...

    def save(self) -> Saved:
        """What is confirmed."""
        ...

    def load(self, saved: Saved) -> None:
        """Go on from there. Only for a cell that is new."""
        ...


class Tally:
    """A count or a sum, in a window or for ever."""

    __slots__ = ("_due", "_holds", "_marks", "_remember", "_total", "_undecided", "_window")

    def __init__(self, window: int, remember: int) -> None:
        """`window` in microseconds, 0 for none."""
        self._window = window
        self._remember = remember
        self._marks: deque[Hold] = deque()
        self._total = 0
        self._undecided = 0
        self._holds = 0
        self._due = NEVER

    def reserve(self, now: int, amount: int, keys: Sequence[str] = ()) -> Hold:
        """See `Cell`."""
        del now, keys
        self._total += amount
        self._undecided += amount
        self._holds += 1
        return Hold(amount)

    def refuse(self, hold: Hold) -> None:
        """See `Cell`."""
        self._total -= hold.amount
        self._undecided -= hold.amount
        self._holds -= 1

    def confirm(self, hold: Hold, now: int) -> Hold:
        """See `Cell`."""
        self._undecided -= hold.amount
        if not self._window:
            return hold
        if now >= self._due:
            self._evict(now)
        marks = self._marks
        if len(marks) >= self._remember:
            kept = marks[-1]
            kept.amount += hold.amount
        else:
            kept = hold
            marks.append(hold)
        kept.at = now
        kept.flying += 1
        self._due = marks[0].at + self._window
        return kept

    def land(self, hold: Hold) -> None:
        """See `Cell`."""
        self._holds -= 1
        hold.flying -= 1
        if hold.late and not hold.flying:
            self._total -= hold.amount

    def read(self, now: int) -> int:
        """See `Cell`."""
        if now >= self._due:
            self._evict(now)
        return self._total

    def is_idle(self, now: int) -> bool:
        """See `Cell`."""
        return not self._holds and not self.read(now) and not self._marks

    def save(self) -> Saved:
        """See `Cell`."""
        if not self._window:
            return Saved(total=self._total - self._undecided)
        return Saved(marks=tuple((mark.at, mark.amount) for mark in self._marks))

    def load(self, saved: Saved) -> None:
        """See `Cell`."""
        self._total = saved.total + sum(amount for _, amount in saved.marks)
        for at, amount in saved.marks:
            mark = Hold(amount)
            mark.at = at
            self._marks.append(mark)
        if self._marks:
            self._due = self._marks[0].at + self._window

    def _evict(self, now: int) -> None:
        marks, gone = self._marks, now - self._window
        while marks and marks[0].at <= gone:
            mark = marks.popleft()
            if mark.flying:
                mark.late = True  # counts until it lands
            else:
                self._total -= mark.amount
        self._due = marks[0].at + self._window if marks else NEVER


class Distinct:
    """How many different keys. Beyond `remember` keys each event counts as a new one."""

    __slots__ = ("_beyond", "_due", "_extra", "_held", "_remember", "_seen", "_window")

    def __init__(self, window: int, remember: int) -> None:
        """`window` in microseconds, 0 for none."""
        self._window = window
        self._remember = remember
        # Confirmed keys by their last time, oldest first.
        self._seen: OrderedDict[str, int] = OrderedDict()
        # How many undecided or flying events hold a key, and how many such keys are not in `_seen`.
        self._held: dict[str, int] = {}
        self._extra = 0
        self._beyond = Tally(window, remember)
        self._due = NEVER

    def reserve(self, now: int, amount: int, keys: Sequence[str]) -> Hold:
        """See `Cell`. `amount` is how many values there are beyond those in `keys`."""
        if now >= self._due:
            self._evict(now)
        mine: list[str] = []
        for key in dict.fromkeys(keys):
            if key not in self._held and key not in self._seen:
                if len(self._seen) + self._extra >= self._remember:
                    amount += 1
                    continue
                self._extra += 1
            self._held[key] = self._held.get(key, 0) + 1
            mine.append(key)
        return Hold(0, mine, self._beyond.reserve(now, amount) if amount else None)

    def refuse(self, hold: Hold) -> None:
        """See `Cell`."""
        self._let_go(hold.keys)
        if hold.beyond is not None:
            self._beyond.refuse(hold.beyond)

    def confirm(self, hold: Hold, now: int) -> Hold:
        """See `Cell`."""
        for key in hold.keys:
            if key in self._seen:
                self._seen.move_to_end(key)
            else:
                self._extra -= 1
            self._seen[key] = now
        if hold.keys and self._window:
            self._due = self._seen[next(iter(self._seen))] + self._window
        if hold.beyond is not None:
            hold.beyond = self._beyond.confirm(hold.beyond, now)
        return hold

    def land(self, hold: Hold) -> None:
        """See `Cell`."""
        self._let_go(hold.keys)
        if hold.beyond is not None:
            self._beyond.land(hold.beyond)

    def read(self, now: int) -> int:
        """See `Cell`."""
        if now >= self._due:
            self._evict(now)
        return len(self._seen) + self._extra + self._beyond.read(now)

    def is_idle(self, now: int) -> bool:
        """See `Cell`."""
        return not self._held and not self.read(now) and self._beyond.is_idle(now)

    def save(self) -> Saved:
        """See `Cell`."""
        beyond = self._beyond.save()
        return Saved(total=beyond.total, marks=beyond.marks, seen=tuple(self._seen.items()))

    def load(self, saved: Saved) -> None:
        """See `Cell`."""
        self._seen.update(saved.seen)
        self._beyond.load(saved)
        if saved.seen and self._window:
            self._due = saved.seen[0][1] + self._window

    def _let_go(self, keys: Sequence[str]) -> None:
        for key in keys:
            left = self._held[key] - 1
            if left:
                self._held[key] = left
                continue
            del self._held[key]
            if key not in self._seen:
                self._extra -= 1

    def _evict(self, now: int) -> None:
        seen, gone = self._seen, now - self._window
        while seen:
            key = next(iter(seen))
            if seen[key] > gone:
                break
            del seen[key]
            if key in self._held:
                self._extra += 1  # counts until it lands
        self._due = seen[next(iter(seen))] + self._window if seen else NEVER


class Sequence_:  # noqa: N801 -- `Sequence` is taken
    """How many steps were taken in order, the first of them within the window.

    For each step it is enough to know the latest first step that led to it: an earlier one leaves
    the window sooner. A step is taken when it is permitted; its flight does not lengthen it.
    """

    __slots__ = ("_starts", "_undecided", "_window")

    def __init__(self, window: int, steps: int) -> None:
        """`window` in microseconds."""
        self._window = window
        self._starts: list[int | None] = [None] * steps
        self._undecided: list[Hold] = []

    def reserve(self, now: int, amount: int, keys: Sequence[str] = ()) -> Hold:
        """See `Cell`. `amount` holds the bits of the steps."""
        del now, keys
        hold = Hold(amount)
        self._undecided.append(hold)
        return hold

    def refuse(self, hold: Hold) -> None:
        """See `Cell`."""
        self._undecided.remove(hold)

    def confirm(self, hold: Hold, now: int) -> Hold:
        """See `Cell`."""
        self._undecided.remove(hold)
        _take(self._starts, hold.amount, now)
        return hold

    def land(self, hold: Hold) -> None:
        """See `Cell`."""

    def read(self, now: int) -> int:
        """See `Cell`."""
        starts = self._starts
        if self._undecided:
            starts = starts.copy()
            for hold in self._undecided:
                _take(starts, hold.amount, now)
        for taken in range(len(starts), 0, -1):
            start = starts[taken - 1]
            if start is not None and now - start < self._window:
                return taken
        return 0

    def is_idle(self, now: int) -> bool:
        """See `Cell`."""
        return not self._undecided and not self.read(now)

    def save(self) -> Saved:
        """See `Cell`."""
        return Saved(starts=tuple(self._starts))

    def load(self, saved: Saved) -> None:
        """See `Cell`."""
        self._starts = list(saved.starts)


def _take(starts: list[int | None], bits: int, now: int) -> None:
    # From the last step down, so that one event is never two steps of one walk. Starts of a step
    # only grow, so what led to the step before is never older than what led here last time.
    for step in range(len(starts) - 1, 0, -1):
        before = starts[step - 1]
        if bits >> step & 1 and before is not None:
            starts[step] = before
    if bits & 1:
        starts[0] = now


def make_cell(monitor: Monitor) -> Cell:
    """An empty cell for a monitor."""
    match monitor.kind:
        case MonitorKind.COUNT | MonitorKind.RATE | MonitorKind.SUM:
            return Tally(monitor.window_us, monitor.remember)
        case MonitorKind.DISTINCT:
            return Distinct(monitor.window_us, monitor.remember)
        case MonitorKind.SEQUENCE:
            return Sequence_(monitor.window_us, len(monitor.steps))


__all__ = ["NEVER", "Cell", "Distinct", "Hold", "Saved", "Sequence_", "Tally", "make_cell"]
