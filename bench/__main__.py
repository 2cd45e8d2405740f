"""`python -m bench [NAME] [--json FILE]`: run a benchmark, print its table, write its JSON.

Without a name every one of them runs, the quick ones first, each in a process of its own (they pin
cores and fill memory); `--json` is a folder then. One that cannot run stops none of the others.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.report import show, write

NAMES = (
    "detectors",
    "flow",
    "interrupt",
    "decide",
    "leases",
    "ledger",
    "gateway",
    "identity",
    "detect",
)
"""In the order in which all of them run."""


def main(given: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES, nargs="?", help="default: all, one after another")
    parser.add_argument(
        "--json", type=Path, metavar="PATH", help="write the rows there, too; of all: a folder"
    )
    parser.add_argument("--traces", type=Path, metavar="DIR", help="recorded runs, for detect")
    arguments = parser.parse_args(given)
    if arguments.name is None:
        return run_all(arguments.json, traces=arguments.traces)
    if arguments.name == "detect" and arguments.traces is None:
        parser.error("detect needs --traces DIR")
    run_one(arguments.name, arguments.json, traces=arguments.traces)
    return 0


def run_one(name: str, json: Path | None, *, traces: Path | None) -> None:
    """Run one here."""
    given = {"traces": traces} if name == "detect" else {}
    rows = importlib.import_module(f"bench.{name}").run(**given)
    show(name, rows)
    if json is not None:
        write(json, rows)


def run_all(folder: Path | None, *, traces: Path | None) -> int:
    """Run all; 1 if one of them could not."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    failed: list[str] = []
    for name in NAMES:
        if name == "detect" and traces is None:
            print("detect: left out, it needs --traces DIR", flush=True)
            continue
        if subprocess.run(command(name, folder, traces=traces), check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"could not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def command(name: str, folder: Path | None, *, traces: Path | None) -> list[str]:
    """What runs one of all."""
    words = [sys.executable, "-m", "bench", name]
    if folder is not None:
        words += ["--json", str(folder / f"{name}.json")]
    if name == "detect":
        words += ["--traces", str(traces)]
    return words


if __name__ == "__main__":
    raise SystemExit(main())
