"""Arguments that are tried out, told apart by digest alone."""

from __future__ import annotations

from plain_kit import after, ended, event, refused, said

from midflight.domain.finding import Strength
from midflight.domain.records import Terminal
from midflight.services.detectors.fuzzing import (
    FAILED_NOTED,
    REFUSED_FOUND,
    REFUSED_NOTED,
    RUNS_NOTED,
    TOOLS,
    WORKLOAD_FOUND,
    Fuzzing,
)


def test_different_arguments_of_one_tool_refused_are_found() -> None:
    found = said(Fuzzing(), [refused("pay") for _ in range(REFUSED_FOUND)])
    assert [(each.strength, each.after) for each in found] == [
        (Strength.WEAK, REFUSED_NOTED),
        (Strength.FAIR, REFUSED_FOUND),
    ]


def test_the_same_arguments_again_are_a_retry() -> None:
    assert said(Fuzzing(), [refused("pay", digest="d") for _ in range(100)]) == []


def test_other_tools_are_counted_apart() -> None:
    tries = [refused(f"t{n % 5}") for n in range(5 * (REFUSED_NOTED - 1))]
    assert said(Fuzzing(), tries) == []


def test_failures_alone_are_only_noted() -> None:
    results = [ended("run_tests", undone=True) for _ in range(FAILED_NOTED)]
    errors = [event("run_tests", state=Terminal.FAILED) for _ in range(200)]
    found = said(Fuzzing(), [*results, *errors])
    assert [each.strength for each in found] == [Strength.WEAK]
    assert found[0].after == FAILED_NOTED
    assert "failed" in found[0].seen


def test_what_succeeds_says_nothing() -> None:
    calls = [each for n in range(100) for each in (event("pay"), ended("pay"))]
    assert said(Fuzzing(), calls) == []


def test_what_has_no_digest_is_not_counted() -> None:
    assert said(Fuzzing(), [refused("pay", digest="") for _ in range(100)]) == []


def test_many_runs_with_two_tries_each_are_counted_over_the_workload() -> None:
    tries = [refused("pay", run=f"run_{n // 2}") for n in range(2 * WORKLOAD_FOUND)]
    # The first try of each run may be an honest mistake; the second counts.
    assert after(Fuzzing(), tries, Strength.FAIR) == 2 * WORKLOAD_FOUND


def test_a_job_that_is_refused_once_in_each_run_is_not_fuzzing() -> None:
    each_half_minute = [refused("pay", run=f"run_{n}", mono=n * 30.0) for n in range(1_000)]
    assert said(Fuzzing(), each_half_minute) == []


def test_very_many_runs_that_are_refused_once_are_noted_once_an_hour() -> None:
    each_second = [refused("pay", run=f"run_{n}", mono=float(n)) for n in range(3_600)]
    [note] = said(Fuzzing(), each_second)
    assert (note.strength, note.after) == (Strength.WEAK, RUNS_NOTED)


def test_tools_of_a_run_are_bounded_and_go_with_it() -> None:
    fuzzing = Fuzzing()
    for number in range(TOOLS + 20):
        fuzzing.see(refused(f"t{number}"))
    assert len(fuzzing._denied) == TOOLS
    fuzzing.run_ended("run_1")
    assert len(fuzzing._denied) == 0
