"""`midflight keys …`: the keys that sign tokens and events."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso
from midflight.services.ports.keys import Purpose

app = typer.Typer(
    help="Signing keys: one a purpose, rotated with an overlap, withdrawn at once.",
    no_args_is_help=True,
)


@app.command("list", epilog="Example: midflight keys list --json")
def list_keys(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List keys by purpose: which one signs, which will, which still verify."""
    found = Session.of(context).client().get("/v1/keys")
    if as_json:
        print_json(found)
        return
    print_table(
        ("purpose", "state", "kid", "algorithm", "held by", "published", "signs from", "until"),
        [
            (
                key["purpose"],
                key["state"],
                key["kid"],
                key["algorithm"],
                key["backend"],
                iso(key["since"]),
                None if key["signs_from"] is None else iso(key["signs_from"]),
                None if key["until"] is None else iso(key["until"]),
            )
            for key in found
        ],
        empty="There are no keys.",
    )


@app.command(epilog="Example: midflight keys rotate access-token")
def rotate(
    context: typer.Context,
    purpose: Annotated[
        Purpose | None, typer.Argument(help="Of which purpose. Default: of all.")
    ] = None,
    now: Annotated[
        bool, typer.Option("--now", help="An emergency: sign with it before verifiers know it.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Announce the next key. It signs once every verifier has had time to fetch it."""
    client = Session.of(context).client()
    found = client.post(
        "/v1/keys/rotate", purpose=None if purpose is None else purpose.value, now=now
    )
    if as_json:
        print_json(found)
        return
    for done in found:
        print_fields(
            {
                "purpose": done["purpose"],
                "kid": done["kid"],
                "signs from": iso(done["signs_from"]),
            }
        )
        if done["breaks"]:
            note(done["breaks"])
    if not now:
        note("The key before verifies for as long as what it signed may live.")


@app.command(epilog="Example: midflight keys withdraw KID")
def withdraw(
    context: typer.Context,
    kid: Annotated[str, typer.Argument(metavar="KID", help="As `midflight keys list` shows it.")],
    as_json: JsonFlag = False,
) -> None:
    """Drop a key that others may know: everything that it ever signed stops at once."""
    found = Session.of(context).client().post("/v1/keys/withdraw", kid=kid)
    if as_json:
        print_json(found)
        return
    print_fields(
        {"purpose": found["purpose"], "withdrawn": found["kid"], "signs": found["signs"] or None}
    )
    if found["signs"]:
        note("Its tokens are refused here from now on; workloads need new ones.")
        note("Others that cached the key set believe them for up to five minutes more.")
    else:
        note("No key signs: none could be made. The log says why; it is tried again.")


__all__ = ["app"]
