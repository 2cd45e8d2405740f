"""`midflight demo`, all of it, on real servers: as somebody runs it who has just come."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from counterpart_kit import ROOT

SERVERS = ROOT / ".tools" / "demo" / "bin"


def play(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "midflight.apps.cli.main", "demo", *words],
        cwd=cwd,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_demo_shows_a_turned_agent_found_held_asked_about_and_stopped(tmp_path: Path) -> None:
    done = play(tmp_path, "--servers", str(SERVERS))
    assert done.returncode == 0, done.stdout + done.stderr
    out = done.stdout
    # Nothing that had to be true was not: refusals have a mark, too, but it is indented more.
    assert "\n  ✘" not in out
    act = out[out.index("4. Another document turns it") : out.index("5. A credential")]
    act = " ".join(act.split())  # lines are folded where the screen ends
    for line in (
        "8 × ✘ unpinned",
        "probing fair 8 different refusals",
        "✘ approval_required",
        "standard/challenged",
        "ann says yes, once. The agent comes again:",
        "✔ passed",
        "detector:canary: old-keys was read",
        "✔ trying what it was never given was found",
        "✔ policy held the run, before anybody looked",
        "✔ ann said yes, and it was sent",
        "✔ its text never reached the agent",
        "✔ the export was cut by it, half-way",
        "✔ the impact record names it",
    ):
        assert line in act, line
    assert re.search(r"challenge until [^a-z]*Z by detector:probing", act)
    assert re.search(r"cut 2 in flight, within \d+\.\d ms", act)
    assert re.search(r"bytes out office [\d,]+", act)
    # What was planted stands nowhere on the screen.
    assert "key_live" not in out
    assert not any(tmp_path.iterdir())


def test_without_its_servers_the_demo_says_what_would_help(tmp_path: Path) -> None:
    done = play(tmp_path, "--servers", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stdout.splitlines()[-1].startswith("╰")
    assert "mcp-server-git and mcp-server-fetch not found" in done.stderr
    assert "--servers" in done.stderr
    assert "Traceback" not in done.stderr
