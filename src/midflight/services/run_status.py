"""Runs as they are shown to people: what the store has, and what is newer in memory.

Read only. Above: `runs.py`, the control API.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.labels import Labels
from midflight.domain.narrowing import WHOLE, Narrowing
from midflight.domain.run import RunState
from midflight.domain.value import Discreet
from midflight.services.live_run import LiveRun
from midflight.services.ports.store import Store, StoredRun
from midflight.services.sealing import Sealer


class RunStatus(Discreet):
    """A run as shown to people; never its salt."""

    shown = ("id", "workload", "state")

    id: str
    workload: str
    state: RunState
    intent: str | None
    implicit: bool
    opened_by: str
    opened_at: int
    expires_at: int
    labels: Labels
    labels_source: str
    steps: int
    max_steps: int
    parent: str | None = None
    depth: int = 0
    narrowed: Narrowing = WHOLE
    delegated: str | None = None
    children: tuple[str, ...] = ()


async def statuses(
    found: Sequence[StoredRun],
    *,
    known: Callable[[str], LiveRun | None],
    store: Store,
    sealer: Sealer,
) -> list[RunStatus]:
    """What to show of these runs, with the ids of their children.

    `known` gives those that live in this process or have ended in it.
    """
    children: dict[str, tuple[str, ...]] = {}
    for child in await store.children([stored.run.id for stored in found]):
        above = child.run.parent or ""
        children[above] = (*children.get(above, ()), child.run.id)
    return [
        await _status(stored, known(stored.run.id), children.get(stored.run.id, ()), sealer=sealer)
        for stored in found
    ]


async def _status(
    stored: StoredRun, live: LiveRun | None, children: tuple[str, ...], *, sealer: Sealer
) -> RunStatus:
    run = stored.run
    return RunStatus(
        id=run.id,
        workload=run.workload,
        state=stored.state if live is None else live.state,
        intent=await sealer.open_text(run.id, run.intent),
        implicit=run.implicit,
        opened_by=run.opened_by,
        opened_at=run.opened_at,
        expires_at=run.expires_at,
        labels=stored.labels if live is None else live.labels,
        labels_source=stored.labels_source if live is None else live.labels_source,
        steps=stored.steps_reserved if live is None else live.steps,
        max_steps=run.max_steps,
        parent=run.parent,
        depth=run.depth,
        narrowed=run.narrowed,
        delegated=await sealer.open_text(run.id, run.delegated),
        children=children,
    )


__all__ = ["RunStatus", "statuses"]
