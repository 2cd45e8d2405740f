"""`midflight redteam record`: from a real plane's ledger to a case that replays."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_kit import WORKLOAD, RunningPlane, running_plane
from typer.testing import CliRunner, Result

from midflight.apps.cli.main import app
from midflight.apps.redteam.cases import read
from midflight.domain.identity import Caller
from midflight.domain.labels import UNTRUSTED
from midflight.services.guard import Performed, Refused
from midflight.testing import ListSink, call
from midflight.testing.engine import FixedEngine

RUNNER = CliRunner()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        monkeypatch.chdir(tmp_path)
        running.register()
        running.pin("read_ticket", "read", "closed")
        running.pin("send_mail", "send", "open")
        yield running


def act(plane: RunningPlane, run: str, tool: str, **arguments: object) -> Performed | Refused:
    who = Caller(
        workload=WORKLOAD, run=run, token="tok_1", proof="bearer", expires_at=4_000_000_000
    )
    return plane.do(
        lambda: plane.plane.guard.perform(
            call(tool, upstream="desk", **arguments), caller=who, sink=ListSink()
        )
    )


def record(*words: str) -> Result:
    return RUNNER.invoke(app, ["redteam", "record", *words])


def test_a_run_becomes_a_case_that_can_be_replayed(plane: RunningPlane, tmp_path: Path) -> None:
    run = plane.open_run("Read ticket 3.")
    act(plane, run, "read_ticket", id=3)
    act(plane, plane.open_run("Another."), "read_ticket", id=4)
    live = plane.plane.runs.live(run)
    assert live is not None
    plane.do(lambda: plane.plane.runs.join_labels(live, UNTRUSTED, source="test"))
    refused = act(plane, run, "send_mail", to="mallory@example.net")
    assert isinstance(refused, Refused)

    out, tools = tmp_path / "case.jsonl", tmp_path / "tools.json"
    result = record(run, "--out", str(out), "--injected", "2", "--tools", str(tools))
    assert result.exit_code == 0, result.output
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "without results" in result.stderr
    (found,) = read(out)
    assert found.case.intent == "Read ticket 3."
    assert [(one.tool, one.arguments) for one in found.case.steps] == [
        ("read_ticket", {"id": 3}),
        ("send_mail", {"to": "mallory@example.net"}),
    ]
    assert found.injected == (False, True)
    (row,) = [json.loads(line) for line in out.read_text().splitlines()]
    assert [one["answer"] for one in row["steps"]] == ["permit", "challenge"]
    assert all(one["result"] == "" and one["record"] for one in row["steps"])

    report = tmp_path / "report.json"
    again = RUNNER.invoke(
        app, ["redteam", "replay", str(out), "--tools", str(tools), "--json", str(report)]
    )
    assert again.exit_code == 0, again.output
    assert json.loads(report.read_text())["attacks"]["total"] == 1


def test_a_call_that_was_approved_stands_once_as_it_was_carried_out(
    plane: RunningPlane, tmp_path: Path
) -> None:
    run = plane.open_run("Nothing of the kind.")
    live = plane.plane.runs.live(run)
    assert live is not None
    plane.do(lambda: plane.plane.runs.join_labels(live, UNTRUSTED, source="test"))
    for _ in range(2):  # it asks, and asks again
        assert isinstance(act(plane, run, "send_mail", to="ann@example.org"), Refused)
    plane.plane.guard._engine = FixedEngine()
    assert isinstance(act(plane, run, "send_mail", to="ann@example.org"), Performed)
    out = tmp_path / "case.jsonl"
    assert record(run, "--out", str(out)).exit_code == 0
    assert [one["answer"] for one in json.loads(out.read_text())["steps"]] == ["permit"]


def test_a_run_whose_key_is_erased_is_gone(plane: RunningPlane, tmp_path: Path) -> None:
    run = plane.open_run()
    act(plane, run, "read_ticket", id=3)
    plane.do(lambda: plane.plane.sealer.erase(run))
    result = record(run, "--out", str(tmp_path / "case.jsonl"))
    assert result.exit_code == 1
    assert "erased" in result.stderr
    assert not (tmp_path / "case.jsonl").exists()


def test_a_file_that_exists_is_not_written_over(plane: RunningPlane, tmp_path: Path) -> None:
    run = plane.open_run()
    act(plane, run, "read_ticket", id=3)
    taken = tmp_path / "case.jsonl"
    taken.write_text("mine")
    assert record(run, "--out", str(taken)).exit_code == 2
    assert taken.read_text() == "mine"


def test_a_run_that_there_is_not_is_said(plane: RunningPlane, tmp_path: Path) -> None:
    result = record("run_nobody", "--out", str(tmp_path / "case.jsonl"))
    assert result.exit_code == 1
    assert "no run run_nobody" in result.stderr
