"""What one revocation met when it took effect, and the record of it.

Pure but for looking at the flights again when the last of them is cut. Above: `interruption.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence

from midflight.domain.labels import BOTTOM, Labels
from midflight.domain.records import Impact, Revoked
from midflight.domain.revocation import Revocation, Scope
from midflight.domain.value import Value
from midflight.services.cutting import Batch
from midflight.services.flights import Flight
from midflight.services.tallies import Done


class Reached(Value):
    """What else a scope reaches, as those know it who hold it; see `Impact`."""

    runs: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    labels: Labels = BOTTOM


Survey = Callable[[Scope, Collection[str]], Reached]
"""What a scope reaches, and the runs that are known to have acted in it. No I/O: it is asked
between the denial and the listeners, who end what it reaches."""


class Struck:
    """What one entry of the log met when it took effect here."""

    __slots__ = ("aboard", "batch", "began", "done", "fresh", "is_new", "reached", "revocation")

    def __init__(
        self,
        revocation: Revocation,
        *,
        began: float,
        batch: Batch,
        is_new: bool = True,
        aboard: Sequence[Flight] = (),
        fresh: Sequence[Flight] = (),
        done: Done | None = None,
        reached: Reached | None = None,
    ) -> None:
        """`aboard` is all of its scope that was in flight, `fresh` what nothing had denied yet.

        `began` is monotonic seconds; without `is_new` it was in force here already.
        """
        self.revocation = revocation
        self.began = began
        self.batch = batch
        self.is_new = is_new
        self.aboard = aboard
        self.fresh = fresh
        self.done = done or Done()
        self.reached = reached or Reached()

    def impact(self, at: float) -> Impact:
        """The record, once all is cut. What was denied has not completed, and sends no more."""
        bytes_out = dict(self.done.bytes_out)
        for flight in self.aboard:
            if flight.upstream:
                bytes_out[flight.upstream] = bytes_out.get(flight.upstream, 0) + flight.sent
        fresh, reached = self.fresh, self.reached
        took = self.batch.ended - self.began if self.revocation.id else 0.0
        return Impact(
            at=at,
            revocation=self.revocation.id,
            scope=self.revocation.scope,
            cut=tuple(flight.record for flight in fresh if flight.record),
            completed=self.done.completed,
            bytes_out=bytes_out,
            unknown=tuple(flight.record for flight in fresh if flight.record and flight.departed),
            took_us=int(took * 1e6),
            runs=reached.runs,
            leases=reached.leases,
            labels=reached.labels.described() if reached.runs else "",
            kinds=dict(Counter(flight.kind.value for flight in fresh)),
        )


def recorded(revocation: Revocation) -> Revoked:
    """The record of an entry."""
    return Revoked(
        at=revocation.at,
        revocation=revocation.id,
        scope=revocation.scope,
        reason=revocation.reason,
        author=revocation.author,
        proof=revocation.proof,
        until=revocation.until,
        lifts=revocation.lifts,
    )


__all__ = ["Reached", "Struck", "Survey", "recorded"]
