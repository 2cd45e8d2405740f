"""Baselines and findings as operators meet them, on a running plane."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import OPERATOR, WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.domain.finding import Finding, Strength
from midflight.domain.identity import Author, Caller
from midflight.services.guard import Performed
from midflight.testing import ListSink, call


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        running.pin("read_ticket", "read", "closed")
        yield running


def midflight(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def said(*words: str) -> Any:
    result = midflight(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def work(plane: RunningPlane, calls: int) -> str:
    """A run that reads some tickets and ends."""
    run = plane.open_run()
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )

    async def do() -> None:
        for number in range(calls):
            action = call("read_ticket", upstream="desk", id=number)
            assert isinstance(
                await plane.plane.guard.perform(action, who, sink=ListSink()), Performed
            )
        author = Author(name="replay", proof="test")
        await plane.plane.runs.close_run(run, author=author)

    plane.do(do)
    return run


def find(plane: RunningPlane, **given: Any) -> None:
    """Something is found."""
    finding = {
        "id": "fnd_1",
        "at": plane.plane.clock.now(),
        "detector": "burst",
        "strength": Strength.FAIR,
        "seen": "47 calls within 60 seconds",
        "usual": "at most 12",
        "workload": WORKLOAD,
        "run": "run_1",
        "after": 47,
    }

    async def found() -> None:
        plane.plane.watching.detection.found(Finding(**(finding | given)))
        await plane.plane.ledger.flush()

    plane.do(found)


def test_what_is_usual_is_shown(plane: RunningPlane) -> None:
    work(plane, 3)
    work(plane, 5)
    found = said("baseline", "show", "agents/triage")
    assert found["workload"] == WORKLOAD
    burst, novelty = found["detectors"]
    assert (burst["detector"], burst["runs"], burst["warm"]) == ("burst", 2, False)
    assert "at most 5 calls within a run" in burst["usual"]
    assert novelty["usual"][0] == "tools (1): desk/read_ticket"
    table = midflight("baseline", "show", WORKLOAD).stdout
    assert "desk/read_ticket" in table.replace("\n", "")


def test_what_nobody_knows_is_said_so(plane: RunningPlane) -> None:
    result = midflight("baseline", "show", "agents/triage")
    assert result.exit_code == 1
    assert "Nothing is known of what is usual" in result.stderr
    assert "runs that have ended" in result.stderr
    assert midflight("baseline", "forget", "agents/triage", "--yes").exit_code == 1


def test_a_baseline_is_forgotten_on_an_operators_word(plane: RunningPlane) -> None:
    work(plane, 3)
    assert midflight("baseline", "forget", "agents/triage").exit_code == 1  # not asked, not done
    assert said("baseline", "show", "agents/triage")
    assert midflight("baseline", "forget", "agents/triage", "--yes").exit_code == 0
    assert midflight("baseline", "show", "agents/triage").exit_code == 1
    [record] = [r for r in plane.records("changed") if r["what"] == "baseline.forget"]
    assert (record["author"], record["details"]) == (OPERATOR, {"workload": WORKLOAD})


def test_a_baseline_is_there_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_plane(tmp_path) as first:
        first.register()
        first.pin("read_ticket", "read", "closed")
        work(first, 3)
        before = first.client.get("/v1/baseline", workload=WORKLOAD)
    with running_plane(tmp_path) as second:
        assert second.client.get("/v1/baseline", workload=WORKLOAD) == before
        assert [r for r in second.records("observed") if r["what"] == "baselines.lost"] == []


def test_a_run_that_was_fine_is_accepted(plane: RunningPlane) -> None:
    run = plane.open_run()
    find(plane, run=run)
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    action = call("read_ticket", upstream="desk", id=1)
    plane.do(lambda: plane.plane.guard.perform(action, who, sink=ListSink()))
    assert midflight("baseline", "accept", run).exit_code == 1
    plane.client.post(f"/v1/runs/{run}/close")
    assert midflight("baseline", "show", "agents/triage").exit_code == 1
    assert said("baseline", "accept", run) == {"workload": WORKLOAD}
    assert said("baseline", "show", "agents/triage")["detectors"][0]["runs"] == 1
    assert midflight("baseline", "accept", run).exit_code == 1
    [record] = [r for r in plane.records("changed") if r["what"] == "baseline.accept"]
    assert record["author"] == OPERATOR


def test_findings_are_listed_newest_first(plane: RunningPlane) -> None:
    find(plane, seen="first", strength=Strength.WEAK)
    find(plane, seen="second", detector="canary", run="run_2")
    find(plane, seen="third", workload="spiffe://midflight.internal/agents/two")
    found = said("finding", "list")
    assert [each["finding"]["seen"] for each in found["findings"]] == ["third", "second", "first"]
    assert found["complete"]
    shown = midflight("ledger", "show", found["findings"][0]["record"])
    assert "third" in shown.stdout
    assert "burst says of run_1: first" in midflight("ledger", "tail").stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        (("--workload", "agents/triage"), ["second", "first"]),
        (("--run", "run_2"), ["second"]),
        (("--detector", "canary"), ["second"]),
        (("--strength", "fair"), ["third", "second"]),
        (("--since", "1h"), ["third", "second"]),
        (("--count", "1"), ["third"]),
        (("--run", "run_9"), []),
    ],
)
def test_findings_are_chosen(plane: RunningPlane, words: tuple[str, ...], seen: list[str]) -> None:
    hour_ago = plane.plane.clock.now() - 3_700
    find(plane, seen="first", strength=Strength.WEAK, at=hour_ago)
    find(plane, seen="second", detector="canary", run="run_2")
    find(plane, seen="third", workload="spiffe://midflight.internal/agents/two")
    found = said("finding", "list", *words)
    assert [each["finding"]["seen"] for each in found["findings"]] == seen
    assert found["complete"] is ("--count" not in words)


def test_what_was_not_shown_is_said(plane: RunningPlane) -> None:
    find(plane)
    find(plane)
    result = midflight("finding", "list", "--count", "1")
    assert "There are more since then than are shown" in result.stderr
    assert midflight("finding", "list", "--since", "soon").exit_code == 2
    assert midflight("finding", "list", "--strength", "huge").exit_code == 2
    assert "Nothing was found." in midflight("finding", "list", "--run", "none").output
