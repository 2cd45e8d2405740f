"""Wiring of how clients wait for a person; a part of `compose.py`, made with the gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING

from midflight.apps.gateway.waiting import Waits
from midflight.apps.gateway.waiting_clients import WaitingClients
from midflight.apps.gateway.waiting_tasks import WaitingTasks
from midflight.services.handles import Handles
from midflight.services.waiting import WaitingRoom, WaitLimits

if TYPE_CHECKING:
    from midflight.apps.compose import Plane


def waiting_of(plane: Plane) -> tuple[WaitingRoom, WaitingClients]:
    """The waits of a plane, which from now on hear what becomes of its approvals."""
    settings = plane.settings.approvals.wait
    room = WaitingRoom(
        store=plane.parts.store,
        interruption=plane.interruption,
        clock=plane.clock,
        limits=WaitLimits(
            of_run=settings.max_of_run,
            of_workload=settings.max_of_workload,
            of_all=settings.max_of_all,
        ),
    )
    plane.approvals.on_settled(room.settled)
    waits = Waits(
        room=room,
        handles=Handles(store=plane.parts.store, clock=plane.clock),
        approvals=plane.parts.store,
        sealer=plane.sealer,
        clock=plane.clock,
        public_url=plane.settings.public_url,
        hold_s=settings.hold,
        keep=plane.flow.save_run,
        now=plane.approvals.time_of,
        forms=settings.forms,
    )
    return room, WaitingClients(waits, WaitingTasks(waits, plane.clock), room)


__all__ = ["waiting_of"]
