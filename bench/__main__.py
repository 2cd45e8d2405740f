"""`python -m bench NAME [--json FILE]`: run one benchmark, print its table, write its JSON."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from bench.report import show, write

NAMES = (
    "decide",
    "detect",
    "detectors",
    "flow",
    "gateway",
    "identity",
    "interrupt",
    "leases",
    "ledger",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there, too")
    parser.add_argument("--traces", type=Path, metavar="DIR", help="recorded runs, for detect")
    arguments = parser.parse_args()
    given = {}
    if arguments.name == "detect":
        if arguments.traces is None:
            parser.error("detect needs --traces DIR")
        given["traces"] = arguments.traces
    rows = importlib.import_module(f"bench.{arguments.name}").run(**given)
    show(arguments.name, rows)
    if arguments.json is not None:
        write(arguments.json, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
