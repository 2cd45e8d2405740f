"""docs/approvals.md: its settings load, its commands work, its words are those on screen."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from control_kit import running_plane
from typer.testing import CliRunner

from midflight.adapters.policy.annotations import annotation_problems
from midflight.apps.cli.main import app
from midflight.apps.settings import load
from midflight.domain.approval import binding_code

DOCS = (Path(__file__).parents[2] / "docs" / "approvals.md").read_text(encoding="utf-8")


def test_its_settings_load_together(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", DOCS, re.DOTALL)
    assert len(blocks) == 2
    file = tmp_path / "midflight.toml"
    file.write_text("\n".join(blocks), encoding="utf-8")
    approvals = load(file).approvals
    assert approvals.login.people == {"alice@example.org": "alice"}
    assert approvals.ciba is not None
    assert approvals.ciba.people["alice"].subject == "248289761001"


def test_its_commands_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^\$ midflight (.*)$", DOCS, re.MULTILINE)
    assert lines
    with running_plane(tmp_path):
        for line in lines:
            result = CliRunner().invoke(app, shlex.split(line))
            assert result.exit_code == 0, (line, result.stderr)


def test_its_policies_are_policies() -> None:
    named = re.findall(r'`@approvers\("(.*?)"\)`', DOCS)
    assert len(named) == 2
    for text in named:
        noted = {"id": "x", "approvers": text}
        assert list(annotation_problems(noted, effect="forbid", asks=True)) == []


def test_its_code_looks_like_one() -> None:
    (code,) = re.findall(r"`(MF-\S+?)`", DOCS)
    assert re.fullmatch(r"MF-[A-Z2-7]{4}-[A-Z2-7]{4}", code)
    assert re.fullmatch(r"MF-[A-Z2-7]{4}-[A-Z2-7]{4}", binding_code("apr_x", "d"))
    # As short as providers take it (CIBA Core 1.0 §7.1).
    assert re.fullmatch(r"[a-zA-Z0-9\-._+/!?#]{1,20}", code)
