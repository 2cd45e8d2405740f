"""`midflight credential login`: a person's browser, and what it brings back.

A listener on this machine takes one answer and passes it to the plane, which knows what belongs to
it. The code is in no process list and in no log. Verifier and state are not here at all.
"""

from __future__ import annotations

from typing import Annotated

import typer

from midflight.apps.cli.output import JsonFlag, note, print_fields, print_json
from midflight.apps.cli.session import Session, segment

WAIT_S = 300


def login(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Its name: lower-case letters, digits and dashes.")],
    wait: Annotated[int, typer.Option(help="Seconds to wait for the browser.", min=1)] = WAIT_S,
    as_json: JsonFlag = False,
) -> None:
    """Log in at an upstream's authorization server, so that leases can act for you there.

    Open the URL that is shown in a browser on this machine.
    """
    from midflight.apps.cli.login_callback import Callback

    client = Session.of(context).client()
    where = f"/v1/credentials/{segment(name)}/login"
    with Callback() as callback:
        begun = client.post(where, redirect_uri=callback.url)
        scopes = " ".join(begun["scopes"]) or "none"
        note(f"{begun['issuer']} will ask you to let Midflight act for you. Scopes: {scopes}.")
        note("Open this URL in a browser on this machine:")
        typer.echo(begun["url"], err=True)
        parameters = callback.wait(wait)
    done = client.post(f"{where}/{segment(begun['login'])}", parameters=parameters)
    if as_json:
        print_json(done)
        return
    print_fields(done | {"scopes": " ".join(done["scopes"]) or None})


__all__ = ["login"]
