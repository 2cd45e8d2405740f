"""`midflight finding …`: what detectors, canaries and signals have said."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_json, print_table
from midflight.apps.cli.session import Session, workload_id
from midflight.apps.durations import iso, seconds
from midflight.domain.finding import Strength

app = typer.Typer(help="What detectors have found.", no_args_is_help=True)


@app.command("list", epilog="Example: midflight finding list --workload agents/triage --since 1d")
def list_findings(
    context: typer.Context,
    workload: Annotated[str | None, typer.Option(help="Only about this workload.")] = None,
    run: Annotated[str | None, typer.Option(help="Only in this run.")] = None,
    detector: Annotated[str | None, typer.Option(help="Only of this one: burst, probing.")] = None,
    strength: Annotated[str, typer.Option(help="From this on: weak, fair, strong.")] = "weak",
    since: Annotated[str, typer.Option(help="How far to look back: 1h, 1d, 30d.")] = "7d",
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, max=1000, help="How many, the last ones.")
    ] = 100,
    as_json: JsonFlag = False,
) -> None:
    """List findings, newest first. `midflight ledger show` shows the records they name."""
    try:
        back = seconds(since)
    except ValueError as error:
        raise typer.BadParameter(f"{since!r} {error}", param_hint="--since") from None
    try:
        least = Strength[strength.upper()]
    except KeyError:
        raise typer.BadParameter(
            f"{strength!r} is not weak, fair or strong", param_hint="--strength"
        ) from None
    client = Session.of(context).client()
    found = client.get(
        "/v1/findings",
        workload=None if workload is None else workload_id(client, workload),
        run=run,
        detector=detector,
        strength=int(least),
        since=int(time.time()) - back,
        count=count,
    )
    if as_json:
        print_json(found)
    else:
        print_table(
            ("at", "detector", "strength", "workload", "run", "seen", "usual", "after", "record"),
            [
                (
                    iso(f["at"]),
                    f["detector"],
                    Strength(f["strength"]).name.lower(),
                    f["workload"],
                    f["run"] or None,
                    f["seen"],
                    f["usual"] or None,
                    f["after"] or None,
                    each["record"],
                )
                for each in found["findings"]
                for f in [each["finding"]]
            ],
            empty="Nothing was found.",
        )
    if not found["complete"]:
        note("There are more since then than are shown: these are the last.")


__all__ = ["app"]
