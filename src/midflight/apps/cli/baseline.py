"""`midflight baseline …`: what is usual for a workload, as detectors have learned it."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, YesFlag, note, print_json, print_table
from midflight.apps.cli.session import Session, workload_id

app = typer.Typer(help="What is usual for a workload.", no_args_is_help=True)

Workload = Annotated[str, typer.Argument(help="SPIFFE ID, or a path such as agents/triage.")]


@app.command(epilog="Example: midflight baseline show agents/triage")
def show(context: typer.Context, workload: Workload, as_json: JsonFlag = False) -> None:
    """Show what is usual for a workload, as its ended runs have shown.

    A detector that is still warming up says at most that something is unusual.
    """
    client = Session.of(context).client()
    found = client.get("/v1/baseline", workload=workload_id(client, workload))
    if as_json:
        print_json(found)
        return
    print_table(
        ("detector", "runs", "days", "warm", "usual"),
        [
            (each["detector"], each["runs"], each["days"], each["warm"], words)
            for each in found["detectors"]
            for words in each["usual"]
        ],
        empty="Nothing is known yet.",
    )


@app.command(epilog="Example: midflight baseline forget ci/release --yes")
def forget(
    context: typer.Context,
    workload: Workload,
    yes: YesFlag = False,
    as_json: JsonFlag = False,
) -> None:
    """Let a workload be learned anew, as after a change of what it is for.

    Until it has warmed up again, what it does is hardly found unusual. It is recorded who did.
    """
    client = Session.of(context).client()
    named = workload_id(client, workload)
    if not yes:
        typer.confirm(f"Forget what is usual for {named}?", abort=True, err=True)
    done = client.post("/v1/baseline/forget", workload=named)
    if as_json:
        print_json(done)
        return
    note(f"{named} is learned anew, from its next run on.")


@app.command(epilog="Example: midflight baseline accept run_4kq0wz6m2c")
def accept(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="The run, as `midflight finding list` names it.")],
    as_json: JsonFlag = False,
) -> None:
    """Learn from an ended run although something was found in it: you have looked, and it is fine.

    It counts as any other run from then on. Possible for the last of them since the plane started.
    It is recorded who did.
    """
    done = Session.of(context).client().post("/v1/baseline/accept", run=run)
    if as_json:
        print_json(done)
        return
    note(f"What it did is usual for {done['workload']}.")


__all__ = ["app"]
