"""What is in flight in one process, by run, and what has landed.

It knows no revocation: `interruption.py`, above, asks it what of a scope is aboard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from midflight.domain.errors import Interrupted
from midflight.domain.revocation import Scope
from midflight.services.cutting import Cutting
from midflight.services.flights import Flight, FlightKind, FlightStatus
from midflight.services.ports.clock import Clock
from midflight.services.tallies import Tallies


class FlightRegistry:
    """See the module. One event loop."""

    def __init__(self, *, cutting: Cutting, tallies: Tallies, clock: Clock) -> None:
        """What is cut goes through `cutting`, what lands into `tallies`."""
        self._cutting = cutting
        self._tallies = tallies
        self._clock = clock
        # By run: its end must not look at everybody's flights (10,000 would cost 0.5 ms a run).
        self._aboard: dict[str, set[Flight]] = {}
        self._lent: Callable[[], Sequence[FlightStatus]] = tuple[FlightStatus, ...]
        self.in_flight = 0
        """How many actions are in flight; what carries none of its own is not counted."""

    def show_lent(self, lent: Callable[[], Sequence[FlightStatus]]) -> None:
        """Ask this for the leases in use."""
        self._lent = lent

    def enter(self, flight: Flight) -> None:
        """It is in flight from now on."""
        aboard = self._aboard.get(flight.run)
        if aboard is None:
            aboard = self._aboard[flight.run] = set()
        if flight not in aboard:
            aboard.add(flight)
            self.in_flight += bool(flight.record)

    def leave(self, flight: Flight) -> None:
        """It is not any more, and leaves no trace. Idempotent."""
        aboard = self._aboard.get(flight.run)
        if aboard is not None and flight in aboard:
            aboard.discard(flight)
            self.in_flight -= bool(flight.record)
            if not aboard:
                del self._aboard[flight.run]

    def land(self, flight: Flight) -> None:
        """It is over; what was done is remembered."""
        self.leave(flight)
        self._tallies.land(flight)

    def run_ended(self, run: str, why: Interrupted) -> None:
        """Cut what of a run is in flight; what it did is remembered in fewer words."""
        pending = list(self._aboard.get(run, ()))
        for flight in pending:
            flight.deny(why)
        self._cutting.sever([flight for flight in pending if not flight.severed])
        self._tallies.end(run)

    def cut(self, hit: Callable[[Flight], bool], why: Interrupted) -> tuple[str, ...]:
        """Cut the actions that `hit`, and what upstreams work on for some; ids of the actions."""
        found = [
            flight
            for aboard in self._aboard.values()
            for flight in aboard
            if (flight.record or flight.kind is FlightKind.TASK) and hit(flight)
        ]
        for flight in found:
            flight.deny(why)
        self._cutting.sever([flight for flight in found if not flight.severed])
        return tuple(flight.record for flight in found if flight.record)

    def within(self, scope: Scope) -> list[Flight]:
        """Everything of a scope that is in flight."""
        key = (scope.kind, scope.id)
        return [
            flight for aboard in self._aboard.values() for flight in aboard if key in flight.scopes
        ]

    def statuses(self) -> Sequence[FlightStatus]:
        """All that goes on, oldest first: actions, streams, tasks at upstreams, leases in use."""
        now = self._clock.monotonic()
        found = [flight.status(now) for aboard in self._aboard.values() for flight in aboard]
        return sorted((*found, *self._lent()), key=lambda status: -status.age_s)


__all__ = ["FlightRegistry"]
