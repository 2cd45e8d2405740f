"""docs/credentials.md: its commands are taken as they stand, one for each backend."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from control_kit import RunningPlane, running_plane
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.compose_broker import MAKERS
from midflight.domain.lease import Placement

DOCS = (Path(__file__).parents[2] / "docs" / "credentials.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^midflight (credential add .*)$", DOCS, re.MULTILINE)
RUNNER = CliRunner()


@pytest.fixture
def plane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningPlane]:
    monkeypatch.chdir(tmp_path)
    with running_plane(tmp_path) as running:
        yield running


def test_each_command_of_the_page_adds_its_credential(plane: RunningPlane) -> None:
    del plane
    assert COMMANDS
    for line in COMMANDS:
        # The plane of these tests has one upstream.
        words = shlex.split(re.sub(r"--upstream \w+", "--upstream desk", line))
        result = RUNNER.invoke(app, words, input="the-static-secret\n")
        assert result.exit_code == 0, (line, result.stderr)
        # No two are placed into one header of one upstream.
        result = RUNNER.invoke(app, ["credential", "remove", words[2]])
        assert result.exit_code == 0, (line, result.stderr)
    listed = RUNNER.invoke(app, ["credential", "list"]).stdout
    assert "cannot be used" not in listed


def test_every_backend_has_a_line_and_a_command() -> None:
    shown = {re.findall(r"--backend (\w+)", line)[0] for line in COMMANDS}
    assert shown == MAKERS.keys()
    assert all(f"| `{kind}` |" in DOCS for kind in MAKERS)


def test_every_placement_has_a_line() -> None:
    for placement in Placement:
        assert re.search(rf"^\| `{placement.value}\b", DOCS, re.MULTILINE), placement
