"""`midflight counterparty …`: whom an owner has dealt with before, for a time."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.approval_screen import name, quoted
from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso, seconds
from midflight.domain.traits import Role

app = typer.Typer(
    help="Known counterparties: whom an owner deals with, by his own word and for a time.",
    no_args_is_help=True,
)

OwnerOption = Annotated[str, typer.Option(help="Whose list.")]
ValueArgument = Annotated[
    str, typer.Argument(metavar="VALUE", help="A mail address, an account, a web address.")
]


@app.command("list", epilog="Example: midflight counterparty list --owner ann")
def list_counterparties(
    context: typer.Context,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """List known counterparties, oldest first."""
    found = Session.of(context).client().get("/v1/counterparties", owner=owner)
    if as_json:
        print_json(found)
        return
    print_table(
        ("owner", "value", "role", "key", "by", "since", "until", "approval"),
        [
            (
                name(entry["owner"]),
                "(erased)" if entry["value"] is None else quoted(entry["value"]),
                entry["role"],
                entry["key"][:16],
                name(entry["added_by"]),
                iso(entry["added_at"]),
                iso(entry["expires_at"]),
                entry["approval"] or None,
            )
            for entry in found
        ],
        empty="Nobody is known.",
    )


@app.command(epilog="Example: midflight counterparty add billing@example.org --owner ann --for 90d")
def add(
    context: typer.Context,
    value: ValueArgument,
    owner: OwnerOption,
    duration: Annotated[str, typer.Option("--for", help="For how long: 30d, at most 366d.")],
    role: Annotated[Role, typer.Option(help="recipient, account or url.")] = Role.RECIPIENT,
    as_json: JsonFlag = False,
) -> None:
    """Know a counterparty for a time. Takes an operator who answers for the owner."""
    try:
        for_s = seconds(duration)
    except ValueError as error:
        raise typer.BadParameter(f"{duration!r} {error}", param_hint="--for") from None
    added = (
        Session.of(context)
        .client()
        .post("/v1/counterparties", owner=owner, value=value, role=role.value, for_s=for_s)
    )
    if as_json:
        print_json(added)
        return
    print_fields(
        {"owner": added["owner"], "value": quoted(added["value"]), "key": added["key"]}
        | {"until": iso(added["expires_at"])}
    )


@app.command(epilog="Example: midflight counterparty remove billing@example.org --owner ann")
def remove(
    context: typer.Context, value: ValueArgument, owner: OwnerOption, as_json: JsonFlag = False
) -> None:
    """Know a counterparty no more: its value, or at least eight characters of its key."""
    removed = (
        Session.of(context).client().post("/v1/counterparties/remove", owner=owner, value=value)
    )
    if as_json:
        print_json(removed)
        return
    note(f"{owner} does not know it any more ({removed['key'][:16]}).")


__all__ = ["app"]
