"""`midflight svid …`: identity documents that an operator mints by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note
from midflight.apps.cli.private_file import hand_out
from midflight.apps.cli.session import Session, workload_id
from midflight.apps.durations import iso

app = typer.Typer(help="SVIDs: documents that say who a workload is.", no_args_is_help=True)


@app.command(
    epilog="Example: midflight svid mint --workload agents/triage --jwt --audience billing"
)
def mint(
    context: typer.Context,
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload.")],
    audience: Annotated[str, typer.Option(help="Whom it will be shown to, exactly.")],
    jwt: Annotated[  # noqa: ARG001 -- said, so that a later kind needs no other default
        bool, typer.Option("--jwt", help="A JWT-SVID, which is the only kind minted by hand.")
    ] = True,
    out: Annotated[
        Path | None, typer.Option(help="Write it to this file (mode 0600), not to stdout.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Mint a JWT-SVID. It is printed once, lives five minutes, and is recorded in your name.

    Workloads fetch theirs from the Workload API; this is for trying things out.
    """
    client = Session.of(context).client()
    made = client.post("/v1/svids", workload=workload_id(client, workload), audience=audience)
    ends, name = iso(made["expires_at"]), made["id"]
    hand_out(made, "token", out=out, as_json=as_json)
    note(f"It ends at {ends}; midflight revoke token {name} ends it now.")


__all__ = ["app"]
