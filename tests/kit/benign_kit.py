"""Honest work as it comes: scripts of runs, put on a calendar, as the events that a plane makes.

A file says what a workload can call, when it works and what its runs look like; the rest is drawn,
from a seed. What is drawn are the runs of each day, the pauses in them, the host and the bytes.
"""

from __future__ import annotations

import heapq
import random
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midflight.domain.decision import DenyCode
from midflight.domain.event import Event
from midflight.domain.labels import BOTTOM, Confidentiality, Labels
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect, Reach

MONDAY = 1_800_230_400.0  # 18 January 2027, 00:00 UTC
DAY_S = 86_400
_STEP = re.compile(r"([a-z_]+)([!+-]?)(?:\*(\d+))?")
_LABELS = {
    "untrusted": Labels(untrusted=True),
    "secret": Labels(confidentiality=Confidentiality.SECRET),
}


@dataclass(frozen=True)
class Ended:
    """A run is over."""

    run: str


class Workload:
    """One workload of one file."""

    def __init__(self, path: Path, *, seed: int) -> None:
        self.name = path.stem
        self.id = f"spiffe://example.org/benign/{path.stem}"
        self.said: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
        self._chance = random.Random(f"{seed} {path.stem}")
        self._runs = 0
        self._records = 0

    def day(self, number: int) -> Iterator[Event | Ended]:
        """The events of one day, by time; runs that overlap are interleaved."""
        said, chance = self.said, self._chance
        if said["days"] == "workdays" and number % 7 >= 5:
            return
        began = MONDAY + number * DAY_S
        count = chance.randint(*said["runs_a_day"])
        opens, closes = said["from_hour"] * 3_600, said["to_hour"] * 3_600
        starts = sorted(began + chance.uniform(opens, closes - 1) for _ in range(count))
        weights = [run["often"] for run in said["run"]]
        steps: list[tuple[float, int, int, Event | Ended]] = []
        for place, at in enumerate(starts):
            [script] = chance.choices(said["run"], weights)
            # One run at a time on one host; a person may have two at once.
            for order, (when, event) in enumerate(self._run(script["steps"], at, number)):
                steps.append((when, place, order, event))
        heapq.heapify(steps)
        while steps:
            yield heapq.heappop(steps)[3]

    def _run(self, steps: list[str], at: float, day: int) -> Iterator[tuple[float, Event | Ended]]:
        self._runs += 1
        chance, said = self._chance, self.said
        run, host = f"run_{self.name}_{self._runs}", chance.choice(said["hosts"])
        labels, more = BOTTOM, said.get("growth", 1.0) ** day
        if day % 30 == 29:
            more *= said.get("month_end", 1)
        for step in steps:
            found = _STEP.fullmatch(step)
            assert found is not None, step
            name, how, times = found[1], found[2], int(found[3] or 1)
            for _ in range(round(times * more) if times > 1 else 1):
                at += chance.uniform(*said["pause"])
                yield from self._action(name, how, at, run=run, host=host, labels=labels)
            if how not in ("-", "!"):
                for label in said["tools"][name].get("brings", ()):
                    labels = labels.join(
                        _LABELS.get(label, Labels(compartments=frozenset({label})))
                    )
        yield at + 1.0, Ended(run)

    def _action(
        self, name: str, how: str, at: float, *, run: str, host: str, labels: Labels
    ) -> Iterator[tuple[float, Event]]:
        self._records += 1
        tool = self.said["tools"][name]
        common: dict[str, Any] = {
            "workload": self.id, "owner": "team-one", "team": "team-one", "run": run, "family": run,
            "upstream": self.name, "name": name, "kind": "call_tool", "method": "tools/call",
            "effect": Effect[tool["effect"].upper()],
            "reach": Reach[tool.get("reach", "closed").upper()],
            "reviewed": True, "digest": f"{self._records:064x}", "labels": labels, "peer": host,
            "proof": "bearer", "token": f"jti_{run}", "approved": how == "+",
            "pipeline": self.said["kind"] == "pipeline", "record": f"rec_{self._records}",
        }  # fmt: skip

        def made(when: float, state: Terminal | None, **more: Any) -> tuple[float, Event]:
            return when, Event(at=when, mono=when - MONDAY + 1_000.0, state=state, **common, **more)

        if how == "-":
            policies = (f"standard/{name}",)
            yield made(at, Terminal.DENIED, code=DenyCode.POLICY, policies=policies)
            return
        yield made(at, None)
        sent = self._chance.randint(*self.said["sent"])
        yield made(at + 0.02, Terminal.DONE, bytes_out=sent, bytes_in=sent, undone=how == "!")


def workloads(directory: Path, *, seed: int = 1) -> list[Workload]:
    """All of a directory."""
    return [Workload(path, seed=seed) for path in sorted(directory.glob("*.toml"))]


__all__ = ["DAY_S", "MONDAY", "Ended", "Workload", "workloads"]
