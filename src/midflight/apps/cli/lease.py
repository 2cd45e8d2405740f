"""`midflight lease …`: what is lent to which run, and taking it back."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import (
    EXIT_NO,
    JsonFlag,
    note,
    print_fields,
    print_json,
    print_table,
)
from midflight.apps.cli.session import Session, segment
from midflight.apps.durations import iso
from midflight.domain.lease import LeaseState

app = typer.Typer(help="Credentials that are lent to runs.", no_args_is_help=True)

Run = Annotated[str | None, typer.Option(help="Only of this run.")]
Credential = Annotated[str | None, typer.Option(help="Only of this credential.")]


@app.command("list", epilog="Example: midflight lease list --run RUN --json")
def list_leases(
    context: typer.Context,
    run: Run = None,
    credential: Credential = None,
    state: Annotated[LeaseState | None, typer.Option(help="Only in this state.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List leases, newest first: all but those that are revoked, unless a state is given."""
    found = (
        Session.of(context)
        .client()
        .get(
            "/v1/leases",
            run=run,
            credential=credential,
            state=None if state is None else state.value,
        )
    )
    if as_json:
        print_json(found)
        return
    print_leases(found)


@app.command(epilog="Example: midflight lease show LEASE")
def show(
    context: typer.Context,
    lease: Annotated[str, typer.Argument(help="The lease's id.")],
    as_json: JsonFlag = False,
) -> None:
    """Show one lease; never what was lent."""
    found = Session.of(context).client().get(f"/v1/leases/{segment(lease)}")
    if as_json:
        print_json(found)
        return
    times = ("created_at", "expires_at", "max_expires_at")
    print_fields({key: iso(value) if key in times else value for key, value in found.items()})


@app.command(epilog='Example: midflight lease revoke --run RUN --reason "leaked"')
def revoke(
    context: typer.Context,
    lease: Annotated[str | None, typer.Argument(help="The lease's id.")] = None,
    run: Annotated[str | None, typer.Option(help="All of this run and its children.")] = None,
    credential: Annotated[str | None, typer.Option(help="All of this credential.")] = None,
    reason: Annotated[str, typer.Option(help="Why.")] = "",
    as_json: JsonFlag = False,
) -> None:
    """Take leases back now. New ones can be had: `midflight revoke credential NAME` stops that.

    Exit code 1 if a backend did not end one yet; that is tried until it does.
    """
    if [lease, run, credential].count(None) != 2:
        raise typer.BadParameter("name a lease, --run or --credential, and one of them only")
    asked = {"lease": lease, "run": run, "credential": credential}
    found = (
        Session.of(context)
        .client()
        .post(
            "/v1/leases/revoke",
            reason=reason,
            **{key: value for key, value in asked.items() if value is not None},
        )
    )
    left = [each for each in found if each["state"] != LeaseState.REVOKED.value]
    if as_json:
        print_json(found)
    else:
        print_leases(found)
        if left:
            note(f"{len(left)} of them are used no more and not ended at their backend yet.")
    if left:
        raise typer.Exit(EXIT_NO)


def print_leases(found: list[dict[str, Any]]) -> None:
    """A table of leases."""
    print_table(
        ("lease", "credential", "run", "scopes", "state", "expires", "attempts", "problem"),
        [
            (
                each["id"],
                each["credential"],
                each["run"],
                ", ".join(each["scopes"]) or None,
                f"{each['state']} (stuck)" if each["stuck"] else each["state"],
                iso(each["expires_at"]),
                each["attempts"] or None,
                each["error"] or None,
            )
            for each in found
        ],
        empty="There are no such leases.",
    )


__all__ = ["app", "print_leases"]
