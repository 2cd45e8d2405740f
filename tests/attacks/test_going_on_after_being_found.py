"""Found once, held for a while, and then it goes on: every detector must find it again.

A response ends by itself. Whoever keeps a window from becoming empty, or stays in the run that he
was found in, must not be passed over from then on; nor may a child run begin anew.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from detector_kit import Worker, fair
from plain_kit import Told, ended, event, labels, refused, said
from response_kit import held_family

from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.event import Event
from midflight.domain.finding import Finding, Strength
from midflight.domain.traits import Effect, Reach
from midflight.services.detection import Detector
from midflight.services.detectors.burst import WARM_RUNS, Burst
from midflight.services.detectors.elsewhere import REMEMBERED, Elsewhere
from midflight.services.detectors.escalation import FOUND_AFTER, Escalation
from midflight.services.detectors.fuzzing import Fuzzing
from midflight.services.detectors.kept import AGAIN_S, STRONG_AGAIN_S
from midflight.services.detectors.novelty import FEW, Novelty
from midflight.services.detectors.novelty import WARM_RUNS as NOVELTY_RUNS
from midflight.services.detectors.pipeline import MORE, WARM_JOBS, Pipeline
from midflight.services.detectors.probing import RUN_FOUND, SLOW_FOUND, WORKLOAD_FOUND, Probing
from midflight.services.detectors.sequence import Sequence
from midflight.services.guard import Refused

FAIR = Strength.FAIR
DAY_S = 86_400.0


def found_at(detector: Detector, events: Iterator[Event], least: int = FAIR) -> list[float]:
    """When (monotonic seconds) something at least so strong was said."""
    times: list[float] = []
    for each in events:
        sighting = detector.see(each)
        if sighting is not None and sighting.strength >= least:
            times.append(each.mono)
    return times


def longest_gap(times: list[float], until: float) -> float:
    """The longest time for which nothing was said, once something was."""
    assert times
    return max(b - a for a, b in zip(times, [*times[1:], until], strict=True))


def steadily(pause: float, for_s: float, *, runs: int = 1, tool: str = "") -> Iterator[Event]:
    """Another thing refused after each pause; `tool`: other arguments of one tool."""
    for number in range(int(for_s / pause)):
        name = tool or f"x{number}"
        run = f"run_{number % runs}" if runs else f"run_{number}"
        yield refused(name, mono=1_000 + number * pause, run=run)


def test_probing_that_never_pauses_is_found_again_and_again() -> None:
    times = found_at(Probing(), steadily(20, DAY_S / 4))
    assert longest_gap(times, DAY_S / 4) <= AGAIN_S + 3_600


def test_probing_from_a_new_run_each_time_is_found_again_and_again() -> None:
    times = found_at(Probing(), steadily(3_600 / (WORKLOAD_FOUND + 1), DAY_S / 2, runs=0))
    assert longest_gap(times, DAY_S / 2) <= 2 * 3_600


def test_slow_probing_is_found_again_each_day() -> None:
    times = found_at(Probing(), steadily(DAY_S / (SLOW_FOUND + 2), 10 * DAY_S, runs=0))
    assert longest_gap(times, 10 * DAY_S) <= 1.1 * DAY_S


def test_one_refusal_that_keeps_the_window_open_hides_no_second_round() -> None:
    probing = Probing()
    first = [refused(f"a{number}") for number in range(2 * RUN_FOUND)]
    assert fair(said(probing, first))
    open_s = range(0, 7_200, 500)
    said(probing, [refused(f"keep{at}", mono=1_000 + at) for at in open_s])
    again = [refused(f"b{number}", mono=8_300.0) for number in range(2 * RUN_FOUND)]
    assert fair(said(probing, again))


def test_fuzzing_that_never_pauses_is_found_again_and_again() -> None:
    times = found_at(Fuzzing(), steadily(20, DAY_S / 4, tool="pay"))
    assert longest_gap(times, DAY_S / 4) <= AGAIN_S + 3_600


def test_what_is_stuck_is_not_found_again_for_what_it_has_done_before() -> None:
    probing = Probing()
    assert fair(said(probing, [refused(f"a{number}") for number in range(RUN_FOUND)]))
    stuck = [refused("a0", mono=1_000 + at) for at in range(0, 20_000, 100)]
    assert said(probing, stuck) == []


def test_a_burst_that_goes_on_is_found_again() -> None:
    worker = Worker(Burst())
    for _ in range(WARM_RUNS):
        worker.work(["look"] * 12, effects=())
    run, times = worker.open(), list[float]()
    began = worker.at
    while worker.at < began + 4 * 3_600:
        if fair(worker.call("look", run)):
            times.append(worker.at)
        worker.wait(1.0)
    assert longest_gap(times, worker.at) <= AGAIN_S + 60


def test_a_run_that_goes_on_slowly_is_found_when_it_is_twice_as_much() -> None:
    worker = Worker(Burst())
    for _ in range(WARM_RUNS):
        worker.work(["look"] * 12)
    run = worker.open()
    seen: list[str] = []
    for _ in range(1_000):
        seen += [each.seen for each in fair(worker.call("look", run))]
        worker.wait(12.0)
    assert seen == [f"{calls} calls within a run" for calls in (101, 203, 407, 815)]


def test_further_new_tools_of_a_run_are_found_again() -> None:
    worker = Worker(Novelty())
    for _ in range(NOVELTY_RUNS):
        worker.work(["look", "list", "write"], effects=["write"])
    new = [f"new_{number}" for number in range(4 * FEW)]
    found = fair(worker.work(new, effects=new))
    assert [each.after for each in found] == [FEW, 2 * FEW, 4 * FEW]


def test_a_job_that_goes_on_is_found_again() -> None:
    worker = Worker(Pipeline(), pipeline=True)
    for _ in range(WARM_JOBS):
        worker.work(["build", "test"])
    found = fair(worker.work(["build"] * 60))
    most = 1 + MORE + 1
    assert [each.after for each in found] == [most, 2 * most + 1, 4 * most + 3]


def test_effects_after_a_jump_are_found_again() -> None:
    seen = labels(untrusted=True, secret=True)
    effects = [
        event("send", effect=Effect.SEND, reach=Reach.OPEN, labels=seen)
        for _ in range(4 * FOUND_AFTER)
    ]
    found = fair(said(Escalation(), [ended(labels=seen), *effects]))
    assert [each.after for each in found] == [FOUND_AFTER, 2 * FOUND_AFTER, 4 * FOUND_AFTER]


def test_effects_after_a_jump_are_counted_over_child_runs() -> None:
    """Three children, one effect each."""
    seen = labels(untrusted=True, secret=True)
    effects = [
        event("send", effect=Effect.SEND, reach=Reach.OPEN, labels=seen, run=f"run_{n}", family="f")
        for n in range(FOUND_AFTER)
    ]
    assert len(fair(said(Escalation(), [ended(labels=seen, run="f", family="f"), *effects]))) == 1


def test_a_child_that_has_not_both_is_not_found_for_its_family() -> None:
    """What a run of somebody else has seen is not what this one has."""
    stranger, secret = labels(untrusted=True), labels(secret=True)
    family = [
        ended(labels=stranger, run="run_1", family="f"),
        ended(labels=secret, run="run_2", family="f"),
        *(
            event("send", effect=Effect.SEND, labels=stranger, run="run_1", family="f")
            for _ in range(10)
        ),
    ]
    assert said(Escalation(), family) == []


def test_a_sequence_that_is_walked_again_is_found_again() -> None:
    def walk(mono: float) -> list[Event]:
        effects = [Effect.READ] * 3 + [Effect.GRANT, Effect.PAY]
        return [
            event(f"t{number}", effect=effect, reach=Reach.OPEN, mono=mono + number)
            for number, effect in enumerate(effects)
        ]

    sequence = Sequence(sequence_rules())
    times = found_at(sequence, (each for at in range(0, 36_000, 60) for each in walk(at)))
    assert longest_gap(times, 36_000) <= AGAIN_S + 120


def test_a_token_in_two_hands_is_found_again() -> None:
    elsewhere = Elsewhere()
    turns = (
        event(peer=f"192.0.2.{1 + n % 2}", token="tok", run=f"run_{n}", mono=n * 60.0)
        for n in range(int(DAY_S / 60))
    )
    times = found_at(elsewhere, turns, Strength.STRONG)
    assert longest_gap(times, DAY_S) <= STRONG_AGAIN_S + 60


def test_reasons_at_home_do_not_use_up_what_is_said_of_elsewhere() -> None:
    """Whoever is on the holder's machine makes noise, so that the theft is one finding too many."""
    elsewhere, told = Elsewhere(), Told()
    elsewhere.watch(told)
    elsewhere.see(event(peer="192.0.2.1", token="tok"))
    about = {"workload": "w", "run": "run_1", "token": "tok"}
    for number in range(3 * REMEMBERED):
        elsewhere.stolen(**about, peer="192.0.2.1", why=f"reason {number}")
    elsewhere.stolen(**about, peer="198.51.100.7", why="no key")
    assert told.found[-1][1].strength is Strength.STRONG
    assert len(told.found) == REMEMBERED + 1


@pytest.mark.anyio
async def test_a_run_that_waits_out_its_response_is_held_again() -> None:
    plane = await held_family(detectors=[Probing()])
    found: list[Finding] = []
    plane.detection.respond_with(found.append)
    run = await plane.open()

    began = plane.clock.monotonic()
    for number in range(70):  # a run lasts an hour
        assert isinstance(await plane.act(run, f"guess_{number}"), Refused)
        plane.clock.advance(50)  # type: ignore[attr-defined]
    times = [each.at for each in found if each.strength >= FAIR]
    assert longest_gap(times, plane.clock.now()) <= AGAIN_S + 60
    assert plane.clock.monotonic() - began < 3_600
    await plane.close()
