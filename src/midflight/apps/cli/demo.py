"""`midflight demo`."""

from __future__ import annotations

import typer

EXAMPLE = "Example: midflight demo"


def demo() -> None:
    """Show the main job: an honest task, a blocked attack, an interrupted agent."""
    from midflight.apps.demo.main import run

    raise typer.Exit(run())


__all__ = ["EXAMPLE", "demo"]
