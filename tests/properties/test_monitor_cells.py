"""Cells against twins that keep a list of everything: equal, and never too small when full."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from midflight.domain.monitor_cells import Cell, Distinct, Hold, Sequence_, Tally

WINDOW = 10
LARGE = 1_000

# (what, which): which of the events that are there, counted round; time goes on in small steps,
# so that edges of windows are met.
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["do", "do", "do", "reserve", "confirm", "refuse", "land", "pass", "pass", "restart"]
        ),
        st.integers(0, 7),
    ),
    min_size=12,
    max_size=60,
)


@dataclass
class Event:
    """One event as the twin remembers it."""

    amount: int
    keys: tuple[str, ...]
    state: str = "reserved"
    at: int = 0
    order: int = 0
    hold: Hold = field(default_factory=lambda: Hold(0))

    def counts(self, now: int, window: int) -> bool:
        if self.state == "refused":
            return False
        return self.state in ("reserved", "flying") or not window or now - self.at < window


class Twin:
    """Everything that ever happened, looked through from the beginning at every reading."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.events: list[Event] = []
        self.confirmed = 0

    def total(self, now: int) -> int:
        return sum(e.amount for e in self.events if e.counts(now, self.window))

    def distinct(self, now: int) -> int:
        return len({k for e in self.events if e.counts(now, self.window) for k in e.keys})

    def walked(self, now: int, length: int) -> int:
        """The longest prefix of steps that some events took in order."""
        done = sorted((e for e in self.events if e.state in ("flying", "landed")), key=_order)
        taken = [(e.at, e.amount) for e in done]
        taken += [(now, e.amount) for e in self.events if e.state == "reserved"]
        best = 0
        for first, (at, bits) in enumerate(taken):
            if not bits & 1 or now - at >= self.window:
                continue
            reached = 1
            for _, later in taken[first + 1 :]:
                if reached < length and later >> reached & 1:
                    reached += 1
            best = max(best, reached)
        return best


def _order(event: Event) -> int:
    return event.order


class Play:
    """The same history in a cell and in its twin."""

    def __init__(self, cell: Cell, window: int, fresh: Any) -> None:
        self.cell = cell
        self.twin = Twin(window)
        self.fresh = fresh
        self.now = 100

    def in_state(self, state: str, which: int) -> Event | None:
        found = [event for event in self.twin.events if event.state == state]
        return found[which % len(found)] if found else None

    def step(self, what: str, which: int) -> None:
        match what:
            case "do":
                self.step("reserve", which)
                event = self.twin.events[-1]
                event.hold = self.cell.confirm(event.hold, self.now)
                self.twin.confirmed += 1
                event.state, event.at, event.order = "flying", self.now, self.twin.confirmed
                if which % 2:
                    self.cell.land(event.hold)
                    event.state = "landed"
            case "reserve":
                event = Event(amount=which, keys=(f"k{which % 4}", f"k{which % 3}"))
                event.hold = self.cell.reserve(self.now, which, event.keys)
                self.twin.events.append(event)
            case "confirm":
                if (event := self.in_state("reserved", which)) is not None:
                    event.hold = self.cell.confirm(event.hold, self.now)
                    self.twin.confirmed += 1
                    event.state, event.at, event.order = "flying", self.now, self.twin.confirmed
            case "refuse":
                if (event := self.in_state("reserved", which)) is not None:
                    self.cell.refuse(event.hold)
                    event.state = "refused"
            case "land":
                if (event := self.in_state("flying", which)) is not None:
                    self.cell.land(event.hold)
                    event.state = "landed"
            case "pass":
                self.now += which
            case "restart":
                # What was reserved was never permitted; what flew is over.
                saved = self.cell.save()
                self.cell = self.fresh()
                self.cell.load(saved)
                for event in self.twin.events:
                    if event.state == "reserved":
                        event.state = "refused"
                    elif event.state == "flying":
                        event.state = "landed"

    def settle(self) -> None:
        """End everything, in the cell alone."""
        for event in self.twin.events:
            if event.state == "reserved":
                self.cell.refuse(event.hold)
            elif event.state == "flying":
                self.cell.land(event.hold)


@given(steps, st.sampled_from([0, WINDOW]))
def test_a_tally_is_what_a_list_of_everything_adds_up_to(history: list[Any], window: int) -> None:
    play = Play(Tally(window, LARGE), window, lambda: Tally(window, LARGE))
    for what, which in history:
        play.step(what, which)
        assert play.cell.read(play.now) == play.twin.total(play.now)


@given(steps, st.integers(1, 3))
def test_a_tally_that_is_full_is_never_too_small_and_true_again_a_window_later(
    history: list[Any], remember: int
) -> None:
    play = Play(Tally(WINDOW, remember), WINDOW, lambda: Tally(WINDOW, remember))
    for what, which in history:
        play.step(what, which)
        assert play.cell.read(play.now) >= play.twin.total(play.now)
        assert len(play.cell._marks) <= remember
    play.settle()
    assert play.cell.read(play.now + WINDOW) == 0
    assert play.cell.is_idle(play.now + WINDOW)


@given(steps, st.sampled_from([0, WINDOW]))
def test_distinct_is_what_a_set_of_everything_holds(history: list[Any], window: int) -> None:
    def fresh() -> Distinct:
        return Distinct(window, LARGE)

    play = Play(_Keys(fresh()), window, lambda: _Keys(fresh()))
    for what, which in history:
        play.step(what, which)
        assert play.cell.read(play.now) == play.twin.distinct(play.now)


@given(steps, st.integers(1, 3))
def test_distinct_that_is_full_is_never_too_small_and_bounded(
    history: list[Any], remember: int
) -> None:
    def fresh() -> _Keys:
        return _Keys(Distinct(WINDOW, remember))

    play = Play(fresh(), WINDOW, fresh)
    for what, which in history:
        play.step(what, which)
        assert play.cell.read(play.now) >= play.twin.distinct(play.now)
        assert len(play.cell.inner._seen) <= remember
        assert len(play.cell.inner._held) <= remember
    play.settle()
    assert play.cell.read(play.now + WINDOW) == 0
    assert play.cell.is_idle(play.now + WINDOW)


@given(steps, st.integers(2, 3))
def test_a_sequence_is_the_longest_walk_through_everything(history: list[Any], length: int) -> None:
    play = Play(Sequence_(WINDOW, length), WINDOW, lambda: Sequence_(WINDOW, length))
    for what, which in history:
        play.step(what, which)
        assert play.cell.read(play.now) == play.twin.walked(play.now, length)


class _Keys:
    """A `Distinct` whose events bring keys alone: the amount would be values beyond them."""

    def __init__(self, inner: Distinct) -> None:
        self.inner = inner

    def reserve(self, now: int, amount: int, keys: Any) -> Hold:
        return self.inner.reserve(now, 0, keys)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)
