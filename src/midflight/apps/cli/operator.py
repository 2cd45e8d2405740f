"""`midflight operator …`: who the plane takes you for, and tokens for the loopback API."""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json
from midflight.apps.cli.session import Session
from midflight.apps.durations import iso, seconds

app = typer.Typer(help="Who you are to the plane.", no_args_is_help=True)


@app.command(epilog="Example: midflight operator token --ttl 5m")
def token(
    context: typer.Context,
    ttl: Annotated[str, typer.Option(help="How long it lives: at most 15m.")] = "10m",
    as_json: JsonFlag = False,
) -> None:
    """Mint a token for the control API on loopback. It is printed once."""
    try:
        ttl_s = seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    minted = Session.of(context).client().post("/v1/operator/tokens", ttl_s=ttl_s)
    if as_json:
        print_json(minted)
        return
    typer.echo(minted["token"])
    note(f"It ends {iso(minted['expires_at'])}.")


@app.command(epilog="Example: midflight operator whoami")
def whoami(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Show whom the plane takes you for."""
    found = Session.of(context).client().get("/v1/operator")
    if as_json:
        print_json(found)
        return
    print_fields(found)


__all__ = ["app"]
