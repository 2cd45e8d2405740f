"""Events in few words, and workloads that work through runs, for tests of detectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect
from midflight.services.detection import Detector

AGENT = "spiffe://example.org/agents/one"
MONDAY_NINE = 1_800_262_800.0  # 18 January 2027, a Monday, 09:00 UTC
DAY_S = 86_400.0


def event(name: str = "look", **more: Any) -> Event:
    """A call that leaves; `state` makes it one that has ended."""
    given: dict[str, Any] = {
        "at": MONDAY_NINE,
        "mono": 1_000.0,
        "record": "w-1",
        "state": None,
        "workload": AGENT,
        "upstream": "crm",
        "name": name,
        "kind": "call_tool",
        "owner": "team-one",
        "run": "run_1",
        "effect": Effect.READ,
        "peer": "10.0.0.1",
    }
    return Event(**(given | more))


class Worker:
    """A workload that works through runs before some detectors."""

    def __init__(self, *detectors: Detector, workload: str = AGENT, **more: Any) -> None:
        self.detectors = detectors
        self.workload = workload
        self.more = more
        self.at = MONDAY_NINE
        self.runs = 0
        self.steps = 0
        self.said: list[tuple[str, Sighting]] = []

    def open(self) -> str:
        """The id of a new run."""
        self.runs += 1
        return f"run_{self.workload.rsplit('/', 1)[-1]}_{self.runs}"

    def call(
        self, name: str, run: str, *, effect: Effect = Effect.READ, sent: int = 100, **more: Any
    ) -> list[Sighting]:
        """One action that leaves and has ended; what is said of it."""
        self.steps += 1
        common = {
            "at": self.at,
            "mono": self.at - MONDAY_NINE + 1_000.0,
            "record": f"w-{self.steps}",
            "run": run,
            "workload": self.workload,
            "effect": effect,
        }
        leaving = event(name, **(common | self.more | more))
        ended = event(
            name, **(common | self.more | {"state": Terminal.DONE, "bytes_out": sent} | more)
        )
        return [found for each in (leaving, ended) for found in self.see(each)]

    def see(self, seen: Event) -> list[Sighting]:
        """Show an event to all; what is said."""
        said: list[Sighting] = []
        for detector in self.detectors:
            sighting = detector.see(seen)
            if sighting is not None:
                said.append(sighting)
                self.said.append((detector.name, sighting))
        return said

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.at += seconds

    def end(self, run: str) -> None:
        """End a run."""
        for detector in self.detectors:
            detector.run_ended(run)

    def work(
        self,
        names: Sequence[str],
        *,
        effects: Sequence[str] = (),
        pause: float = 5.0,
        after: float = 600.0,
        sent: int = 100,
    ) -> list[Sighting]:
        """One whole run that calls these, some of which change something."""
        run, said = self.open(), list[Sighting]()
        for name in names:
            effect = Effect.WRITE if name in effects else Effect.READ
            said += self.call(name, run, effect=effect, sent=sent)
            self.wait(pause)
        self.end(run)
        self.wait(after)
        return said


def strongest(said: Sequence[Sighting]) -> int:
    """The strength of the worst that was said, 0 for nothing."""
    return max((each.strength for each in said), default=0)


def fair(said: Sequence[Sighting]) -> list[Sighting]:
    """What is more than a note."""
    return [each for each in said if each.strength >= Strength.FAIR]


__all__ = ["AGENT", "DAY_S", "MONDAY_NINE", "Worker", "event", "fair", "strongest"]
