"""`midflight join-token …`: secrets that let a workload of another machine in, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, print_fields, print_json, print_table
from midflight.apps.cli.private_file import hand_out
from midflight.apps.cli.session import Session, workload_id
from midflight.apps.durations import iso, seconds

app = typer.Typer(help="One-time secrets to join with.", no_args_is_help=True)


@app.command(epilog="Example: midflight join-token create --workload agents/triage --ttl 10m")
def create(
    context: typer.Context,
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload.")],
    ttl: Annotated[str, typer.Option(help="How long it waits to be used: at most 24h.")] = "10m",
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file (mode 0600), not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Create a token. It is printed once; only its hash is kept."""
    try:
        ttl_s = seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    client = Session.of(context).client()
    made = client.post("/v1/join-tokens", spiffe_id=workload_id(client, workload), ttl_s=ttl_s)
    hand_out(made, "token", out=out, as_json=as_json)


@app.command("list", epilog="Example: midflight join-token list")
def list_tokens(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List tokens that were not used. They themselves are not kept."""
    found = Session.of(context).client().get("/v1/join-tokens")
    if as_json:
        print_json(found)
        return
    print_table(
        ("token", "workload", "by", "expires"),
        [(t["id"], t["spiffe_id"], t["added_by"], iso(t["expires_at"])) for t in found],
        empty="No join token waits to be used.",
    )


@app.command(epilog="Example: midflight join-token remove JOIN")
def remove(
    context: typer.Context,
    token: Annotated[str, typer.Argument(help="The token's id.")],
    as_json: JsonFlag = False,
) -> None:
    """Withdraw a token that was not used."""
    removed = Session.of(context).client().post("/v1/join-tokens/remove", id=token)
    if as_json:
        print_json(removed)
        return
    print_fields({"removed": removed["id"]})


__all__ = ["app"]
