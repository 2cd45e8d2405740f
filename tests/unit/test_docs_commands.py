"""Every `midflight …` that README.md and docs/ show is one that the command line takes.

In a block of commands it is parsed whole, as if somebody had typed it; within a sentence its words
and options have to exist.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from midflight.apps.cli.main import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Of the whole program, not of a verb.
GLOBAL = {"--config", "-c", "--version", "--help", "-h"}


def typed(page: Path) -> list[str]:
    """What stands in blocks of commands, and in indented ones."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```(?:console|sh)\n(.*?)```", text, re.DOTALL))
    blocks += "\n".join(re.findall(r"^ {4}midflight .*$", text, re.MULTILINE))
    lines = blocks.replace("\\\n", " ").splitlines()
    found = [line.strip().removeprefix("$ ") for line in lines]
    return [line for line in found if line.startswith("midflight ")]


def mentioned(page: Path) -> list[str]:
    """What stands within sentences."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [" ".join(found.split()) for found in re.findall(r"`(midflight [^`]*)`", text)]


def leaf(words: list[str]) -> tuple[Any, list[str]]:
    """The command that words name, and what is left of them."""
    command: Any = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command, words = command.commands[words[0]], words[1:]
    return command, words


def takes(command: Any) -> set[str]:
    return {name for p in command.params for name in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize(
    ("page", "line"),
    [pytest.param(p.name, x, id=f"{p.name}: {x}") for p in PAGES for x in typed(p)],
)
def test_what_is_shown_to_be_typed_is_taken(page: str, line: str) -> None:
    del page
    command, rest = leaf(shlex.split(line, comments=True)[1:])
    assert not hasattr(command, "commands"), f"{line}: there is no such verb"
    # Parsed and not run: whatever is missing, unknown or of a wrong kind is an error.
    command.make_context(command.name, list(rest)).close()


@pytest.mark.parametrize(
    ("page", "line"),
    [pytest.param(p.name, x, id=f"{p.name}: {x}") for p in PAGES for x in mentioned(p)],
)
def test_what_is_mentioned_exists(page: str, line: str) -> None:
    del page
    words = line.split()[1:]
    command, rest = leaf(words)
    assert command.name != "midflight" or not rest or rest[0] in GLOBAL, line
    if hasattr(command, "commands"):
        assert not rest or rest[0] in {"…", "..."}, f"{line}: there is no such verb"
    for option in (word.partition("=")[0] for word in rest if word.startswith("-")):
        assert option in takes(command) | GLOBAL, f"{line}: {option}"


def test_every_page_of_stage_four_shows_commands() -> None:
    shown = {page.stem: len(typed(page)) + len(mentioned(page)) for page in PAGES}
    for stem in (
        "approvals",
        "detectors",
        "detectors-plain",
        "escalation",
        "export",
        "interruption",
        "responses",
        "shared-signals",
        "waiting",
    ):
        assert shown[stem], stem
