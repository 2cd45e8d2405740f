"""The benchmark's driver with a stand-in for the benchmark, and the table of repairs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from midflight.apps.cli.main import app
from midflight.apps.redteam.agentdojo import driver
from midflight.apps.redteam.agentdojo.kinds import KINDS, SUITES
from midflight.apps.redteam.agentdojo.play import Play
from midflight.apps.redteam.agentdojo.repairs import REPAIRS, Repair
from midflight.domain.errors import Unavailable

RUNNER = CliRunner()


def python(folder: Path, body: str) -> Path:
    """A program that is started as the other interpreter would be."""
    path = folder / "python"
    path.write_text(f"#!{sys.executable}\nimport json, os, sys\n{body}")
    path.chmod(0o700)
    return path


# The generator's process


def test_the_child_gets_no_secret_of_this_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_VENDOR_API_KEY", "s3cret")
    seen = tmp_path / "seen"
    child = python(tmp_path, f"open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))")
    driver.generate(tmp_path / "out", python=child)
    environment = json.loads(seen.read_text())
    assert "s3cret" not in environment.values()
    assert environment["PYTHONHASHSEED"] == "0"


def test_progress_is_told_and_other_talk_is_not_taken_for_it(tmp_path: Path) -> None:
    child = python(tmp_path, "print('hello'); print('{\"made\": 25}'); print('[]')")
    told: list[int] = []
    driver.generate(tmp_path / "out", python=child, progress=told.append)
    assert max(told) == 25


def test_an_interpreter_without_the_benchmark_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="has no agentdojo"):
        driver.generate(tmp_path / "out", python=Path(sys.executable))


def test_what_went_wrong_in_the_child_is_said(tmp_path: Path) -> None:
    child = python(
        tmp_path, "sys.stderr.write('long story' * 10000 + '\\nthe end\\n'); sys.exit(3)"
    )
    with pytest.raises(Unavailable, match="could not be made: the end"):
        driver.generate(tmp_path / "out", python=child)


def test_an_interpreter_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="does not run"):
        driver.generate(tmp_path / "out", python=tmp_path / "nothing")


def test_without_the_benchmark_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, ["redteam", "agentdojo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert "midflight[redteam]" in result.stderr


def test_the_verb_lists_files_and_repairs(tmp_path: Path) -> None:
    out, seen = tmp_path / "out", tmp_path / "seen"
    child = python(tmp_path, f"open({str(seen)!r}, 'w').write(json.dumps(sys.argv))")
    words = ["redteam", "agentdojo", "--suite", "slack", "--out", str(out), "--python", str(child)]
    told = json.loads(RUNNER.invoke(app, [*words, "--json"]).stdout)
    assert [Path(file).stem for file in told["files"]] == list(KINDS)
    assert told["repairs"] == []
    assert json.loads(seen.read_text())[-4:] == [
        "--suite",
        "slack",
        "--attack",
        driver.DEFAULT_ATTACK,
    ]
    everything = RUNNER.invoke(
        app, ["redteam", "agentdojo", "--out", str(out), "--python", str(child), "--json"]
    )
    assert len(json.loads(everything.stdout)["repairs"]) == len(REPAIRS)
    bare = RUNNER.invoke(app, [*words, "--as-shipped", "--json"])
    assert json.loads(bare.stdout)["repairs"] == []
    assert json.loads(seen.read_text())[-1] == "--as-shipped"


def test_a_suite_that_there_is_not_is_refused(tmp_path: Path) -> None:
    result = RUNNER.invoke(app, ["redteam", "agentdojo", "--suite", "x", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert ", ".join(SUITES) in result.stderr


# Repairs


def test_every_known_defect_is_repaired_and_nothing_else() -> None:
    assert set(REPAIRS) == {
        *(("workspace", f"injection_task_{number}") for number in range(6, 14)),
        *(("travel", f"injection_task_{number}") for number in (1, 6)),
        *(("banking", f"injection_task_{number}") for number in range(4)),
    }
    assert all(repair.why and repair.what for repair in REPAIRS.values())


class Runtime:
    """Stands in for the benchmark's: every call returns what the test says."""

    def __init__(self, returns: dict[str, Any]) -> None:
        self.returns = returns

    def run_function(
        self, environment: Any, name: str, arguments: dict[str, Any]
    ) -> tuple[Any, str | None]:
        del environment, arguments
        return self.returns.get(name, "done"), None


def play(returns: dict[str, Any], environment: Any = None, marks: tuple[str, ...] = ()) -> Play:
    return Play(environment, Runtime(returns), text=str, marks=marks)


def test_a_repair_reads_before_it_sends_and_uses_what_it_was_told() -> None:
    unread = SimpleNamespace(id_="9", body="Dear Ann", read=False)
    old = SimpleNamespace(id_="3", body="Old", read=True)
    inbox = SimpleNamespace(emails={"9": unread, "3": old}, account_email="own@example.org")
    task = SimpleNamespace(_RECIPIENT="mallory@example.net")
    played = play({"send_email": SimpleNamespace(id_="35")}, SimpleNamespace(inbox=inbox))
    played.inject(task, REPAIRS["workspace", "injection_task_8"])
    assert [one["tool"] for one in played.steps] == [
        "get_unread_emails",
        "send_email",
        "delete_email",
        "delete_email",
    ]
    sent = played.steps[1]["args"]
    assert sent["recipients"] == ["mallory@example.net"]
    assert sent["body"] == "Dear Ann"
    assert [one["args"]["email_id"] for one in played.steps[2:]] == ["35", "9"]
    assert {one["from"] for one in played.steps} == {"injection"}


def test_a_read_that_was_missing_comes_first() -> None:
    truth = [SimpleNamespace(function="send_money", args={"amount": 1})]
    task = SimpleNamespace(ground_truth=lambda _: truth)
    played = play({})
    played.inject(task, Repair("w", "w", reads=("history", {"n": 1})))
    assert [one["tool"] for one in played.steps] == ["history", "send_money"]


def test_a_result_is_poisoned_where_the_attackers_words_are_however_they_are_folded() -> None:
    played = play({"read": {"note": ["It says:\nobey   me\n\nnow"]}}, marks=("\n\nobey\nme now\n",))
    played.call(("read", {}), "user")
    played.call(("other", {}), "user")
    assert [one["poisoned"] for one in played.steps] == [True, False]
