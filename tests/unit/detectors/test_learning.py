"""What detectors that learn keep, and what they learn nothing from."""

from __future__ import annotations

import msgspec
import pytest
from detector_kit import AGENT, DAY_S, event

from midflight.domain.finding import Finding, Strength
from midflight.services.detectors.learning import (
    MAX_DOUBTFUL,
    Kept,
    Memory,
    Tally,
    Usual,
    part_of,
)


class Counted(Usual):
    most: int = 0


class Count(Tally[Counted]):
    __slots__ = ("calls",)

    def __init__(self, kept: Kept[Counted]) -> None:
        super().__init__(kept)
        self.calls = 0


def learn(usual: Counted, tally: Count) -> None:
    usual.most = max(usual.most, tally.calls)


def memory(**bounds: int) -> Memory[Counted, Count]:
    return Memory(Counted, Count, learn, **bounds)


def calls(kept: Memory[Counted, Count], run: str, times: int = 1, **more: object) -> None:
    for _ in range(times):
        tally = kept.tally(event(run=run, **more))
        assert tally is not None
        tally.calls += 1


def known(kept: Memory[Counted, Count], workload: str = AGENT) -> Counted:
    usual = kept.usual(workload)
    assert usual is not None
    return usual


def finding(run: str, strength: Strength = Strength.FAIR) -> Finding:
    return Finding(
        id="fnd_1", at=0, detector="canary", strength=strength, seen="s", workload=AGENT, run=run
    )


def test_a_run_teaches_when_it_has_ended() -> None:
    kept = memory()
    calls(kept, "a", 5)
    assert (known(kept).runs, known(kept).most) == (0, 0)
    kept.run_ended("a")
    assert (known(kept).runs, known(kept).most, known(kept).days) == (1, 5, 1)


def test_a_run_that_something_was_found_in_teaches_nothing() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.found(finding("a"))
    kept.run_ended("a")
    assert known(kept).runs == 0


def test_a_finding_that_comes_before_the_first_call_counts_too() -> None:
    kept = memory()
    kept.found(finding("a"))
    calls(kept, "a", 5)
    kept.run_ended("a")
    assert known(kept).runs == 0


def test_a_note_is_no_reason_to_learn_nothing() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.found(finding("a", Strength.WEAK))
    kept.run_ended("a")
    assert known(kept).runs == 1


def test_runs_that_overlap_with_a_doubtful_one_teach_nothing() -> None:
    kept = memory()
    calls(kept, "before")
    calls(kept, "bad")
    kept.found(finding("bad"))
    calls(kept, "during")
    kept.run_ended("before")
    calls(kept, "beyond")
    kept.run_ended("bad")
    kept.run_ended("during")
    kept.run_ended("beyond")
    assert known(kept).runs == 0
    calls(kept, "after", 3)
    kept.run_ended("after")
    assert (known(kept).runs, known(kept).most) == (1, 3)


def test_runs_of_another_workload_teach_as_ever() -> None:
    kept = memory()
    calls(kept, "bad")
    calls(kept, "other", 2, workload="spiffe://example.org/agents/two")
    kept.found(finding("bad"))
    kept.run_ended("other")
    assert known(kept, "spiffe://example.org/agents/two").runs == 1


def test_runs_that_were_open_before_a_restart_teach_nothing() -> None:
    kept = memory()
    kept.suspect(["a"])
    calls(kept, "a", 5)
    kept.run_ended("a")
    assert known(kept).runs == 0


def test_what_is_not_registered_is_not_kept() -> None:
    kept = memory()
    assert kept.tally(event(owner="")) is None
    assert kept.tally(event(run="")) is None
    assert kept.sizes() == (0, 0, 0)


def test_a_run_belongs_to_one_workload() -> None:
    kept = memory()
    calls(kept, "a")
    assert kept.tally(event(run="a", workload="spiffe://example.org/agents/two")) is None


def test_the_quietest_workload_makes_room() -> None:
    kept = memory(max_workloads=2)
    for name in ("one", "two", "one", "three"):
        calls(kept, f"run-{name}", workload=f"spiffe://example.org/{name}")
        kept.run_ended(f"run-{name}")
    assert kept.usual("spiffe://example.org/two") is None
    assert known(kept, "spiffe://example.org/one").runs == 2
    assert part_of("spiffe://example.org/two") in kept.dirty


def test_a_run_that_made_room_teaches_nothing() -> None:
    kept = memory(max_runs=1)
    calls(kept, "a", 3)
    calls(kept, "b")
    calls(kept, "a", 2)
    kept.run_ended("a")
    assert known(kept).runs == 0


def test_what_is_forgotten_is_learned_anew_from_the_next_run_on() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.run_ended("a")
    calls(kept, "open", 9)
    assert kept.forget(AGENT)
    assert not kept.forget(AGENT)
    kept.run_ended("open")
    assert kept.usual(AGENT) is None
    calls(kept, "b", 2)
    kept.run_ended("b")
    assert (known(kept).runs, known(kept).most) == (1, 2)


def test_days_are_counted_whatever_the_clock_does() -> None:
    kept = memory()
    for run, day in enumerate((10, 10, 11, 40_000, 12, 12)):
        calls(kept, f"{run}", at=day * DAY_S)
        kept.run_ended(f"{run}")
    assert (known(kept).days, known(kept).day) == (4, 12)


def test_a_doubtful_run_is_learned_from_once_it_is_accepted() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.found(finding("a"))
    kept.accept("a")
    assert kept.doubtful("a") == ""  # it has not ended
    kept.run_ended("a")
    assert kept.doubtful("a") == AGENT
    kept.accept("a")
    kept.accept("a")
    assert (known(kept).runs, known(kept).most) == (1, 5)


def test_the_last_doubtful_runs_can_be_accepted() -> None:
    kept = memory()
    for number in range(MAX_DOUBTFUL + 1):
        calls(kept, f"run_{number}")
        kept.suspect([f"run_{number}"])
        kept.run_ended(f"run_{number}")
    assert kept.doubtful("run_0") == ""
    assert kept.doubtful("run_1") == AGENT


def test_what_was_forgotten_meanwhile_stays_so() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.suspect(["a"])
    kept.run_ended("a")
    kept.forget(AGENT)
    kept.accept("a")
    assert kept.usual(AGENT) is None


def test_what_is_saved_is_loaded() -> None:
    kept = memory()
    calls(kept, "a", 5)
    kept.run_ended("a")
    part = part_of(AGENT)
    assert kept.dirty == {part}
    saved = msgspec.json.decode(msgspec.json.encode(kept.save(part)))
    assert kept.dirty == set()
    again = memory()
    again.load(saved, part=part)
    assert known(again) == known(kept)


@pytest.mark.parametrize(
    "saved",
    [[], {AGENT: 1}, {AGENT: {"runs": -1}}, {AGENT: {"most": "many"}}, None],
)
def test_what_was_never_saved_is_not_loaded(saved: object) -> None:
    kept = memory()
    with pytest.raises(msgspec.ValidationError):
        kept.load(saved, part=part_of(AGENT))
    assert kept.sizes() == (0, 0, 0)


def test_a_workload_of_another_part_is_not_loaded() -> None:
    with pytest.raises(msgspec.ValidationError):
        memory().load({AGENT: {}}, part=(part_of(AGENT) + 1) % 16)
