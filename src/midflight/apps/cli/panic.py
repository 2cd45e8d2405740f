"""`midflight panic`: everything stops, whether or not the plane still answers."""

from __future__ import annotations

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from midflight.apps.cli.output import EXIT_NO, JsonFlag, note, print_json
from midflight.apps.cli.revoke import show
from midflight.apps.cli.session import Session
from midflight.domain.errors import Unavailable

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLE = 'Example: midflight panic --reason "the build host is not ours any more"'
CONFIRMATION = "stop everything"
PATIENCE_S = 5.0
"""How long the plane is waited for before its store is told without it."""


def panic(
    context: typer.Context,
    *,
    reason: Annotated[str, typer.Option(help="Why; every caller sees it.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Stop everything: every run, token, lease and action, of everybody, until it is lifted."""
    if not yes:
        _confirm()
    session = Session.of(context)
    try:
        client = session.client(timeout_s=PATIENCE_S)
        receipt = client.post(
            "/v1/revocations", scope={"kind": "everything", "id": ""}, reason=reason
        )
    except Unavailable as error:
        # Who is refused by a plane that answers is no operator, and does not get past it here.
        note(error.message)
        _without_the_plane(session.settings_file(), reason, as_json=as_json)
        return
    show(receipt, as_json=as_json)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("is needed where nobody can be asked", param_hint="--yes")
    given = typer.prompt(f"Every agent of this plane is cut. Type '{CONFIRMATION}' to go on")
    if given.strip() != CONFIRMATION:
        note("Nothing was stopped.")
        raise typer.Exit(EXIT_NO)


def _without_the_plane(file: Path, reason: str, *, as_json: bool) -> None:
    """Write it into the store, which a plane reads every second and at its start."""
    # Here, since nothing of the store is loaded otherwise.
    from midflight.apps import settings_file
    from midflight.apps.compose_offline import stop_everything

    author = f"{getpass.getuser()} (uid {os.geteuid()})"
    revocation = stop_everything(settings_file.state_directory(file), reason=reason, author=author)
    if as_json:
        print_json({"revocation": revocation.id, "durable": True, "impact": None})
    else:
        typer.echo(f"revocation  {revocation.id}")
    note(
        "It is in the plane's store. A plane that still runs applies it within a second and"
        " records it; one that hangs is stopped by `kill`. Nothing starts until it is lifted:"
        f" midflight revocation lift {revocation.id} --reason R"
    )


__all__ = ["EXAMPLE", "panic"]
