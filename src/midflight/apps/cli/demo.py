"""`midflight demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLE = "Example: midflight demo"


def demo(
    servers: Annotated[
        Path | None,
        typer.Option(help="Where mcp-server-git and mcp-server-fetch are. Default: as in a clone."),
    ] = None,
) -> None:
    """Show the main job: an honest task, a blocked attack, an interrupted agent."""
    from midflight.apps.demo.main import run

    raise typer.Exit(run(servers))


__all__ = ["EXAMPLE", "demo"]
