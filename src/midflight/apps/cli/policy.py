"""`midflight policy …`: the active set of the running plane."""

from __future__ import annotations

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json
from midflight.apps.cli.session import Session

app = typer.Typer(help="The active policy set.", no_args_is_help=True)


@app.command(epilog="Example: midflight check && midflight policy reload")
def reload(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Activate what is in the policy directory. A bad set is refused and the old one stays."""
    client = Session.of(context).client()
    before = client.get("/v1/policies")["version"]
    active = client.post("/v1/policies/activate")
    if as_json:
        print_json(active | {"before": before})
        return
    print_fields({"active": active["version"], "before": before})
    if active["version"] == before:
        note("The set means the same as before.")


@app.command(epilog="Example: midflight policy show --json")
def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show the version of the active set."""
    active = Session.of(context).client().get("/v1/policies")
    if as_json:
        print_json(active)
        return
    print_fields(active)


__all__ = ["app"]
