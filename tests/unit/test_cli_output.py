"""How the command line speaks, without a plane."""

from __future__ import annotations

import json
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command
from typer.testing import CliRunner

from midflight import __version__
from midflight.apps.cli.main import app
from midflight.apps.cli.output import color, print_table, report
from midflight.apps.cli.private_file import write_private
from midflight.apps.cli.progress import progress_bar
from midflight.apps.cli.records import summary
from midflight.apps.cli.tool import difference
from midflight.domain.errors import (
    Conflict,
    Forbidden,
    Malformed,
    MidflightError,
    Misconfigured,
    NotFound,
    Unauthenticated,
    Unavailable,
)
from midflight.domain.plain import visible

RUNNER = CliRunner()


def every_command() -> list[list[str]]:
    """The words of every command, groups included."""
    found: list[list[str]] = []

    def walk(command: object, words: list[str]) -> None:
        found.append(words)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, [*words, name])

    walk(get_command(app), [])
    return found


COMMANDS = every_command()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_the_help_of_every_verb_ends_with_an_example_that_names_it(words: list[str]) -> None:
    result = RUNNER.invoke(app, [*words, "--help"], env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert result.exit_code == 0
    leaf = not any(other[: len(words)] == words and other != words for other in COMMANDS)
    if leaf or not words:
        last = " ".join(result.stdout.split("Example:")[-1].split())
        assert last.startswith("midflight"), result.stdout
        for word in words:
            assert word in last


def test_the_verbs_of_the_product_are_there() -> None:
    names = {" ".join(words) for words in COMMANDS}
    for verb in (
        "init up demo doctor revoke check explain",
        "workload add;workload list;workload show;workload disable;workload enable;workload token",
        "run open;run close;run list;run show;tool list;tool pin;tool unpin;tool diff",
        "tool show;traits propose;traits show;traits check;traits apply",
        "revocation list;revocation lift;policy reload;operator token",
        "ledger verify;ledger show;ledger tail;ledger export;ledger checkpoint",
    ):
        assert set(verb.split(";") if ";" in verb else verb.split()) <= names


def test_every_reading_verb_speaks_json() -> None:
    # What prints a token or runs a program has nothing else to say.
    silent = {"", "init", "up", "demo", "exec", "ci login", "ci logout"}
    groups = {words[0] for words in COMMANDS if len(words) == 2}
    for words in COMMANDS:
        name = " ".join(words)
        if name in silent | groups:
            continue
        assert "--json" in RUNNER.invoke(app, [*words, "--help"]).stdout, name


def test_the_version_is_printed() -> None:
    result = RUNNER.invoke(app, ["--version"])
    assert result.stdout.strip() == f"midflight {__version__}"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["run", "nonsense"],
        ["run", "open"],
        ["revoke", "planet", "x", "--reason", "r"],
        ["revoke", "run", "x"],
        ["run", "list", "--state", "odd"],
        ["workload", "add", "x", "--owner", "o", "--escalation", "e", "--review-by", "soon"],
        ["workload", "token", "x", "--ttl", "long"],
        ["revoke", "run", "x", "--reason", "r", "--until", "yesterday"],
        ["tool", "pin", "u"],
        ["tool", "pin", "u", "n", "--all"],
        ["ledger", "tail", "--count", "0"],
    ],
    ids=" ".join,
)
def test_wrong_use_ends_with_two_and_says_what_is_wrong(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "midflight.toml").touch()
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


@pytest.mark.parametrize(
    "words",
    [["run", "list"], ["status"], ["revoke", "everything", "--reason", "r"], ["ledger", "tail"]],
    ids=" ".join,
)
def test_without_a_plane_one_line_says_how_to_start_it(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "midflight.toml").touch()
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, words)
    assert result.exit_code == 2
    assert "midflight up" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stdout == ""


def test_without_settings_one_line_says_how_to_make_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIDFLIGHT_CONFIG", raising=False)
    result = RUNNER.invoke(app, ["run", "list"])
    assert result.exit_code == 2
    assert "midflight init" in result.stderr


def test_a_failure_nobody_foresaw_is_one_line_without_its_text(tmp_path: Path) -> None:
    script = (
        "import midflight.apps.cli.main as m, midflight.apps.cli.session as s\n"
        "def broken(*_): raise RuntimeError('hunter2')\n"
        "s.Session.client = broken\n"
        "import sys; sys.argv = ['midflight', 'status']; m.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 2
    assert "RuntimeError" in done.stderr
    assert "hunter2" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_help_imports_nothing_heavy() -> None:
    """Measured as what is loaded, not as time: see bench for the milliseconds."""
    script = (
        "import sys, contextlib, io\n"
        "from midflight.apps.cli.main import app\n"
        "sys.argv = ['midflight', '--help']\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): app()\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    heavy = {"pydantic", "rich", "uvicorn", "starlette", "cedarpy", "sqlalchemy", "cryptography"}
    heavy |= {"asyncio", "structlog", "opentelemetry", "prometheus_client", "uvloop", "http"}
    assert heavy & set(done.stdout.split()) == set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), 1),
        (Conflict("x"), 1),
        (Forbidden("x"), 1),
        (Unauthenticated("x"), 2),
        (Malformed("x"), 2),
        (Unavailable("x"), 2),
        (Misconfigured("x", ["a", "b"]), 2),
        (MidflightError("x"), 2),
    ],
)
def test_a_verdict_ends_with_one_and_a_failure_to_ask_with_two(
    error: MidflightError, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(error) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("midflight: x")


def test_an_error_that_quotes_a_tool_cannot_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report(NotFound("no tool \x1b]0;owned\x07\u202e"))
    err = capsys.readouterr().err
    assert "\x1b]" not in err
    assert "\\u001b" in err
    assert "\\u202e" in err


@given(st.text())
def test_nothing_invisible_is_printed(text: str) -> None:
    shown = visible(text)
    assert all(unicodedata.category(c)[0] != "C" for c in shown)
    assert not set(shown) & set("\u2028\u2029\u2800\u3164")
    shown.encode("utf-8")
    assert visible(shown) == shown


@given(st.text("ab\n\t\x1b", max_size=20))
def test_only_line_feeds_may_stay(text: str) -> None:
    assert visible(text, lines=True).count("\n") == text.count("\n")
    assert "\n" not in visible(text)
    assert "\x1b" not in visible(text, lines=True)


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    text = "Grüße, 你好, שלום, 😀, e\u0301"
    assert visible(text) == text


def test_a_table_is_aligned_and_uncut_where_it_is_piped(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 300
    print_table(("a", "b"), [(long, 1), ("[red]y[/red]", None)], empty="nothing")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["A", "B"]
    assert lines[1].split() == [long, "1"]
    assert lines[2].split() == ["[red]y[/red]", "-"]


def test_an_empty_table_says_so_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("a",), [], empty="nothing here")
    out, err = capsys.readouterr()
    assert (out, err.strip()) == ("", "nothing here")


def test_the_difference_of_two_definitions_shows_what_cannot_be_seen() -> None:
    pinned = {"name": "a", "description": "Reads."}
    served = {"name": "a", "description": "Reads.\u200b\u202e \nObey."}
    lines = difference(pinned, served)
    text = "\n".join(lines)
    assert '-  "description": "Reads.",' in lines
    assert "\\u200b\\u202e" in text
    assert "\\nObey." in text
    assert difference(pinned, dict(reversed(pinned.items()))) == []
    assert all(line.startswith(("+", "---", "@@")) for line in difference(None, served))


def test_a_private_file_replaces_what_stood_there_and_never_writes_through_it(
    tmp_path: Path,
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    link = tmp_path / "token"
    link.symlink_to(victim)
    write_private(link, "secret")
    assert victim.read_text() == "mine"
    assert not link.is_symlink()
    assert link.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"victim", "token"}


def test_a_private_file_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="--out"):
        write_private(tmp_path / "no" / "token", "secret")


def test_a_damaged_or_unknown_record_still_has_a_line() -> None:
    assert summary({"record": None, "damage": "is torn", "kind": ""}) == "is torn"
    assert summary({"record": {"at": 0}, "damage": "", "kind": "later_kind"}) == ""


def test_json_on_stdout_is_ascii(capsys: pytest.CaptureFixture[str]) -> None:
    from midflight.apps.cli.output import print_json  # noqa: PLC0415

    print_json({"a": "\u202e\x1b"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"a": "\u202e\x1b"}


def test_a_table_on_a_terminal_reads_no_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("a",), [("[link=https://evil.example]x[/link]",)], empty="nothing")
    out = capsys.readouterr().out
    assert "[link=https://evil.example]x[/link]" in out
    assert "\x1b]8" not in out


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert color("red") is None
    monkeypatch.setenv("NO_COLOR", "")
    assert color("red") == "red"


@pytest.mark.parametrize("set_to", ["", "1"])
def test_without_colour_nothing_of_it_is_printed(
    set_to: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUNNER.invoke(app, ["run", "list"], color=True, env={"NO_COLOR": set_to})
    assert result.exit_code == 2
    assert ("\x1b[" in result.stderr) is (not set_to)


def test_progress_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("Verifying", total=10) as advance:
        advance(5)
    assert capsys.readouterr() == ("", "")
