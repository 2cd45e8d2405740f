"""Wiring of interruption: what of a run goes on elsewhere, and what is told when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping

from midflight.apps.settings import Settings
from midflight.services.ports.upstream import Upstream
from midflight.services.task_flights import TaskFlights


def children_of(settings: Settings) -> Collection[str]:
    """Names of the upstreams that are processes of ours."""
    return frozenset(entry.name for entry in settings.upstream if entry.command)


async def leave_upstreams(run: str, upstreams: Mapping[str, Upstream], tasks: TaskFlights) -> None:
    """A run is over: cancel what upstreams still work on for it, then close what it had there."""
    await tasks.told(run)
    await asyncio.gather(
        *(upstream.end_run(run) for upstream in upstreams.values()), return_exceptions=True
    )


__all__ = ["children_of", "leave_upstreams"]
