"""Novelty: a tool, an upstream, a host or an hour that this workload never had.

A first use is mostly harmless, so one is `WEAK`. Several tools that change something, all of them
new, within one run are `FAIR`, if this workload seldom has anything new: how often it does is
estimated from how many of its tools only one run has used (Good and Turing: that share is how
likely the next one is to be new). A workload that still finds its tools is not found for it.

Pipelines are left to `pipeline.py`, which knows more of them.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Annotated

import msgspec

from midflight.domain.action import ActionKind
from midflight.domain.event import Event
from midflight.domain.finding import Sighting, Strength
from midflight.domain.sequence import When
from midflight.domain.traits import Effect
from midflight.services.detectors.learning import Kept, Memory, Tally, Usual
from midflight.services.detectors.peaks import DAY_S, at_random

WARM_RUNS = 20
"""Ended runs after which a first use is said."""
WARM_DAYS = 14
"""Days with ended runs after which an hour of the week that never was is said."""
FEW = 3
"""So many new tools that change something are `FAIR`, if they are not to be expected."""
BY_CHANCE = 0.001
"""As likely as this by chance, they are not to be expected."""
SETTLED = 0.2
"""With more new hosts a run than this, none of them is worth a word."""
MAX_SAID = 8
"""Notes about one run; what is `FAIR` comes on top, and again with twice as many new tools."""
MAX_TOOLS, MAX_UPSTREAMS, MAX_HOSTS = 128, 32, 32
"""What is known of a workload; beyond it what was not used for longest is forgotten."""
MAX_NAME = 160
"""Characters of a name; of a longer one the rest is a checksum."""

_HOURS = 168
_NAMED = (ActionKind.CALL_TOOL, ActionKind.GET_PROMPT)
_RECORDS = 8
_ALL_DAY = 84


class Known(msgspec.Struct, array_like=True):
    """How many runs had a thing, and the last day on which one did."""

    runs: Annotated[int, msgspec.Meta(ge=0)] = 0
    day: int = 0


class _Usual(Usual):
    tools: Annotated[dict[str, Known], msgspec.Meta(max_length=MAX_TOOLS)] = {}
    upstreams: Annotated[dict[str, Known], msgspec.Meta(max_length=MAX_UPSTREAMS)] = {}
    hosts: Annotated[dict[str, Known], msgspec.Meta(max_length=MAX_HOSTS)] = {}
    hours: Annotated[list[Known], msgspec.Meta(min_length=_HOURS, max_length=_HOURS)] = (
        msgspec.field(default_factory=lambda: [Known() for _ in range(_HOURS)])
    )


class _Tally(Tally[_Usual]):
    __slots__ = ("fair", "hosts", "hours", "new", "records", "said", "tools", "upstreams")

    def __init__(self, kept: Kept[_Usual]) -> None:
        super().__init__(kept)
        self.tools: set[str] = set()
        self.upstreams: set[str] = set()
        self.hosts: set[str] = set()
        self.hours: set[int] = set()
        self.new = 0
        self.fair = FEW
        self.said = 0
        self.records: list[str] = []


class Novelty:
    """See the module."""

    name = "novelty"
    looks_at = frozenset({When.LEAVING})

    def __init__(self) -> None:
        """Knows nothing yet."""
        self.memory: Memory[_Usual, _Tally] = Memory(_Usual, _Tally, _learn)

    def see(self, event: Event) -> Sighting | None:
        """Look at what leaves."""
        if event.state is not None or event.pipeline or not event.known:
            return None
        tally = self.memory.tally(event)
        if tally is None:
            return None
        tool = tool_of(event)
        hour = int(event.at // 3_600) % _HOURS
        host = short(event.peer)
        if tool in tally.tools and hour in tally.hours and host in tally.hosts:
            return None
        usual = tally.kept.usual
        new = self._news(event, tally, tool, host, hour)
        if not new or not self.is_warm(usual):
            return None
        tally.said += 1
        return self._sighting(event, tally, usual, new)

    def run_ended(self, run: str) -> None:
        """Learn from it."""
        self.memory.run_ended(run)

    def is_warm(self, usual: _Usual) -> bool:
        """Whether a first use is said."""
        return usual.runs >= WARM_RUNS

    def say(self, usual: _Usual) -> Sequence[str]:
        """What was used, from where and when."""
        hours = sum(1 for known in usual.hours if known.runs)
        return [
            f"tools ({len(usual.tools)}): {', '.join(sorted(usual.tools)) or 'none'}",
            f"hosts ({len(usual.hosts)}): {', '.join(sorted(usual.hosts)) or 'none'}",
            f"active in {hours} of the {_HOURS} hours of a week (UTC)",
            f"a tool that is new once in {1 / expected(usual.tools, usual.runs):,.0f} runs",
        ]

    def _news(self, event: Event, tally: _Tally, tool: str, host: str, hour: int) -> list[str]:
        """Note what the run has; what no run had, in words."""
        usual, new = tally.kept.usual, list[str]()
        if tool not in tally.tools and len(tally.tools) < MAX_TOOLS:
            tally.tools.add(tool)
            if tool not in usual.tools:
                new.append(self._new_tool(event, tally, usual))
        if host not in tally.hosts and len(tally.hosts) < MAX_HOSTS:
            tally.hosts.add(host)
            if host not in usual.hosts and expected(usual.hosts, usual.runs) <= SETTLED:
                new.append("first use from another host")
        if hour not in tally.hours:
            tally.hours.add(hour)
            if is_odd_hour(usual, hour):
                new.append("first use at this hour of the week")
        return new

    def _new_tool(self, event: Event, tally: _Tally, usual: _Usual) -> str:
        if event.effect is not Effect.READ:
            tally.new += 1
            if len(tally.records) < _RECORDS:
                tally.records.append(event.record)
        if event.upstream not in usual.upstreams and event.upstream not in tally.upstreams:
            if len(tally.upstreams) < MAX_UPSTREAMS:
                tally.upstreams.add(event.upstream)
            return f"first use of the upstream {event.upstream}"
        return f"first use of {tool_of(event)}"

    def _sighting(
        self, event: Event, tally: _Tally, usual: _Usual, new: list[str]
    ) -> Sighting | None:
        mean = expected(usual.tools, usual.runs)
        is_fair = tally.new >= tally.fair and at_random(tally.new, mean) < BY_CHANCE
        if is_fair:
            tally.fair = 2 * tally.new
            new.append(f"{tally.new} new tools that change something within one run")
            self.memory.doubt(event.run, workload=event.workload)
        elif tally.said > MAX_SAID:
            return None
        return Sighting(
            strength=Strength.FAIR if is_fair else Strength.WEAK,
            seen=", ".join(new),
            usual=f"{len(usual.tools)} tools in {usual.runs:,} runs on {usual.days:,} days",
            after=tally.new if is_fair else 1,
            records=tuple(tally.records) if is_fair else (event.record,),
        )


def tool_of(event: Event) -> str:
    """What is called, as one name: what has endless names, such as URIs, goes by its kind."""
    name = event.name if event.kind in _NAMED else f"*{event.kind}"
    return short(f"{event.upstream}/{name}")


def short(name: str) -> str:
    """A name of at most `MAX_NAME` characters."""
    if len(name) <= MAX_NAME:
        return name
    return f"{name[: MAX_NAME - 9]}~{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"


def expected(known: dict[str, Known], runs: int) -> float:
    """How many things of a kind the next run is expected to have that no run had."""
    once = sum(1 for each in known.values() if each.runs == 1)
    return (once + 1) / (runs + 1)


def is_odd_hour(usual: _Usual, hour: int) -> bool:
    """Whether a workload never was active at an hour of the week, nor just before or after."""
    if usual.days < WARM_DAYS:
        return False
    active = [known.runs > 0 for known in usual.hours]
    near = (hour, (hour - 1) % _HOURS, (hour + 1) % _HOURS)
    return sum(active) < _ALL_DAY and not any(active[each] for each in near)


def remember(known: dict[str, Known], seen: set[str], *, day: int, most: int) -> None:
    """Count what a run had, and forget what was not had for longest where it is too much."""
    for name in sorted(seen):
        entry = known.get(name)
        if entry is None:
            if len(known) >= most:
                del known[min(known, key=lambda each: (known[each].day, known[each].runs, each))]
            entry = known[name] = Known()
        entry.runs += 1
        entry.day = day


def _learn(usual: _Usual, tally: _Tally) -> None:
    day = int(tally.at // DAY_S)
    remember(usual.tools, tally.tools, day=day, most=MAX_TOOLS)
    upstreams = {tool.partition("/")[0] for tool in tally.tools}
    remember(usual.upstreams, upstreams, day=day, most=MAX_UPSTREAMS)
    remember(usual.hosts, tally.hosts, day=day, most=MAX_HOSTS)
    for hour in tally.hours:
        usual.hours[hour].runs += 1
        usual.hours[hour].day = day


__all__ = [
    "BY_CHANCE",
    "FEW",
    "MAX_HOSTS",
    "MAX_NAME",
    "MAX_SAID",
    "MAX_TOOLS",
    "MAX_UPSTREAMS",
    "SETTLED",
    "WARM_DAYS",
    "WARM_RUNS",
    "Known",
    "Novelty",
    "expected",
    "is_odd_hour",
    "remember",
    "short",
    "tool_of",
]
