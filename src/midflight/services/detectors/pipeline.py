"""Pipeline: a job of a CI system that does not do what its pipeline's jobs do.

Jobs repeat themselves, so less is needed than for an agent. Held against earlier jobs of the same
workload: which tools they call, which after which, each how often, and how much they send. What
changes something and was never called before is `FAIR` at its first call, if the pipeline is
settled: hardly any of its jobs brought something new. Otherwise it is `WEAK`; in warm-up nothing is
said.

A pipeline that was changed by its people looks like one that was taken over: the finding says what
is new, and `midflight baseline accept` that the job was fine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.traits import Effect
from midflight.services.detectors.learning import Kept, Memory, Tally, Usual
from midflight.services.detectors.novelty import (
    BY_CHANCE,
    MAX_SAID,
    MAX_TOOLS,
    Known,
    expected,
    remember,
    tool_of,
)
from midflight.services.detectors.peaks import DAY_S, Peak, at_random

WARM_JOBS = 30
"""Ended jobs after which something is said."""
SETTLED = 1 / 30
"""With at most this many new tools a job, one that changes something is `FAIR` at once."""
NEW_ORDER = 3
"""So many calls in an order that never was are `FAIR`, if they are not to be expected."""
TIMES = 3.0
"""How many times as often as usual a tool is called before that is `FAIR`."""
MORE = 10
"""How many calls more than usual of one tool are always passed over."""
FLOOR_BYTES = 1_000_000
"""Up to so many bytes a job may send, whatever is usual."""
MAX_STEPS = 256
"""Pairs of calls that are known of a pipeline."""

_RECORDS = 8
_FIRST = "^"


class _Usual(Usual):
    tools: Annotated[dict[str, Known], msgspec.Meta(max_length=MAX_TOOLS)] = {}
    steps: Annotated[dict[str, Known], msgspec.Meta(max_length=MAX_STEPS)] = {}
    most: Annotated[dict[str, Peak], msgspec.Meta(max_length=MAX_TOOLS)] = {}
    sent: Peak = msgspec.field(default_factory=Peak)

    def next_day(self) -> None:
        for peak in self.most.values():
            peak.next_day()
        self.sent.next_day()


class _Tally(Tally[_Usual]):
    __slots__ = ("calls", "last", "notes", "order", "records", "said", "sent", "steps", "times")

    def __init__(self, kept: Kept[_Usual]) -> None:
        super().__init__(kept)
        self.calls = 0
        self.times: dict[str, int] = {}
        self.steps: set[str] = set()
        self.last = _FIRST
        self.order = 0
        self.sent = 0
        self.notes = 0
        self.said: dict[str, int] = {}
        self.records: list[str] = []


class Pipeline:
    """See the module."""

    name = "pipeline"

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.memory: Memory[_Usual, _Tally] = Memory(_Usual, _Tally, _learn)

    def see(self, event: Event) -> Sighting | None:
        """Look at what a job calls, and at what it has sent."""
        if not event.pipeline:
            return None
        tally = self.memory.tally(event)
        if tally is None:
            return None
        if event.state is None:
            return self._called(event, tally)
        tally.sent += max(0, event.bytes_out)
        usual = tally.kept.usual
        if tally.sent <= max(
            FLOOR_BYTES, usual.sent.high * TIMES, 2 * tally.said.get("sent", 0)
        ) or not self.is_warm(usual):
            return None
        tally.said["sent"] = tally.sent
        seen = f"{tally.sent:,} bytes sent by one job"
        return self._fair(event, tally, seen, f"at most {usual.sent.high:,.0f} bytes")

    def run_ended(self, run: str) -> None:
        """Learn from it."""
        self.memory.run_ended(run)

    def is_warm(self, usual: _Usual) -> bool:
        """Whether anything is said."""
        return usual.runs >= WARM_JOBS

    def say(self, usual: _Usual) -> Sequence[str]:
        """What its jobs call, and how often at most."""
        return [
            *(
                f"{name}: at most {peak.high:,.0f} calls a job, in {usual.tools[name].runs} jobs"
                for name, peak in sorted(usual.most.items())
                if name in usual.tools
            ),
            f"at most {usual.sent.high:,.0f} bytes sent by a job",
            f"a tool that is new once in {1 / expected(usual.tools, usual.runs):,.0f} jobs",
        ]

    def _called(self, event: Event, tally: _Tally) -> Sighting | None:
        usual = tally.kept.usual
        tool = tool_of(event)
        before, tally.last = tally.last, tool
        tally.calls += 1
        times = tally.times.get(tool, 0) + 1
        if times > 1 or len(tally.times) < MAX_TOOLS:
            tally.times[tool] = times
        step = f"{before} > {tool}"
        is_first = step not in tally.steps and len(tally.steps) < MAX_STEPS
        if is_first:
            tally.steps.add(step)
        if not self.is_warm(usual):
            return None
        if tool not in usual.tools and times == 1:
            return self._new_tool(event, tally, usual, tool)
        most = usual.most[tool].high if tool in usual.most else 0.0
        if times > max(most + MORE, most * TIMES, 2 * tally.said.get(tool, 0)):
            tally.said[tool] = times
            seen = f"{times:,} calls of {tool} by one job"
            return self._fair(event, tally, seen, f"at most {most:,.0f}")
        if is_first and step not in usual.steps:
            return self._new_order(event, tally, usual, step)
        return None

    def _new_tool(self, event: Event, tally: _Tally, usual: _Usual, tool: str) -> Sighting | None:
        seen = f"first call of {tool} by a job of this pipeline"
        told = f"{len(usual.tools)} tools"
        changes = event.effect is not Effect.READ
        if changes and expected(usual.tools, usual.runs) <= SETTLED:
            return self._fair(event, tally, seen, told)
        return self._weak(event, tally, seen, told)

    def _new_order(self, event: Event, tally: _Tally, usual: _Usual, step: str) -> Sighting | None:
        tally.order += 1
        if len(tally.records) < _RECORDS:
            tally.records.append(event.record)
        told = f"{len(usual.steps)} pairs of calls, each after the other"
        mean = expected(usual.steps, usual.runs)
        if (
            tally.order >= max(NEW_ORDER, 2 * tally.said.get("order", 0))
            and at_random(tally.order, mean) < BY_CHANCE
        ):
            tally.said["order"] = tally.order
            seen = f"{tally.order} calls in an order that no job had, the last: {step}"
            return self._fair(event, tally, seen, told, records=tuple(tally.records))
        return self._weak(event, tally, f"an order of calls that no job had: {step}", told)

    def _fair(
        self,
        event: Event,
        tally: _Tally,
        seen: str,
        told: str,
        *,
        records: tuple[str, ...] = (),
    ) -> Sighting:
        self.memory.doubt(event.run, workload=event.workload)
        return Sighting(
            strength=Strength.FAIR,
            seen=seen,
            usual=_in_jobs(told, tally.kept.usual),
            after=tally.calls,
            records=records or (event.record,),
        )

    def _weak(self, event: Event, tally: _Tally, seen: str, told: str) -> Sighting | None:
        tally.notes += 1
        if tally.notes > MAX_SAID:
            return None
        return Sighting(
            strength=Strength.WEAK,
            seen=seen,
            usual=_in_jobs(told, tally.kept.usual),
            after=tally.calls,
            records=(event.record,),
        )


def _in_jobs(told: str, usual: _Usual) -> str:
    return f"{told}, in {usual.runs:,} jobs on {usual.days:,} days"


def _learn(usual: _Usual, tally: _Tally) -> None:
    day, freely = int(tally.at // DAY_S), usual.runs <= WARM_JOBS
    remember(usual.tools, set(tally.times), day=day, most=MAX_TOOLS)
    remember(usual.steps, tally.steps, day=day, most=MAX_STEPS)
    for name in [name for name in usual.most if name not in usual.tools]:
        del usual.most[name]
    for tool, times in sorted(tally.times.items()):
        if tool in usual.tools:
            is_new = tool not in usual.most
            usual.most.setdefault(tool, Peak()).learn(times, step=1, freely=freely or is_new)
    usual.sent.learn(tally.sent, step=FLOOR_BYTES / 10, freely=freely)


__all__ = [
    "FLOOR_BYTES",
    "MAX_STEPS",
    "MORE",
    "NEW_ORDER",
    "SETTLED",
    "TIMES",
    "WARM_JOBS",
    "Pipeline",
]
