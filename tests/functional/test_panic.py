"""Stopping everything, and looking first: `midflight panic`, `midflight revoke --dry-run`."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from control_kit import RunningPlane, running_plane
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.domain.revocation import ScopeKind
from midflight.domain.run import RunState

RUNNER = CliRunner()
MIDFLIGHT = "from midflight.apps.cli.main import main; main()"
REASON = "the build host is not ours any more"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[RunningPlane]:
    with running_plane(tmp_path) as running:
        running.register()
        yield running


def midflight(config: Path, *words: str, given: str | None = None) -> Any:
    return RUNNER.invoke(app, ["--config", str(config), *words], input=given)


def stopped(plane: RunningPlane) -> bool:
    covering = plane.plane.interruption.covering
    return covering(((ScopeKind.EVERYTHING, ""),)) is not None


def recorded(plane: RunningPlane, revocation: str) -> list[str]:
    """The kinds of the records that are of one revocation."""
    return [
        kind
        for kind in ("revoked", "impact")
        for record in plane.records(kind)
        if record["revocation"] == revocation
    ]


def test_a_dry_run_says_what_is_cut_then_and_changes_nothing(plane: RunningPlane) -> None:
    run = plane.open_run()
    words = ("revoke", "workload", "agents/triage")
    seen = json.loads(midflight(plane.config, *words, "--dry-run", "--json").stdout)
    assert seen["runs"] == [run]
    assert seen["labels"] == "trusted public"
    assert (seen["cut"], seen["revocation"]) == ([], "")
    assert plane.records("impact") == []
    assert plane.plane.interruption.listing() == []

    shown = midflight(plane.config, *words, "--dry-run")
    assert run in shown.stdout
    assert "would cut" in shown.stdout

    done = midflight(plane.config, *words, "--reason", "odd", "--json")
    impact = json.loads(done.stdout)["impact"]
    assert {name: impact[name] for name in ("runs", "leases", "labels", "completed")} == {
        name: seen[name] for name in ("runs", "leases", "labels", "completed")
    }


def test_a_dry_run_takes_what_is_a_scope_alone(plane: RunningPlane) -> None:
    for words in (("everything", "x"), ("run",)):
        assert midflight(plane.config, "revoke", *words, "--dry-run").exit_code == 1
    missing = midflight(plane.config, "revoke", "everything")
    assert missing.exit_code == 2
    assert "--reason" in missing.output


def test_panic_stops_everything_through_the_plane(plane: RunningPlane) -> None:
    run = plane.open_run()
    done = midflight(plane.config, "panic", "--reason", REASON, "--yes", "--json")
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert stopped(plane)
    assert receipt["impact"]["runs"] == [run]
    assert receipt["durable"]


def test_panic_is_not_done_unasked(plane: RunningPlane) -> None:
    # Nobody can be asked here: standard input is no terminal.
    done = midflight(plane.config, "panic", "--reason", REASON, given="stop everything\n")
    assert done.exit_code == 2
    assert "--yes" in done.output
    assert not stopped(plane)


@pytest.mark.parametrize(("answer", "stops"), [("stop everything", True), ("yes", False)])
def test_who_sits_at_a_terminal_is_asked(tmp_path: Path, answer: str, stops: bool) -> None:
    with running_plane(tmp_path) as plane:
        config = plane.config
    near, far = pty.openpty()
    command = [sys.executable, "-c", MIDFLIGHT, "--config", str(config)]
    with subprocess.Popen(
        [*command, "panic", "--reason", REASON],
        stdin=far,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(far)
        os.write(near, f"{answer}\n".encode())
        out, err = process.communicate(timeout=60)
    os.close(near)
    assert b"Type 'stop everything'" in out
    assert process.returncode == (0 if stops else 1), err
    with running_plane(tmp_path) as plane:
        assert stopped(plane) is stops


def test_who_is_refused_by_the_plane_does_not_get_past_it(plane: RunningPlane) -> None:
    """What Midflight runs itself, such as a tool server, is no operator."""
    command = [sys.executable, "-c", MIDFLIGHT, "--config", str(plane.config)]
    done = subprocess.run(
        [*command, "panic", "--reason", REASON, "--yes"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "no operator" in done.stderr
    plane.do(plane.plane.interruption.follow)
    assert not stopped(plane)


def test_a_plane_that_answers_nobody_is_stopped_by_its_store(plane: RunningPlane) -> None:
    plane.plane.settings.control_socket.unlink()
    done = midflight(plane.config, "panic", "--reason", REASON, "--yes", "--json")
    assert done.exit_code == 0, done.output
    revocation = json.loads(done.stdout)["revocation"]
    plane.do(plane.plane.interruption.follow)
    assert stopped(plane)
    (found,) = plane.plane.interruption.listing()
    assert (found.id, found.reason, found.proof) == (revocation, REASON, "state-directory")


def test_a_plane_that_does_not_run_is_stopped_when_it_starts(tmp_path: Path) -> None:
    with running_plane(tmp_path) as plane:
        plane.register()
        run = plane.open_run()
        config = plane.config
    done = midflight(config, "panic", "--reason", REASON, "--yes", "--json")
    assert done.exit_code == 0, done.output
    assert "not running" in done.stderr
    revocation = json.loads(done.stdout)["revocation"]
    for _ in range(2):
        with running_plane(tmp_path) as plane:
            assert stopped(plane)
            # Once, however often it starts.
            assert recorded(plane, revocation) == ["revoked", "impact"]
            assert plane.client.get(f"/v1/runs/{run}")["state"] == RunState.OPEN.value
    with running_plane(tmp_path) as plane:
        lifted = midflight(plane.config, "revocation", "lift", revocation, "--reason", "over")
        assert lifted.exit_code == 0, lifted.output
        assert not stopped(plane)


def test_where_nothing_ever_ran_there_is_nothing_to_stop(tmp_path: Path) -> None:
    config = tmp_path / "midflight.toml"
    config.write_text("", encoding="utf-8")
    done = midflight(config, "panic", "--reason", REASON, "--yes")
    assert done.exit_code == 2
    assert "no store" in done.output
