"""A tool that changes under a run that has used it."""

from __future__ import annotations

from plain_kit import Told, ended, event, refused

from midflight.domain.finding import Strength
from midflight.domain.tool import PinnedKind
from midflight.services.detectors.drift import DEFINITIONS, TOOLS, Drift


class Served:
    """What the catalogue says: of what the definition is another, and its digest."""

    def __init__(self) -> None:
        self.drifted: dict[str, str] = {"send": "d1"}

    def __call__(self, upstream: str, kind: PinnedKind) -> dict[str, str]:
        return self.drifted if (upstream, kind) == ("one", PinnedKind.TOOL) else {}


def watched() -> tuple[Drift, Told, Served]:
    drift, told, served = Drift(), Told(), Served()
    drift.watch(told, served)
    return drift, told, served


def test_each_open_run_that_used_it_is_told_of_once() -> None:
    drift, told, _ = watched()
    for run in ("run_1", "run_1", "run_2", "run_3"):
        drift.see(ended("send", run=run))
    drift.see(ended("look", run="run_4"))
    drift.run_ended("run_3")
    for _ in range(3):
        drift.changed("one", PinnedKind.TOOL)
    assert [about["run"] for _, _, about in told.found] == ["run_1", "run_2"]
    _, sighting, about = told.found[0]
    assert (sighting.strength, sighting.after) == (Strength.FAIR, 2)
    assert (about["upstream"], about["name"]) == ("one", "send")


def test_what_never_left_was_not_used() -> None:
    drift, told, _ = watched()
    drift.see(refused("send"))
    drift.see(event("send"))
    drift.changed("one", PinnedKind.TOOL)
    assert told.found == []


def test_another_upstream_or_kind_is_not_meant() -> None:
    drift, told, _ = watched()
    drift.see(ended("send"))
    drift.changed("two", PinnedKind.TOOL)
    drift.changed("one", PinnedKind.PROMPT)
    assert told.found == []


def test_each_other_definition_is_told_of_once_and_not_without_end() -> None:
    drift, told, served = watched()
    drift.see(ended("send"))
    for digest in ("d1", "", "d1", "d2"):
        served.drifted = {"send": digest} if digest else {}
        drift.changed("one", PinnedKind.TOOL)
    assert len(told.found) == 2
    for number in range(50):
        served.drifted = {"send": f"flapping {number}"}
        drift.changed("one", PinnedKind.TOOL)
    assert len(told.found) == DEFINITIONS


def test_tools_of_a_run_are_bounded() -> None:
    drift, _, _ = watched()
    for number in range(TOOLS + 9):
        drift.see(ended(f"t{number}"))
    assert len(drift._uses) == TOOLS


def test_unwatched_it_says_nothing() -> None:
    drift = Drift()
    drift.see(ended("send"))
    drift.changed("one", PinnedKind.TOOL)
