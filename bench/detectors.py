"""What detectors cost an event, all that a plane has and each alone.

A plane with many workloads, each with a baseline behind it, whose agents take turns: no event is
about the run that the last one was about. Each action is seen twice: when it leaves and when it has
ended.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Sequence

from bench.report import Row, at_most, percentile
from midflight.apps.compose_detectors import sequence_rules
from midflight.domain.event import Event
from midflight.domain.records import Terminal
from midflight.domain.traits import Effect, Reach
from midflight.services.detection import Detector
from midflight.services.detectors.plain import Plain
from midflight.services.detectors.standard import standard

WORKLOADS = 100
RUNS = 40
"""Ended runs of each workload before anything is measured."""
CALLS = 12
TOOLS = 15
EVENTS = 40_000
BUDGET_US = 20


def run() -> list[Row]:
    """Every row."""
    detectors = fresh()
    teach(detectors)
    events = [made(number, run="now") for number in range(EVENTS)]
    taken = measured(detectors, events)
    rows = [
        at_most(f"all {len(detectors)} detectors, p50", percentile(taken, 50), "µs", BUDGET_US),
        Row(f"all {len(detectors)} detectors, p99", percentile(taken, 99), "µs"),
    ]
    for detector in detectors:
        taken = measured((detector,), events)
        rows.append(Row(f"{detector.name}, p50", percentile(taken, 50), "µs"))
    rows.append(Row("memory of a workload, all detectors", held() / 1_000, "KB"))
    return rows


def fresh() -> tuple[Detector, ...]:
    """Those with a baseline and those without, as a plane wires them; they know nothing yet."""
    return (*standard(), *Plain(sequence_rules()).all)


def measured(detectors: Sequence[Detector], events: Sequence[Event]) -> list[float]:
    """Microseconds of each event."""
    gc.collect()
    gc.disable()
    taken: list[float] = []
    try:
        for event in events:
            began = time.perf_counter_ns()
            for detector in detectors:
                detector.see(event)
            taken.append((time.perf_counter_ns() - began) / 1_000)
    finally:
        gc.enable()
    return taken


def teach(detectors: Sequence[Detector]) -> None:
    """Let all workloads end runs that look like the ones to come."""
    for number in range(RUNS):
        for place in range(WORKLOADS * CALLS * 2):
            event = made(place, run=str(number))
            for detector in detectors:
                detector.see(event)
        for workload in range(WORKLOADS):
            for detector in detectors:
                detector.run_ended(f"run_{workload}_{number}")


def held() -> float:
    """Bytes that detectors hold for each workload with its run."""
    gc.collect()
    tracemalloc.start()
    detectors = fresh()
    teach(detectors)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / WORKLOADS
    tracemalloc.stop()
    return size


def made(number: int, *, run: str) -> Event:
    """An event of one workload after the other, leaving and ended in turns."""
    workload, place = number % WORKLOADS, number // WORKLOADS
    ended, call = place % 2, place // 2
    at = number * 0.01 + (0 if run == "now" else int(run) * 600)
    return Event(
        at=1_800_000_000.0 + at,
        mono=1_000.0 + at,
        record=f"1f0a9c3e-{number}",
        state=Terminal.DONE if ended else None,
        workload=f"spiffe://example.org/agents/{workload}",
        owner="payments",
        team="payments",
        run=f"run_{workload}_{run}",
        family=f"run_{workload}_{run}",
        upstream="crm",
        name=f"tool_{call % TOOLS}",
        kind="call_tool",
        method="tools/call",
        effect=(Effect.READ, Effect.READ, Effect.WRITE, Effect.SEND)[call % 4],
        reach=Reach.CLOSED,
        reviewed=True,
        digest=f"{call:064x}",
        bytes_out=600 if ended else 0,
        bytes_in=4_000 if ended else 0,
        peer=f"10.0.0.{workload % 250}",
        proof="bearer",
        token=f"jti_{workload}",
        pipeline=workload % 4 == 0,
    )
