"""Detection: every event goes through the detectors, and what they find is recorded and answered.

Synchronous and on the path of the action: an event is seen in the turn of the event loop in which
its record is appended, before the action leaves, so that a response can still stop that very one.
A detector that fails is left out for that event and counted; it stops no action and no other
detector. What is to follow and fails keeps nobody else from being told, and lets nothing leave.
Above: the guard's records, canaries, signals. Below: `detectors/`, one file each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from midflight.domain.errors import LedgerUnavailable
from midflight.domain.event import Event
from midflight.domain.finding import Finding, Sighting
from midflight.domain.records import Found, Terminal
from midflight.domain.sequence import When
from midflight.services.ports.clock import Clock
from midflight.services.ports.recorder import Recorder
from midflight.services.ports.telemetry import Telemetry

Respond: TypeAlias = Callable[[Finding], None]
"""Does what policy says about a finding. Synchronous; what must wait goes aside."""

MAX_RECORDS = 8
"""Records that one finding names."""

_DENIED = Terminal.DENIED


class Detector(Protocol):
    """One detector: events in, sightings out. Constant memory a workload and a run; no I/O."""

    @property
    def name(self) -> str:
        """What findings and responses call it."""
        ...

    def see(self, event: Event) -> Sighting | None:
        """Look at one event. Once something is said, it is said again only when it is worse."""
        ...

    def run_ended(self, run: str) -> None:
        """Forget what is kept for a run."""
        ...


@runtime_checkable
class Choosing(Detector, Protocol):
    """A detector that says nothing of some events, and need not be shown those."""

    @property
    def looks_at(self) -> frozenset[When]:
        """Which it must be shown."""
        ...


class Detection:
    """All detectors of one plane. One event loop."""

    def __init__(
        self,
        detectors: Sequence[Detector] = (),
        *,
        recorder: Recorder,
        clock: Clock,
        telemetry: Telemetry,
    ) -> None:
        """Findings are recorded; `respond_with` says what is done about them."""
        self._detectors = tuple(detectors)
        # Bound once: looked up anew each of them costs as much as many a look.
        self._leaving, self._refused, self._ended = (
            tuple((each, each.see) for each in detectors if _looks_at(each, when))
            for when in (When.LEAVING, When.REFUSED, When.ENDED)
        )
        self._recorder = recorder
        self._clock = clock
        self._telemetry = telemetry
        self._respond: list[Respond] = []

    def respond_with(self, respond: Respond) -> None:
        """Tell this of every finding, after it is recorded."""
        self._respond.append(respond)

    def see(self, event: Event) -> None:
        """Show an event to every detector that looks at such.

        Raises:
            Exception: what follows from a finding could not be done, so an action that is about to
                leave must not. One that has ended has its record, and nothing is to be stopped.
        """
        failed: Exception | None = None
        if event.state is None:
            looks = self._leaving
        else:
            looks = self._refused if event.state is _DENIED else self._ended
        for detector, look in looks:
            try:
                sighting = look(event)
            except Exception:  # noqa: BLE001 -- a bug in one detector must stop nothing else
                self._telemetry.count("detector_failures")
                continue
            if sighting is None:
                continue
            try:
                self.saw(
                    detector.name,
                    sighting,
                    at=event.at,
                    workload=event.workload,
                    owner=event.owner,
                    run=event.run,
                    upstream=event.upstream,
                    name=event.name,
                )
            except Exception as error:  # noqa: BLE001 -- the others look at it all the same
                failed = error
        if failed is not None and event.state is None:
            raise failed

    def saw(
        self,
        detector: str,
        sighting: Sighting,
        *,
        at: float,
        workload: str,
        owner: str,
        run: str,
        upstream: str,
        name: str,
    ) -> str:
        """Make a finding of what was seen; the id of its record, as `found` says."""
        return self.found(
            Finding(
                id=f"fnd_{self._clock.token()}",
                at=at,
                detector=detector,
                strength=sighting.strength,
                workload=workload,
                owner=owner,
                run=run,
                upstream=upstream,
                name=name,
                usual=sighting.usual,
                seen=sighting.seen,
                after=sighting.after,
                records=sighting.records[-MAX_RECORDS:],
            )
        )

    def found(self, finding: Finding) -> str:
        """Record a finding, of whatever made it, and do what policy says; the record's id.

        A ledger that cannot be written holds up no response: the id is empty, and the ledger
        counts what it could not take. All are told before this fails because of one of them.

        Raises:
            Exception: what one of them failed with, which is a bug in it; whoever is about to let
                something pass must not.
        """
        try:
            record = self._recorder.append(Found(at=self._clock.now(), finding=finding)).id
        except LedgerUnavailable:
            record = ""
        self._telemetry.count("findings")
        failed: Exception | None = None
        for respond in self._respond:
            try:
                respond(finding)
            except Exception as error:  # noqa: BLE001 -- it is raised once all are told
                self._telemetry.count("response_failures")
                failed = failed or error
        if failed is not None:
            raise failed
        return record

    def run_ended(self, run: str) -> None:
        """Let every detector forget a run."""
        for detector in self._detectors:
            try:
                detector.run_ended(run)
            except Exception:  # noqa: BLE001 -- nor may it keep a run from ending
                self._telemetry.count("detector_failures")


def _looks_at(detector: Detector, when: When) -> bool:
    return not isinstance(detector, Choosing) or when in detector.looks_at


__all__ = ["MAX_RECORDS", "Choosing", "Detection", "Detector", "Respond"]
