"""docs/escalation.md: its settings load together, and its verbs exist."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.settings import load

TEXT = (Path(__file__).parents[2] / "docs" / "escalation.md").read_text(encoding="utf-8")
VERBS = re.findall(r"^ {4}(midflight .*?)(?:\s+#.*)?$", TEXT, re.MULTILINE)


def test_its_settings_load(tmp_path: Path) -> None:
    file = tmp_path / "midflight.toml"
    file.write_text("\n".join(re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)), encoding="utf-8")
    settings = load(file)
    assert set(settings.channels) == {"chat", "page", "mail"}
    assert settings.hooks["chat"].may_answer


@pytest.mark.parametrize("line", VERBS)
def test_its_verbs_exist(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not word.isupper()]
    names = [word for word in words if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-")]
    path = names[:1] if names[0] == "open" else names[:2]
    done = CliRunner().invoke(app, [*path, "--help"])
    assert done.exit_code == 0, done.output
    for option in (word for word in words if word.startswith("--")):
        assert option in done.output


def test_there_are_verbs_to_look_at() -> None:
    assert len(VERBS) == 6
