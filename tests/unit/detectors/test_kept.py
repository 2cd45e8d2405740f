"""What detectors keep: so much and no more, whoever fills it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from plain_kit import ended, refused

from midflight.services.detectors.drift import TOOLS as USED
from midflight.services.detectors.drift import USES, Drift
from midflight.services.detectors.fuzzing import COUNTERS, TOOLS, Fuzzing
from midflight.services.detectors.kept import Kept, KeptOfRuns

NAMES = st.sampled_from("abcdef")


def test_what_was_looked_at_longest_ago_goes_first() -> None:
    kept: Kept[str, list[int]] = Kept(list, bound=2)
    kept.of("a").append(1)
    kept.of("b")
    kept.of("a")
    kept.of("c")
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == ([1], None, [])


@given(st.lists(st.tuples(NAMES, NAMES) | NAMES, max_size=80))
def test_of_runs_no_more_is_kept_than_may_be_and_what_is_counted_is_there(
    steps: list[tuple[str, str] | str],
) -> None:
    kept: KeptOfRuns[str, list[int]] = KeptOfRuns(list, each=3, bound=7)
    for step in steps:
        if isinstance(step, str):
            kept.drop(step)
            assert not [key for key in "abcdef" if kept.get(step, key) is not None]
        else:
            assert kept.of(*step) is kept.get(*step)
        there = [(run, key) for key in "abcdef" for run, _ in kept.having(key)]
        assert len(there) == len(kept) <= 7
        assert all(sum(run == each for run, _ in there) <= 3 for each in "abcdef")


def test_refusals_of_many_tools_in_many_runs_are_bounded() -> None:
    fuzzing = Fuzzing()
    for run in range(2 * COUNTERS // TOOLS):
        for tool in range(2 * TOOLS):
            fuzzing.see(refused(f"t{tool}", run=f"run_{run}"))
    assert len(fuzzing._denied) == COUNTERS
    assert len(fuzzing._failed) == 0


def test_uses_of_many_tools_in_many_runs_are_bounded() -> None:
    drift = Drift()
    for run in range(USES // USED + 20):
        for tool in range(USED + 2):
            drift.see(ended(f"t{tool}", run=f"run_{run}"))
    assert len(drift._uses) <= USES
