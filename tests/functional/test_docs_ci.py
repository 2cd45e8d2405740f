"""docs/ci.md: its settings load, its shell lines parse, and its verbs exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.settings import load
from midflight.domain.job_federation import IssuerKind

DOCS = Path(__file__).parents[2] / "docs" / "ci.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)


def lines() -> list[str]:
    """Every shell line of the page."""
    found: list[str] = []
    for kind, text in BLOCKS:
        if kind == "sh":
            found += text.splitlines()
        if kind == "yaml":
            found += re.findall(r"(?:run: |^    - )((?:midflight|eval|\./).*)$", text, re.MULTILINE)
    return found


def test_the_settings_of_the_page_load(tmp_path: Path) -> None:
    (text,) = [text for kind, text in BLOCKS if kind == "toml"]
    (tmp_path / "midflight.toml").write_text(text, encoding="utf-8")
    issuers = load(tmp_path / "midflight.toml").ci.issuer
    assert [issuer.kind for issuer in issuers] == [
        IssuerKind.GITHUB,
        IssuerKind.GITLAB,
        IssuerKind.KUBERNETES,
    ]


@pytest.mark.parametrize("line", lines())
def test_a_shell_line_of_the_page_parses_and_its_options_exist(line: str) -> None:
    assert subprocess.run(["sh", "-n", "-c", line], check=False).returncode == 0
    for verb, rest in re.findall(r"midflight ci (\w+)([^\")']*)", line):
        helped = CliRunner().invoke(app, ["ci", verb, "--help"], env={"COLUMNS": "200"})
        assert helped.exit_code == 0
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in helped.output


def test_the_page_has_lines_for_each_system() -> None:
    assert sum("ci login" in line for line in lines()) >= 5
    assert sum("ci logout" in line for line in lines()) == 3
