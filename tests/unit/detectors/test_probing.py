"""What counts as probing, and what is only an agent that is stuck."""

from __future__ import annotations

import pytest
from plain_kit import after, event, refused, said

from midflight.domain.decision import DenyCode
from midflight.domain.finding import Strength
from midflight.services.detectors.kept import RUNS
from midflight.services.detectors.probing import (
    RUN_FOUND,
    RUN_NOTED,
    RUN_WINDOW_S,
    SLOW_FOUND,
    SLOW_WINDOW_S,
    WORKLOAD_FOUND,
    WORKLOAD_WINDOW_S,
    Probing,
)


def test_different_refusals_of_a_run_are_noted_and_then_found() -> None:
    found = said(Probing(), [refused(f"tool_{n}") for n in range(RUN_FOUND)])
    assert [(each.strength, each.after) for each in found] == [
        (Strength.WEAK, RUN_NOTED),
        (Strength.FAIR, RUN_FOUND),
    ]
    assert f"{RUN_FOUND} different refusals" in found[-1].seen
    assert len(found[-1].records) == RUN_FOUND


def test_the_same_thing_again_and_again_is_no_probing() -> None:
    assert said(Probing(), [refused("look") for _ in range(200)]) == []


def test_another_policy_that_says_no_is_another_refusal() -> None:
    tries = [refused("look", policies=(f"p{n}",)) for n in range(RUN_FOUND)]
    assert after(Probing(), tries, Strength.FAIR) == RUN_FOUND


def test_names_that_nobody_serves_are_guesses() -> None:
    tries = [
        refused(f"x{n}", known=False, code=DenyCode.UNKNOWN_TARGET, policies=("unknown-target",))
        for n in range(RUN_FOUND)
    ]
    assert after(Probing(), tries, Strength.FAIR) == RUN_FOUND


@pytest.mark.parametrize(
    "code",
    [
        DenyCode.REVOKED,
        DenyCode.OVERLOADED,
        DenyCode.APPROVAL_REQUIRED,
        DenyCode.RUN_EXHAUSTED,
        DenyCode.STORE_UNAVAILABLE,
        DenyCode.UPSTREAM_UNAVAILABLE,
        DenyCode.LIMITED,
    ],
)
def test_what_is_refused_whatever_is_asked_says_nothing(code: DenyCode) -> None:
    assert said(Probing(), [refused(f"t{n}", code=code) for n in range(100)]) == []


def test_what_lies_outside_of_the_window_does_not_count() -> None:
    step = RUN_WINDOW_S / (RUN_NOTED - 1) + 1
    tries = [refused(f"t{n}", mono=n * step) for n in range(WORKLOAD_FOUND - 1)]
    assert said(Probing(), tries) == []


def test_many_runs_are_counted_over_the_workload() -> None:
    tries = [refused(f"t{n}", run=f"run_{n}") for n in range(WORKLOAD_FOUND)]
    assert after(Probing(), tries, Strength.FAIR) == WORKLOAD_FOUND


def test_going_slowly_is_counted_over_a_day() -> None:
    step = SLOW_WINDOW_S / (SLOW_FOUND + 1)
    assert step > WORKLOAD_WINDOW_S / WORKLOAD_FOUND
    tries = [refused(f"t{n}", run=f"run_{n}", mono=n * step) for n in range(SLOW_FOUND)]
    assert after(Probing(), tries, Strength.FAIR) == SLOW_FOUND


def test_it_is_said_again_only_when_it_is_worse() -> None:
    found = said(Probing(), [refused(f"t{n}", run="run_1") for n in range(RUN_FOUND * 2 - 1)])
    assert [each.strength for each in found] == [Strength.WEAK, Strength.FAIR]


def test_after_a_quiet_time_it_is_said_anew() -> None:
    probing = Probing()
    assert said(probing, [refused(f"t{n}") for n in range(RUN_FOUND)])
    later = [refused(f"t{n}", mono=1e6) for n in range(RUN_FOUND)]
    assert [each.strength for each in said(probing, later)] == [Strength.WEAK, Strength.FAIR]


def test_permitted_actions_leave_no_trace() -> None:
    probing = Probing()
    assert said(probing, [event(f"t{n}") for n in range(100)]) == []


def test_a_flood_of_runs_takes_bounded_memory() -> None:
    probing = Probing()
    for number in range(RUNS + 50):
        probing.see(refused("look", run=f"run_{number}"))
    assert len(probing._runs) == RUNS
    probing.run_ended(f"run_{RUNS}")
    assert len(probing._runs) == RUNS - 1
