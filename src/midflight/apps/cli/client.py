"""`midflight client …`: OAuth clients of the gateway, and logging in while developing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json, print_table
from midflight.apps.cli.session import Session
from midflight.domain.errors import Malformed
from midflight.wire import json

app = typer.Typer(help="OAuth clients: who may ask for tokens, and as whom.", no_args_is_help=True)

Id = Annotated[str, typer.Argument(help="Its client_id: a name, or the URL of its document.")]


@app.command(
    epilog="Example: midflight client add editor --workload spiffe://midflight.internal/clients/"
    "editor --redirect-uri http://127.0.0.1/callback"
)
def add(
    context: typer.Context,
    client: Id,
    workload: Annotated[str, typer.Option(help="SPIFFE ID of the workload that it acts as.")],
    name: Annotated[str, typer.Option(help="What people see when they are asked.")] = "",
    redirect_uri: Annotated[
        list[str] | None,
        typer.Option(help="Where codes may be sent. Any port of a loopback address is the same."),
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option(help="File with its public keys, for private_key_jwt.")
    ] = None,
    scope: Annotated[
        str | None, typer.Option(help="What it gets at most: `mcp:git effect:read`.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Register a client, or replace its registration.

    A client_id that is an https URL is one with a metadata document, which is fetched from there.
    """
    given: dict[str, Any] = {
        "id": client,
        "workload": workload,
        "name": name,
        "redirect_uris": redirect_uri or [],
        "keys": [] if jwks is None else _keys(jwks),
        "document": client.startswith("https://"),
    }
    if scope is not None:
        given["scope"] = scope
    made = Session.of(context).client().post("/v1/clients", **given)
    if as_json:
        print_json(made)
        return
    print_fields(made)


@app.command("list", epilog="Example: midflight client list --json")
def list_clients(context: typer.Context, as_json: JsonFlag = False) -> None:
    """List the registered clients."""
    found = Session.of(context).client().get("/v1/clients")
    if as_json:
        print_json(found)
        return
    print_table(
        ("client", "workload", "proves itself", "redirects", "scope"),
        [
            (
                c["id"],
                c["workload"],
                "with a key" if c["keys"] else None,
                " ".join(c["redirect_uris"]) or None,
                c["scope"],
            )
            for c in found
        ],
        empty="No client is registered. `midflight client add` registers one.",
    )


@app.command(epilog="Example: midflight client remove editor")
def remove(context: typer.Context, client: Id, as_json: JsonFlag = False) -> None:
    """Give a client nothing more. What it has ends by itself within minutes, or `revoke` it."""
    removed = Session.of(context).client().post("/v1/clients/remove", id=client)
    if as_json:
        print_json(removed)
        return
    print_fields({"removed": removed["id"]})


@app.command("login-code", epilog="Example: midflight client login-code")
def login_code(context: typer.Context, as_json: JsonFlag = False) -> None:
    """Print a code for the development login page. It is good once, for five minutes."""
    made = Session.of(context).client().post("/v1/login-codes")
    if as_json:
        print_json(made)
        return
    typer.echo(made["code"])
    note("Type it into the login page. For development on this machine only.")


def _keys(file: Path) -> list[Any]:
    try:
        document = json.decode(file.read_bytes())
    except OSError:
        raise Malformed(f"{file} cannot be read.", hint="Give a file with a JWK set.") from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list) or not keys:
        raise Malformed(f"{file} holds no JWK set.", hint='{"keys": [{"kty": "EC", …}]}')
    return cast("list[Any]", keys)


__all__ = ["app"]
