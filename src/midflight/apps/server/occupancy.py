"""How many connections are open, in all and by peer, over every listener of a server."""

from __future__ import annotations

import asyncio
import enum

from midflight.apps.server.limits import Limits

# Connections over the limit that are kept just long enough to be told so. More are dropped.
_TOLD_AT_ONCE = 64


class Admission(enum.Enum):
    """What becomes of a new connection."""

    ADMITTED = "admitted"
    TOLD = "told"
    DROPPED = "dropped"


class Occupancy:
    """Counts connections. One turn of the loop sees one truth, so there is no lock."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._shares: dict[str, int] = {}
        self._told = 0
        self._empty: asyncio.Event | None = None
        self.admitted = 0

    def enter(self, share: str) -> Admission:
        """Admit a connection, or say that it is one too many. `leave` must follow."""
        held = self._shares.get(share, 0)
        limits = self._limits
        if self.admitted < limits.connections and held < limits.connections_per_peer:
            self.admitted += 1
            self._shares[share] = held + 1
            return Admission.ADMITTED
        if self._told < _TOLD_AT_ONCE:
            self._told += 1
            return Admission.TOLD
        return Admission.DROPPED

    def leave(self, share: str, admission: Admission) -> None:
        """A connection is gone."""
        match admission:
            case Admission.ADMITTED:
                self.admitted -= 1
                held = self._shares[share] - 1
                if held:
                    self._shares[share] = held
                else:
                    del self._shares[share]
            case Admission.TOLD:
                self._told -= 1
            case Admission.DROPPED:
                pass
        if self._empty is not None and not self.admitted:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until no admitted connection is left."""
        self._empty = asyncio.Event()
        if self.admitted:
            await self._empty.wait()


__all__ = ["Admission", "Occupancy"]
