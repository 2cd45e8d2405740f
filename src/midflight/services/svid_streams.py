"""Streams of SVIDs and bundles in the registry of flights: who is kept supplied, and with what.

One stream may be of several workloads, of which one can be revoked by itself: so each is a flight,
in the scopes whose revocation takes its SVIDs away. A cut needs nothing done here: every revocation
wakes the streams, and each looks for itself what it may still give (`entitled.py`).
Above: `svids.py`, which makes them.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Self

from midflight.domain.attestation import Entry
from midflight.domain.errors import Interrupted
from midflight.domain.revocation import scopes_over
from midflight.services.flights import Flight, FlightKind
from midflight.services.interruption import Interruption
from midflight.services.inventory import Inventory


class SvidStream:
    """One stream, in flight while the context lasts. One event loop."""

    def __init__(
        self,
        interruption: Interruption,
        inventory: Inventory,
        *,
        name: str,
        by: str | None = None,
        token: str = "",
    ) -> None:
        """Made by `Svids.stream`."""
        self._interruption = interruption
        self._inventory = inventory
        self._name = name
        self._by = by
        self._token = token
        self._flights: dict[str, Flight] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.holds(())

    def holds(self, entries: Iterable[Entry]) -> None:
        """These are whom it supplies from now on, and nobody else."""
        standing = {entry.id: entry for entry in entries}
        for gone in self._flights.keys() - standing.keys():
            self._interruption.leave(self._flights.pop(gone))
        for name, entry in standing.items():
            known = self._flights.get(name)
            if known is not None and known.interrupted is None:
                continue
            if known is not None:  # what cut it was lifted before the stream had looked
                self._interruption.leave(known)
            flight = self._flights[name] = self._flight(entry)
            try:
                self._interruption.take_off(flight)
            except Interrupted as why:
                flight.deny(why)

    def _flight(self, entry: Entry) -> Flight:
        workload = self._inventory.current(entry.spiffe_id)
        scopes = scopes_over(
            entry.spiffe_id,
            owner=None if workload is None else workload.owner,
            runs=(entry.run,),
            token=self._token,
        )
        if self._by is not None:
            scopes += self._inventory.revoked_with((self._by,))
        return Flight(
            record="",
            run=entry.run or "",
            workload=entry.spiffe_id,
            upstream="",
            name=self._name if self._by is None else f"{self._name} to {self._by}",
            scopes=frozenset(scopes),
            began=self._interruption.clock.monotonic(),
            kind=FlightKind.STREAM,
            token=self._token,
        )


__all__ = ["SvidStream"]
