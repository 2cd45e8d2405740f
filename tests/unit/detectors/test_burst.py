"""Burst: far more than usual, within a minute or within a run."""

from __future__ import annotations

import pytest
from detector_kit import Worker, event, fair, strongest

from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect
from midflight.services.detectors.burst import (
    FAIR_TIMES,
    MEASURES,
    NEW_TIMES,
    WARM_RUNS,
    WEAK_TIMES,
    Burst,
)
from midflight.services.detectors.peaks import RISE

CALLS, EFFECTS, BYTES, RUN_CALLS, RUN_EFFECTS, RUN_BYTES = (each.floor for each in MEASURES)


def warm(calls: int = 12, *, sent: int = 100, pause: float = 5.0) -> Worker:
    """A workload whose runs make so many calls, one of which changes something."""
    worker = Worker(Burst())
    for _ in range(WARM_RUNS):
        worker.work(["look"] * (calls - 1) + ["write"], effects=["write"], sent=sent, pause=pause)
    assert worker.said == []
    return worker


def until(
    worker: Worker, strength: Strength, *, pause: float, effect: Effect = Effect.READ, sent: int = 0
) -> tuple[int, Sighting]:
    """How many calls of one run it takes until that is said, and what is."""
    run = worker.open()
    for number in range(1, 2_000):
        said = worker.call("look", run, effect=effect, sent=sent)
        if strongest(said) >= strength:
            return number, next(each for each in said if each.strength >= strength)
        worker.wait(pause)
    raise AssertionError("nothing was said")


def test_what_is_usual_is_nothing_to_say() -> None:
    worker = warm()
    for _ in range(20):
        worker.work(["look"] * 12)
    assert worker.said == []


def test_a_burst_within_a_minute_is_found_after_three_times_as_much() -> None:
    # 12 calls in 55 seconds are usual.
    number, said = until(warm(), Strength.FAIR, pause=0.1)
    assert number == 12 * FAIR_TIMES + 1 == said.after
    assert said.seen.startswith("37 calls within 60 seconds")
    assert said.usual == "at most 12 within 60 seconds, in 20 runs on 1 days"
    assert 0 < len(said.records) <= 8


def test_a_note_comes_before() -> None:
    # Twice as much would be 24, and below the floor nothing is said.
    assert until(warm(), Strength.WEAK, pause=0.1)[0] == CALLS + 1 > 12 * WEAK_TIMES


def test_what_is_said_is_said_once_a_strength() -> None:
    worker = warm()
    run = worker.open()
    for _ in range(200):
        worker.call("look", run)
    assert [(each.strength, each.seen) for _, each in worker.said] == [
        (Strength.WEAK, "31 calls within 60 seconds"),
        (Strength.FAIR, "37 calls within 60 seconds"),
        (Strength.FAIR, "101 calls within a run"),
    ]


def test_calls_that_change_something_are_counted_apart() -> None:
    number, said = until(warm(), Strength.FAIR, pause=0.1, effect=Effect.DELETE)
    assert number == EFFECTS + 1
    assert "calls that change something within 60 seconds" in said.seen


def test_what_is_spread_over_an_hour_is_found_in_the_run() -> None:
    # One call in 12 seconds is below every window.
    number, said = until(warm(), Strength.FAIR, pause=12.0)
    assert number == RUN_CALLS + 1
    assert said.seen == "101 calls within a run"


def test_bytes_are_counted_when_they_have_left() -> None:
    number, said = until(warm(), Strength.FAIR, pause=1.0, sent=200_000)
    assert number == BYTES // 200_000 + 1
    assert "bytes sent within 10 minutes" in said.seen
    number, said = until(warm(), Strength.FAIR, pause=120.0, sent=190_000)
    assert number == RUN_BYTES // 190_000 + 1
    assert "bytes sent within a run" in said.seen


def test_many_runs_side_by_side_are_one_workload() -> None:
    worker = warm()
    runs = [worker.open() for _ in range(10)]
    for number in range(1, 100):
        if fair(worker.call("look", runs[number % 10])):
            break
        worker.wait(0.2)
    assert number == 12 * FAIR_TIMES + 1


def test_the_window_of_one_workload_is_not_anothers() -> None:
    burst = Burst()
    for name in ("one", "two", "three"):
        worker = Worker(burst, workload=f"spiffe://example.org/agents/{name}")
        for _ in range(WARM_RUNS):
            worker.work(["look"] * 12)
        run = worker.open()
        for _ in range(CALLS):
            worker.call("look", run)
        assert worker.said == []


def test_a_new_workload_gets_a_note_at_most() -> None:
    worker = Worker(Burst())
    run = worker.open()
    for _ in range(1_500):
        worker.call("look", run, effect=Effect.SEND, sent=100_000)
    assert {each.strength for _, each in worker.said} == {Strength.WEAK}
    first = worker.said[0][1]
    assert first.after == int(BYTES * NEW_TIMES / 100_000) + 1 or "calls" in first.seen
    assert "not known yet: 0 of 20 runs have ended" in first.usual


def test_a_busy_workload_is_held_against_its_own() -> None:
    worker = warm(200, pause=0.2)
    run = worker.open()
    for _ in range(400):
        worker.call("look", run)
    assert worker.said == []


def test_a_stepped_clock_changes_no_window() -> None:
    worker = warm()
    run = worker.open()
    at = worker.at
    for number in range(60):  # the wall clock runs back an hour at every call
        said = worker.call("look", run, at=at - 3_600 * number)
        worker.wait(0.1)
        if fair(said):
            break
    assert number + 1 == 12 * FAIR_TIMES + 1


def test_what_is_refused_is_not_counted() -> None:
    worker = warm()
    run = worker.open()
    for _ in range(500):
        worker.see(event(run=run, state=Terminal.DENIED, mono=1e6))
    assert worker.said == []


def test_a_day_can_teach_only_half_as_much_again() -> None:
    worker = warm()
    for _ in range(300):
        worker.work(["look"] * 29, pause=1.0, after=120)
    burst = worker.detectors[0]
    assert isinstance(burst, Burst)
    usual = burst.memory.usual(worker.workload)
    assert usual is not None
    assert usual.days == 2
    assert usual.peaks[0].high <= 12 * RISE * RISE < 29


def test_what_is_usual_is_said_in_words() -> None:
    worker = warm()
    burst = worker.detectors[0]
    assert isinstance(burst, Burst)
    usual = burst.memory.usual(worker.workload)
    assert usual is not None
    assert burst.say(usual)[:2] == [
        "at most 12 calls within 60 seconds",
        "at most 1 calls that change something within 60 seconds",
    ]


@pytest.mark.parametrize("strength", [Strength.WEAK, Strength.FAIR])
def test_nothing_here_is_never_harmless(strength: Strength) -> None:
    assert until(warm(), strength, pause=0.01)[1].strength < Strength.STRONG
