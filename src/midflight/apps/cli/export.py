"""`midflight export …`: who is told of what happens, and how much waits for whom."""

from __future__ import annotations

import typer

from midflight.apps.cli.output import JsonFlag, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso

app = typer.Typer(help="Exports: collectors that are told of every record.", no_args_is_help=True)


@app.command("list", epilog="Example: midflight export list --json")
def list_exports(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the collectors of the settings: what each has, what waits for it, and what fails.

    Nothing is lost while one fails: what waits is in the ledger.
    """
    found = Session.of(context).client().get("/v1/exports")
    if as_json:
        print_json(found)
        return
    print_table(
        ("export", "has up to", "waiting", "sent", "failures", "failing since", "why"),
        [
            (
                each["name"],
                each["position"],
                each["behind"],
                each["sent"],
                each["failures"],
                None if each["failing_since"] is None else iso(int(each["failing_since"])),
                each["why"] or None,
            )
            for each in found
        ],
        empty="Nobody is told. An [[export]] in midflight.toml is a collector.",
    )


__all__ = ["app"]
