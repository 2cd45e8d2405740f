"""Wires signals from elsewhere: sources of the settings, their secrets, and the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midflight.apps.gateway.noise import Noise
from midflight.apps.gateway.signals import PREFIX, SignalFront
from midflight.apps.server.asgi import App
from midflight.apps.webhooks import keys_of
from midflight.services.signals import Signals

if TYPE_CHECKING:
    from midflight.apps.compose import Plane


def signal_fronts(plane: Plane, *, noise: Noise) -> dict[str, App]:
    """The door for signals, where any source is set up.

    Raises:
        Misconfigured: a secret cannot be read, or is none.
    """
    sections = plane.settings.signals
    if not sections:
        return {}
    store = plane.parts.store

    async def workload_of(run: str) -> str:
        stored = await store.get_run(run)
        return "" if stored is None else stored.run.workload

    signals = Signals(
        [section.source() for section in sections],
        tell=plane.watching.findings.tell,
        store=store,
        recorder=plane.ledger,
        clock=plane.clock,
        current=plane.inventory.current,
        workload_of=workload_of,
    )
    keys = {
        section.name: keys_of(
            f"signals.{section.name}",
            section.secret,
            previous=section.previous_secret,
            until=section.previous_until,
            now=plane.clock.now(),
        )
        for section in sections
    }
    return {PREFIX: SignalFront(signals, keys=keys, noise=noise, clock=plane.clock)}


__all__ = ["signal_fronts"]
