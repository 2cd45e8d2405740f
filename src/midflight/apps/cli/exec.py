"""`midflight exec …`: start a program as a workload, in a run that ends with it."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from midflight.apps.cli.output import note
from midflight.apps.cli.session import Session, workload_id
from midflight.apps.durations import seconds

EXAMPLE = (
    'Example: midflight exec --workload agents/triage --intent "Answer the tickets" -- python a.py'
)
TIMEOUT_S = 2.0
"""Seconds for one answer of the plane: a program is not left alone for long."""


def execute(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(help="The command, behind `--`.")],
    workload: Annotated[str, typer.Option(help="SPIFFE ID or path of the workload.")],
    intent: Annotated[
        str | None, typer.Option(help="What it is for, in the principal's own words.")
    ] = None,
    ttl: Annotated[str | None, typer.Option(help="How long it may live: 30m, 2h.")] = None,
    allow_env: Annotated[
        list[str] | None,
        typer.Option(help="A variable that passes from your environment; repeatable."),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="Run it as this user (root only): the strongest boundary.")
    ] = None,
    allow_privileges: Annotated[
        bool, typer.Option(help="Let it gain privileges (sudo) and reach your other processes.")
    ] = False,
) -> None:
    """Start a program with an identity and a run of its own, and nothing of your secrets.

    Its environment is PATH, HOME, LANG, TMPDIR, TERM, SPIFFE_ENDPOINT_SOCKET, MIDFLIGHT_RUN,
    MIDFLIGHT_MCP_URL and MIDFLIGHT_TOKEN_FILE. It gains no privileges, and neither signals nor
    looks into your other processes (Linux 6.12 or later, with Landlock). The run ends with the
    program, and the program with the run. Exit code: the program's; 1 if Midflight stopped it and
    it ended with 0.
    """
    from midflight.apps.control.client import ControlClient
    from midflight.apps.launcher.launching import Launcher, Order

    try:
        ttl_s = None if ttl is None else seconds(ttl)
    except ValueError as error:
        raise typer.BadParameter(f"{ttl!r} {error}", param_hint="--ttl") from None
    client = ControlClient(Session.of(context).client().path, timeout_s=TIMEOUT_S)
    order = Order(
        workload=workload_id(client, workload),
        command=tuple(command),
        intent=intent,
        ttl_s=ttl_s,
        allowed=tuple(allow_env or ()),
        user=user,
        privileges=allow_privileges,
    )
    raise typer.Exit(Launcher(client, parent=os.environ, say=note).launch(order))


__all__ = ["EXAMPLE", "execute"]
