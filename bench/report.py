"""What every benchmark gives back: rows with a value, a unit and perhaps a target.

The JSON form is a list of `{name, value, unit, target, met}`.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Row(NamedTuple):
    """One number. `target` and `met` are None where nothing is promised."""

    name: str
    value: float
    unit: str
    target: float | None = None
    met: bool | None = None


def at_least(name: str, value: float, unit: str, target: float) -> Row:
    """A row that is met when the value reaches the target."""
    return Row(name, value, unit, target, value >= target)


def at_most(name: str, value: float, unit: str, target: float) -> Row:
    """A row that is met when the value stays within the target."""
    return Row(name, value, unit, target, value <= target)


def median(values: Sequence[float]) -> float:
    """The median of several rounds: machines are noisy, means are not to be trusted."""
    return statistics.median(values)


def percentile(values: Sequence[float], percent: float) -> float:
    """The value below which `percent` of the sorted values lie (nearest rank)."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, round(percent / 100 * len(ordered)) - 1))
    return ordered[rank]


def show(title: str, rows: Sequence[Row]) -> None:
    """Print the table."""
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    table.add_column("unit")
    table.add_column("target", justify="right")
    table.add_column("met")
    for row in rows:
        target = "" if row.target is None else f"{row.target:,g}"
        met = {None: "", True: "[green]yes[/]", False: "[red]no[/]"}[row.met]
        table.add_row(row.name, _number(row.value), row.unit, target, met)
    Console().print(table)


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write the JSON form."""
    text = json.dumps([row._asdict() for row in rows], indent=2)
    path.write_text(text + "\n", encoding="utf-8")


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:,.3g}"


__all__ = ["Row", "at_least", "at_most", "median", "percentile", "show", "write"]
