"""Verbs that need no running plane: init, check, doctor, ledger verify and export."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from midflight.adapters.clock import SystemClock
from midflight.adapters.keys.file import open_note_signer
from midflight.adapters.store.ledger_sqlite import SqliteLedgerStore
from midflight.apps.cli.main import app
from midflight.apps.settings import load
from midflight.domain.records import Observed
from midflight.services.ledger import Ledger

RUNNER = CliRunner()


def midflight(*words: str | Path) -> Result:
    return RUNNER.invoke(app, [str(word) for word in words])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory made by `midflight init`."""
    for name in list(os.environ):
        if name.startswith("MIDFLIGHT_"):
            monkeypatch.delenv(name)
    directory = tmp_path / "home"
    assert midflight("init", directory).exit_code == 0
    monkeypatch.chdir(directory)
    return directory


# init


def test_init_makes_what_up_needs(home: Path) -> None:
    settings = load(home / "midflight.toml")
    assert settings.state.directory.stat().st_mode & 0o777 == 0o700
    assert sorted(p.suffix for p in (home / "policies" / "standard").glob("*.cedar"))
    assert list((home / "policies" / "standard" / "DENY").glob("*.json"))
    assert list((home / "policies" / "observe").glob("*.cedar"))
    assert not list((home / "policies").rglob("*.py*"))
    assert settings.traits.directory == home / "traits"
    assert "midflight traits propose" in (home / "traits" / "README.md").read_text()


def test_init_keeps_the_traits_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "traits").mkdir()
    (tmp_path / "traits" / "git.toml").write_text("mine")
    (tmp_path / "traits" / "README.md").symlink_to(tmp_path / "elsewhere")
    assert midflight("init", tmp_path).exit_code == 0
    assert (tmp_path / "traits" / "git.toml").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("taken", ["midflight.toml", "policies/standard", "policies/observe"])
def test_init_never_overwrites(tmp_path: Path, taken: str) -> None:
    standing = tmp_path / taken
    standing.parent.mkdir(parents=True, exist_ok=True)
    standing.write_text("mine")
    result = midflight("init", tmp_path)
    assert result.exit_code == 1
    assert "already exists" in result.stderr
    assert standing.read_text() == "mine"
    assert not (tmp_path / ".midflight").exists()


def test_init_does_not_write_through_a_dangling_link(tmp_path: Path) -> None:
    target = tmp_path / "elsewhere"
    (tmp_path / "midflight.toml").symlink_to(target)
    assert midflight("init", tmp_path).exit_code == 1
    assert not target.exists()


# check


def test_the_standard_policies_pass_their_check(home: Path) -> None:
    result = midflight("check", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0, report
    assert report["ok"] is True
    assert report["cases"] > 0


def test_a_policy_that_does_not_parse_is_named_with_its_line(home: Path) -> None:
    (home / "policies" / "mine.cedar").write_text("\n\npermit (principal, action, resourc);")
    result = midflight("check")
    assert result.exit_code == 1
    assert "mine.cedar:" in result.stdout
    assert "Not checked against the pinned tools" in result.stderr


def test_a_directory_can_be_checked_without_settings(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(home / "policies", elsewhere / "p")
    monkeypatch.chdir(elsewhere)
    assert midflight("check", "p").exit_code == 0


def test_an_empty_directory_is_no_good_policy(home: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert midflight("check", empty).exit_code == 1


# doctor


def findings(result: Result) -> dict[str, dict[str, Any]]:
    return {found["subject"]: found for found in json.loads(result.stdout)}


def test_the_doctor_finds_a_fresh_directory_in_order(home: Path) -> None:
    result = midflight("doctor", "--json")
    found = findings(result)
    assert result.exit_code == 0, found
    assert found["policies"]["health"] == "ok"
    assert found["state"]["health"] == "ok"
    assert found["plane"]["health"] == "warn"
    assert found["shared user"]["health"] == "warn"
    assert all(entry["help"] for entry in found.values() if entry["health"] != "ok")


def test_the_doctor_names_every_problem_of_the_settings(home: Path) -> None:
    (home / "midflight.toml").write_text("[gateway]\nlissten = 1\n[runs]\nttl = 1\n")
    result = midflight("doctor")
    assert result.exit_code == 1
    assert "gateway.lissten" in result.stdout
    assert "runs.ttl" in result.stdout


@pytest.mark.parametrize(
    ("path", "mode", "subject"),
    [
        (".midflight", 0o755, "state"),
        ("midflight.toml", 0o666, "settings"),
        ("policies/standard", 0o777, "policy files"),
        ("traits", 0o777, "traits files"),
    ],
)
def test_the_doctor_finds_what_others_can_change(
    home: Path, path: str, mode: int, subject: str
) -> None:
    (home / path).chmod(mode)
    result = midflight("doctor", "--json")
    assert result.exit_code == 1
    assert findings(result)[subject]["health"] == "fail"
    assert "chmod" in findings(result)[subject]["help"]


def test_the_doctor_reads_the_traits_files(home: Path) -> None:
    entry = f'digest = "{"0" * 64}"\neffect = "read"\nreach = "open"\nreviewed ='
    tools = f"[tool.a]\n{entry} true\n[tool.b]\n{entry} false\n"
    (home / "traits" / "git.toml").write_text(f'format = 1\nupstream = "git"\n{tools}')
    found = findings(midflight("doctor", "--json"))["traits files"]
    assert (found["health"], found["text"]) == ("ok", "1 tools reviewed, 1 wait for a person")
    (home / "traits" / "git.toml").rename(home / "traits" / "mail.toml")
    found = findings(midflight("doctor", "--json"))["traits files"]
    assert found["health"] == "fail"
    assert "about the upstream 'git'" in found["text"]


def test_the_doctor_looks_at_secrets_and_never_shows_them(home: Path) -> None:
    (home / "secret").write_text("hunter2hunter2")
    (home / "secret").chmod(0o644)
    (home / "midflight.toml").write_text(
        """
[[upstream]]
name = "a"
url = "http://127.0.0.1:1/mcp"
headers = { Authorization = "Bearer file:secret", X-Other = "env:NOT_SET_ANYWHERE" }
[[upstream]]
name = "b"
command = "no-such-program-anywhere"
"""
    )
    result = midflight("doctor", "--json")
    found = findings(result)
    assert result.exit_code == 1
    assert found["secret a.Authorization"]["health"] == "warn"
    assert found["secret a.X-Other"]["health"] == "fail"
    assert found["upstream a"]["health"] == "warn"
    assert found["upstream b"]["health"] == "fail"
    assert "hunter2" not in result.stdout + result.stderr


def test_the_doctor_finds_a_port_that_is_taken(home: Path) -> None:
    import socket  # noqa: PLC0415

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (home / "midflight.toml").write_text(f'[gateway]\nlisten = "127.0.0.1:{port}"\n')
        found = findings(midflight("doctor", "--json"))
    assert found["gateway port"]["health"] == "fail"


# ledger


@pytest.fixture
def ledger(home: Path) -> Path:
    """A ledger of 20 records with a checkpoint, as a plane leaves it."""
    state = home / ".midflight"
    signer = open_note_signer(state / "keys", origin="midflight.internal")
    path = state / "ledger.sqlite3"

    async def write() -> str:
        ledger = Ledger(SqliteLedgerStore(path), signer=signer, clock=SystemClock())
        await ledger.start("test", "none")
        for number in range(20):
            ledger.append(Observed(at=float(number), what="test", subject=str(number)))
        note = await ledger.checkpoint_now()
        await ledger.close()
        return note

    (home / "published.txt").write_text(asyncio.run(write()))
    (home / "ledger.pub").write_text(signer.verifier_key() + "\n")
    return path


def tampered(ledger: Path, statement: str) -> Path:
    copy = ledger.with_name("copy.sqlite3")
    shutil.copy(ledger, copy)
    connection = sqlite3.connect(copy)
    with connection:
        # Whoever holds the file also takes away what would stop an accident.
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (name,) in triggers.fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute(statement)
    connection.close()
    return copy


def test_a_ledger_verifies_by_default_with_the_key_beside_it(ledger: Path) -> None:
    result = midflight("ledger", "verify", "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 0, report
    assert report["key"] == "beside the ledger"
    assert report["entries"] >= 21
    assert report["signed_up_to"] == report["entries"]


def test_a_ledger_verifies_against_a_published_checkpoint_and_key(home: Path, ledger: Path) -> None:
    result = midflight(
        "ledger", "verify", ledger, "--checkpoint", "published.txt", "--key", "ledger.pub", "--json"
    )
    report = json.loads(result.stdout)
    assert result.exit_code == 0, report
    assert report["key"] == "given"
    assert report["published_up_to"] > 0


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE entry SET body = CAST(replace(body, 'test', 'b') AS BLOB) WHERE position = 7",
        "DELETE FROM entry WHERE position = 7",
    ],
)
def test_a_changed_ledger_ends_with_one_and_the_name_of_the_entry(
    ledger: Path, statement: str
) -> None:
    result = midflight("ledger", "verify", tampered(ledger, statement))
    assert result.exit_code == 1
    assert "-7" in result.stdout or "position 7" in result.stdout, result.stdout


def test_a_cut_tail_is_found_against_a_published_checkpoint(home: Path, ledger: Path) -> None:
    copy = tampered(ledger, "DELETE FROM entry WHERE position > 10")
    result = midflight("ledger", "verify", copy, "--checkpoint", "published.txt", "--json")
    assert result.exit_code == 1
    kinds = {problem["kind"] for problem in json.loads(result.stdout)["problems"]}
    assert "cut_tail" in kinds


def test_an_exported_ledger_verifies_and_is_not_overwritten(home: Path, ledger: Path) -> None:
    assert midflight("ledger", "export", "audit.jsonl").exit_code == 0
    assert (home / "audit.jsonl").stat().st_mode & 0o777 == 0o600
    result = midflight(
        "ledger", "verify", "audit.jsonl", "--checkpoint", "published.txt", "--key", "ledger.pub"
    )
    assert result.exit_code == 0, result.stdout
    again = midflight("ledger", "export", "audit.jsonl")
    assert again.exit_code == 2
    text = (home / "audit.jsonl").read_text().replace('"7"', '"8"').replace('\\"7\\"', '\\"8\\"')
    (home / "audit.jsonl").write_text(text)
    assert midflight("ledger", "verify", "audit.jsonl").exit_code == 1


@pytest.mark.parametrize("content", [b"", b"hello", b"SQLite format 3\0 and nothing", b"{}\n"])
def test_what_is_no_ledger_ends_with_two(home: Path, content: bytes) -> None:
    (home / "x").write_bytes(content)
    result = midflight("ledger", "verify", "x")
    assert result.exit_code == 2
    assert "Traceback" not in result.stderr
    assert midflight("ledger", "verify", "not-there").exit_code == 2


@pytest.mark.parametrize("option", ["--checkpoint", "--key"])
def test_a_checkpoint_or_key_that_is_none_is_said_so(home: Path, ledger: Path, option: str) -> None:
    (home / "junk").write_text("junk")
    assert midflight("ledger", "verify", option, "junk").exit_code in {1, 2}
    assert midflight("ledger", "verify", option, "not-there").exit_code == 2
