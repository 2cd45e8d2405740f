"""`midflight policy …`: the active set of the running plane."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session, workload_id
from midflight.apps.durations import seconds

app = typer.Typer(help="The active policy sets.", no_args_is_help=True)


@app.command(epilog="Example: midflight check && midflight policy reload")
def reload(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Activate what is in the policy directory. A bad set is refused and the old one stays."""
    client = Session.of(context).client()
    before = client.get("/v1/policies")["version"]
    active = client.post("/v1/policies/activate")
    if as_json:
        print_json(active | {"before": before})
        return
    print_fields({"active": active["version"], "before": before, "observe": active["observe"]})
    if active["version"] == before:
        note("The set means the same as before.")


@app.command(epilog="Example: midflight policy show --json")
def show(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show the versions of the active sets: the standard one, and that of observers."""
    active = Session.of(context).client().get("/v1/policies")
    if as_json:
        print_json(active)
        return
    print_fields(active)


@app.command(epilog="Example: midflight policy shadow --workload agents/triage --since 1d")
def shadow(
    context: typer.Context,
    workload: Annotated[str | None, typer.Option(help="Only of this workload.")] = None,
    since: Annotated[str, typer.Option(help="How far to look back: 1h, 1d, 30d.")] = "1d",
    as_json: JsonFlag = False,
) -> None:
    """Show what would have been decided for workloads in mode observe, had they been enforced."""
    try:
        back = seconds(since)
    except ValueError as error:
        raise typer.BadParameter(f"{since!r} {error}", param_hint="--since") from None
    client = Session.of(context).client()
    found = client.get(
        "/v1/policies/shadow",
        workload=None if workload is None else workload_id(client, workload),
        since=int(time.time()) - back,
    )
    if as_json:
        print_json(found)
    else:
        print_table(
            ("count", "would be", "was", "workload", "action", "because of", "last"),
            [
                (
                    r["count"],
                    r["said"],
                    r["decided"],
                    r["workload"],
                    f"{r['upstream']}/{r['name']}",
                    r["policies"],
                    r["last"],
                )
                for r in found["rows"]
            ],
            empty="No workload in mode observe has done anything since.",
        )
    if not found["complete"]:
        note("The ledger has more records since then than were looked at: these are the last.")


__all__ = ["app"]
