"""`midflight up`."""

from __future__ import annotations

import typer

from midflight.apps.cli.output import note
from midflight.apps.cli.session import Session

EXAMPLE = "Example: midflight --config /etc/midflight/midflight.toml up"


def up(context: typer.Context) -> None:
    """Start the gateway and the control socket; stop with Ctrl-C."""
    settings = Session.of(context).settings()
    import uvloop

    from midflight.apps.control.processes import adopt_orphans, reaping_orphans
    from midflight.apps.gateway.main import serve

    async def run() -> None:
        # So that what a tool server leaves behind still shows as ours: operators.py.
        adopt_orphans()
        async with reaping_orphans():
            await serve(settings)

    note(f"Midflight on {settings.public_url}/mcp, operators on {settings.control_socket}")
    uvloop.run(run())


__all__ = ["EXAMPLE", "up"]
