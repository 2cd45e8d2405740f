"""`midflight up`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from midflight.apps.cli.output import note
from midflight.apps.cli.session import Session

if TYPE_CHECKING:
    from midflight.apps.server.listeners import Bound

EXAMPLE = "Example: midflight --config /etc/midflight/midflight.toml up"


def up(context: typer.Context) -> None:
    """Start the gateway and the control socket; stop with Ctrl-C."""
    settings = Session.of(context).settings()
    from midflight.apps.compose import log_to_stderr
    from midflight.apps.control.processes import adopt_orphans, end_descendants, keep_reaping
    from midflight.apps.gateway.main import serve

    log_to_stderr()

    def told(bound: Sequence[Bound]) -> None:
        for listener in bound:
            path = "/mcp" if listener.name == "gateway" else ""
            note(f"{listener.name:<12} {listener.url}{path}")
        note("Midflight is up; stop it with Ctrl-C.")
        keep_reaping()

    # So that what a tool server leaves behind still shows as ours: see operators.py.
    adopt_orphans()
    try:
        serve(settings, on_ready=told)
    finally:
        # To the next plane it would be a process of this user that somebody has started.
        end_descendants()


__all__ = ["EXAMPLE", "up"]
