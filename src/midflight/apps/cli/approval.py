"""`midflight approval …`: what waits for a person, and answering it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.approval_screen import name, screen
from midflight.apps.cli.output import JsonFlag, note, print_json, print_table
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso, seconds
from midflight.domain.approval import ApprovalState

app = typer.Typer(
    help="Approvals: actions that wait for a person. A yes is for one action, once.",
    no_args_is_help=True,
)

Identifier = Annotated[str, typer.Argument(metavar="ID", help="The approval's id.")]


@app.command("list", epilog="Example: midflight approval list")
def list_approvals(
    context: typer.Context,
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    state: Annotated[
        ApprovalState, typer.Option(help="Only in this state.")
    ] = ApprovalState.PENDING,
    every: Annotated[bool, typer.Option("--all", help="In every state.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """List what waits for an answer, newest first."""
    wanted = None if every else state.value
    found = Session.of(context).client().get("/v1/approvals", run=run, state=wanted)
    if as_json:
        print_json(found)
        return
    print_table(
        ("approval", "state", "action", "workload", "run", "must agree", "concerns", "until"),
        [
            (
                entry["id"],
                entry["state"],
                name(f"{entry['upstream']}/{entry['name']}"),
                name(entry["workload"]),
                entry["run"],
                [name(approver) for approver in entry["missing"]],
                entry["facts"]["flow"]["concerns"],
                iso(entry["expires_at"]),
            )
            for entry in found
        ],
        empty="Nothing waits for an answer." if wanted == "pending" else "There are none.",
    )


@app.command(epilog="Example: midflight approval show ID")
def show(context: typer.Context, approval: Identifier, as_json: JsonFlag = False) -> None:
    """Show an action that waits: what it would do, where its arguments come from, who asks."""
    _show(Session.of(context).client().get(f"/v1/approvals/{segment(approval)}"), as_json=as_json)


@app.command(epilog="Example: midflight approval approve ID --remember 30d")
def approve(
    context: typer.Context,
    approval: Identifier,
    remember: Annotated[
        str | None,
        typer.Option(help="Know its recipients, accounts and addresses for so long: 30d."),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Approve this very action, once, until it expires. Look at it first: approval show ID."""
    try:
        remember_s = 0 if remember is None else seconds(remember)
        if remember is not None and remember_s == 0:
            raise ValueError("is no time at all")  # noqa: TRY301 -- told like the others
    except ValueError as error:
        raise typer.BadParameter(f"{remember!r} {error}", param_hint="--remember") from None
    client = Session.of(context).client()
    found = client.post(f"/v1/approvals/{segment(approval)}/approve", remember_s=remember_s)
    _show(found, as_json=as_json)
    if found["state"] == ApprovalState.APPROVED.value:
        note(f"Approved. It passes when it is tried again before {iso(found['expires_at'])}.")
    else:
        note(f"Noted. Still to agree: {', '.join(found['missing'])}.")


@app.command(epilog="Example: midflight approval refuse ID")
def refuse(context: typer.Context, approval: Identifier, as_json: JsonFlag = False) -> None:
    """Refuse this very action. It is not asked about again in its run."""
    client = Session.of(context).client()
    _show(client.post(f"/v1/approvals/{segment(approval)}/refuse"), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for line in screen(found):
        typer.echo(line)


__all__ = ["app"]
