"""`make bench`: all of them, or one by its name."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Any:
    """`bench/__main__.py`, which is started from the root of the repository."""
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("bench.__main__")


def test_without_a_name_every_one_runs_once_and_what_fails_stops_none(
    main: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran: list[list[str]] = []

    def run(words: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        assert not check
        ran.append(words)
        return subprocess.CompletedProcess(words, 1 if words[3] == "flow" else 0)

    monkeypatch.setattr(main.subprocess, "run", run)
    assert main.main(["--json", str(tmp_path / "rows")]) == 1
    assert [words[3] for words in ran] == [name for name in main.NAMES if name != "detect"]
    assert ran[0][:3] == [sys.executable, "-m", "bench"]
    assert ran[0][4:] == ["--json", str(tmp_path / "rows" / "detectors.json")]
    ran.clear()
    main.main(["--traces", "there"])
    assert ran[-1][3:] == ["detect", "--traces", "there"]


def test_every_name_is_a_module_that_runs(main: Any) -> None:
    for name in main.NAMES:
        assert "def run(" in (ROOT / "bench" / f"{name}.py").read_text(encoding="utf-8")
    runnable = {
        path.stem
        for path in (ROOT / "bench").glob("*.py")
        if "\ndef run(" in path.read_text(encoding="utf-8")
    }
    assert runnable == set(main.NAMES)


@pytest.mark.parametrize("words", [["nothing"], ["detect"], ["flow", "decide"]])
def test_what_cannot_be_run_is_said_at_once(main: Any, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main.main(words)
    assert caught.value.code == 2
