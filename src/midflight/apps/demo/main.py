"""`midflight demo`: sets the stage, plays the acts, and fails if one did not do what it should."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

from midflight.domain.errors import MidflightError, Unavailable

SERVERS = Path(".tools/demo/bin")
"""Where `make sync` installs the tool servers, in an environment of their own."""


def run(servers: Path | None = None) -> int:
    """Play the demo; the exit code: 0 only if every step did what it should."""
    try:
        import mcp  # noqa: F401, PLC0415 # pyright: ignore[reportUnusedImport] -- is it there?
    except ImportError:
        sys.stderr.write("The demo's agent needs the mcp client: pip install 'midflight[demo]'\n")
        return 2
    try:
        with tempfile.TemporaryDirectory(prefix="midflight-demo-") as folder:
            return 0 if _play(Path(folder), (servers or SERVERS).absolute()) else 1
    except Unavailable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except MidflightError as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _play(folder: Path, servers: Path) -> bool:
    # Here, since they need the mcp client, which `run` has looked for.
    from midflight.apps.demo import acts, lent, turned  # noqa: PLC0415 -- needs the demo extra
    from midflight.apps.demo.screen import Screen  # noqa: PLC0415 -- needs the demo extra
    from midflight.apps.demo.stage import stage  # noqa: PLC0415 -- needs the demo extra

    began = time.monotonic()
    screen = Screen()
    screen.title(
        "Midflight",
        "An agent with real privileges, three tool servers, and what happens when it is turned.\n"
        "git and web are servers that nobody here wrote; everything runs on this machine.",
    )
    results: list[tuple[str, bool]] = []

    def play(checks: list[tuple[str, bool]]) -> None:
        screen.checks(checks)
        results.extend(checks)

    with stage(folder, servers) as built:
        screen.act(0, "The operator registers an agent and pins the tools it may use")
        acts.set_up(built, screen)
        screen.act(1, "An honest task")
        play(asyncio.run(acts.honest(built, screen)))
        screen.act(2, "A poisoned page turns the agent")
        play(asyncio.run(acts.poisoned(built, screen)))
        screen.act(3, "A revocation cuts what is running")
        play(asyncio.run(acts.interrupted(built, screen)))
        screen.act(4, "Another document turns it: found, held, asked about, stopped")
        play(asyncio.run(turned.turned(built, screen)))
        screen.act(5, "A credential that the agent never sees")
        play(asyncio.run(lent.lent(built, screen)))
        screen.act(6, "The ledger proves it")
        play(acts.ledger(built, screen))
    good = all(passed for _, passed in results)
    screen.end(good=good, seconds=time.monotonic() - began)
    return good


__all__ = ["SERVERS", "run"]
