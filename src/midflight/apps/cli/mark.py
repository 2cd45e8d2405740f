"""`midflight mark …`: what untrusted runs have written into upstreams."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.approval_screen import name
from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso

app = typer.Typer(
    help="Marks: what untrusted runs have written, so that later readers are untrusted, too.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: midflight mark list")
def list_marks(
    context: typer.Context,
    upstream: Annotated[str | None, typer.Option(help="Only of this upstream.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List marks by upstream and the run that made them."""
    found = Session.of(context).client().get("/v1/marks", upstream=upstream)
    if as_json:
        print_json(found)
        return
    print_table(
        ("upstream", "run", "marks", "since"),
        [(name(m["upstream"]), m["run"], str(m["marks"]), iso(m["since"])) for m in found],
        empty="No untrusted run has written anything.",
    )


@app.command(epilog="Example: midflight mark clear notes --run RUN")
def clear(
    context: typer.Context,
    upstream: Annotated[str, typer.Argument(help="Whose marks.")],
    run: Annotated[str | None, typer.Option(help="Only those that this run alone made.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Forget marks, having looked at what was written: it counts as clean from now on."""
    found = Session.of(context).client().post("/v1/marks/clear", upstream=upstream, run=run)
    if as_json:
        print_json(found)
        return
    print_fields({"upstream": name(found["upstream"]), "marks": found["marks"]})
    note("What those runs wrote is no longer told from what others wrote.")


__all__ = ["app"]
