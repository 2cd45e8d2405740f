"""How the command line speaks: tables or JSON on stdout, one teaching line on stderr, exit codes.

| code | meaning |
|---|---|
| 0 | done, or the answer is yes |
| 1 | the answer is no, or a check failed |
| 2 | used wrongly, or it cannot be done here and now |

Text that agents and tools wrote is hostile: control and bidirectional characters are made visible
before they reach a terminal, and nothing is read as markup.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from midflight.apps.cli.tables import NONE, fitted
from midflight.domain.errors import Conflict, Forbidden, MidflightError, NotFound
from midflight.domain.plain import visible

EXIT_NO = 1
EXIT_CANNOT = 2

# A verdict about what was asked, against a failure to ask.
_NO = (NotFound, Conflict, Forbidden)

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]
YesFlag = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def print_json(value: Any) -> None:
    """Print JSON in ASCII, so that nothing in it is invisible."""
    typer.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """Print a table: fitted to a terminal, aligned and uncut elsewhere.

    Where a terminal is too narrow for it, each row is shown as its fields, so that an id is never
    broken in two. `empty` is said (on stderr) when there are no rows.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    if not cells:
        note(empty)
    elif sys.stdout.isatty():
        _print_fitted(columns, cells)
    else:
        lines = [[name.upper() for name in columns], *cells]
        widths = [max(len(line[index]) for line in lines) for index in range(len(columns))]
        for line in lines:
            padded = (text.ljust(width) for text, width in zip(line, widths, strict=True))
            typer.echo("  ".join(padded).rstrip())


def print_fields(fields: Mapping[str, Any]) -> None:
    """Print names and values, one a line; empty ones are left out."""
    shown = {name: _cell(value) for name, value in fields.items() if value not in (None, "", [])}
    width = max((len(name) for name in shown), default=0)
    for name, text in shown.items():
        typer.echo(f"{name.ljust(width)}  {text}")


def note(text: str) -> None:
    """Say something to the person, on stderr, so that stdout stays what was asked for."""
    typer.echo(visible(text, lines=True), err=True)


def report(error: MidflightError) -> int:
    """Print an error and return the exit code."""
    typer.secho(f"midflight: {visible(str(error), lines=True)}", err=True, fg=color("red"))
    return EXIT_NO if isinstance(error, _NO) else EXIT_CANNOT


def color(name: str) -> str | None:
    """A colour, unless NO_COLOR is set (no-color.org)."""
    return None if os.environ.get("NO_COLOR") else name


def _cell(value: Any) -> str:
    match value:
        case None:
            return NONE
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(_cell(item) for item in value) or NONE  # pyright: ignore[reportUnknownVariableType]
        case _:
            return visible(str(value)) or NONE


def _print_fitted(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    lines = fitted(columns, cells, room=shutil.get_terminal_size().columns)
    if lines is not None:
        typer.secho(lines[0], bold=True)
        for line in lines[1:]:
            typer.echo(line)
        return
    for index, row in enumerate(cells):
        if index:
            typer.echo()
        named = zip(columns, row, strict=True)
        print_fields({name: text for name, text in named if text != NONE})


__all__ = [
    "EXIT_CANNOT",
    "EXIT_NO",
    "JsonFlag",
    "YesFlag",
    "color",
    "note",
    "print_fields",
    "print_json",
    "print_table",
    "report",
]
