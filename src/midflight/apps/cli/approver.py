"""`midflight approver …`: people with an account on the approval page."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from midflight.apps.cli.output import (
    JsonFlag,
    note,
    print_fields,
    print_json,
    print_table,
)
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso

app = typer.Typer(
    help="Approvers: people who answer on the approval page, with a passkey or codes.",
    no_args_is_help=True,
)

Name = Annotated[str, typer.Argument(help="What policies and settings call the approver.")]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="An approver of policies that it answers for. Repeat for more."),
]


@app.command(epilog="Example: midflight approver add alice --group payments-oncall")
def add(
    context: typer.Context, name: Name, group: Groups = None, as_json: JsonFlag = False
) -> None:
    """Make an account. Nobody can sign in to it before it is enrolled."""
    client = Session.of(context).client()
    _show(client.post("/v1/approvers", name=name, groups=group or []), as_json=as_json)
    note(f"Now `midflight approver enroll {name}`, and hand the code over.")


@app.command("list", epilog="Example: midflight approver list --json")
def list_approvers(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the accounts, and which factors they have."""
    found = Session.of(context).client().get("/v1/approvers")
    if as_json:
        print_json(found)
        return
    print_table(
        ("approver", "groups", "passkeys", "codes", "disabled", "by", "at"),
        [
            (e["name"], e["groups"], e["passkeys"], e["totp"], e["disabled"], e["by"], iso(e["at"]))
            for e in found
        ],
        empty="There are none. Make one with `midflight approver add`.",
    )


@app.command(epilog="Example: midflight approver enroll alice")
def enroll(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Print a code to enrol a passkey or codes with: once, for ten minutes.

    Hand it to the person over a way that nobody else reads.
    """
    made = Session.of(context).client().post("/v1/approvers/enroll", name=name)
    if as_json:
        print_json(made)
        return
    typer.echo(made["code"])
    note(f"To be typed at {made['url']} before {iso(made['expires_at'])}.")


@app.command(epilog="Example: midflight approver groups alice --group payments-oncall")
def groups(
    context: typer.Context, name: Name, group: Groups = None, as_json: JsonFlag = False
) -> None:
    """Set what it answers for besides its own name: what is named here, and nothing else."""
    client = Session.of(context).client()
    found = client.post("/v1/approvers/change", name=name, groups=group or [])
    _show(found, as_json=as_json)


@app.command(epilog="Example: midflight approver disable alice")
def disable(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Let nobody sign in to it; who is signed in is not any more."""
    client = Session.of(context).client()
    _show(client.post("/v1/approvers/change", name=name, disabled=True), as_json=as_json)


@app.command(epilog="Example: midflight approver enable alice")
def enable(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Let its person sign in again."""
    client = Session.of(context).client()
    _show(client.post("/v1/approvers/change", name=name, disabled=False), as_json=as_json)


@app.command(epilog="Example: midflight approver reset alice")
def reset(context: typer.Context, name: Name, as_json: JsonFlag = False) -> None:
    """Forget all its passkeys and codes, for a person who has lost them. Then enrol again."""
    client = Session.of(context).client()
    _show(client.post("/v1/approvers/reset", name=name), as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        {
            "approver": found["name"],
            "groups": found["groups"],
            "passkeys": found["passkeys"],
            "codes": found["totp"],
            "disabled": found["disabled"],
        }
    )


__all__ = ["app"]
