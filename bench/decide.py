"""Decisions in process: how long, how they grow with policies, and lists.

Each set holds six policies for everybody and four for each tool (two by resource, one by action,
one by upstream), so larger sets are larger planes. Two of six arguments are looked at, and one of
those is new in each question, so that none has been answered before; what that saves is a row of
its own. Sizes are measured in turns, since the machine's speed changes while this runs. One row
shows what slicing cannot help with: a thousand policies of which none names anything.
"""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import midflight
from bench.report import Row, at_most, median, percentile
from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.action import ActionKind
from midflight.domain.decision import Challenge, Permit
from midflight.domain.identity import Workload
from midflight.domain.labels import Labels
from midflight.domain.question import Question, RunFacts, Source, Target
from midflight.domain.tool import PinState
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.policy_files import read_sources
from midflight.services.ports.policy_sets import PolicySource

SIZES = (10, 100, 1_000, 10_000)
ROUNDS = 9
CALLS = 400
LIST = 200

COMMON = """
@id("pinned") forbid (principal, action, resource) unless { resource.pinned };
@id("reads") permit (principal, action in Action::"read", resource);
@id("writes") permit (principal, action in [Action::"write", Action::"send"], resource);
@id("untrusted") @approvers("owner")
  forbid (principal, action in [Action::"write", Action::"send"], resource)
  when { context.run.untrusted } unless { context.approval.granted };
@id("reviewed")
  forbid (principal, action in Action::"call_tool", resource) unless { resource.reviewed };
@id("lockdown") forbid (principal, action, resource) when { principal.mode == "lockdown" };
"""
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "to": {"type": "string"},
        "subject": {"type": "string"},
        "body": {"type": "string"},
        "copies": {"type": "integer"},
        "urgent": {"type": "boolean"},
        "labels": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["to", "subject", "body"],
}
ARGUMENTS: dict[str, Any] = {
    "to": "boss@example.org",
    "subject": "Weekly report",
    "body": "All is well. " * 40,
    "copies": 1,
    "urgent": False,
    "labels": ["weekly", "report"],
}
AGENT = Workload(
    id="spiffe://example.org/agents/triage", owner="ann", escalation="bob", review_by=2**31
)


def target(n: int) -> Target:
    return Target(
        upstream=f"up{n}",
        name="post",
        pin="0" * 64,
        pin_state=PinState.PINNED,
        traits=Traits(effect=Effect.SEND, reach=Reach.OPEN, reviewed=True),
        schema=SCHEMA,
    )


def own_policies(n: int) -> str:
    looks = 'context.args has to && context.args.to like "*@blocked.example"'
    return f"""
@id("t{n}.1") forbid (principal, action, resource == Tool::"up{n}/post") when {{ {looks} }};
@id("t{n}.2") permit (principal, action, resource == Tool::"up{n}/post")
  when {{ principal.kind == "pipeline" }};
@id("t{n}.3") forbid (principal, action == Action::"call_tool::up{n}/post", resource)
  when {{ context.args has copies && context.args.copies > 100 }};
@id("t{n}.4") forbid (principal, action, resource in Upstream::"up{n}")
  when {{ context.run.steps > 10000 }};
"""


def engine(common: str, tools: int) -> CedarEngine:
    text = common + "".join(own_policies(n) for n in range(tools))
    parsed = CedarCompiler().parse([PolicySource(name="bench.cedar", text=text)])
    return CedarEngine(parsed, [target(n) for n in range(max(tools, 1))])


_NUMBERS = itertools.count()


def question(n: int = 0, *, untrusted: bool = False) -> Question:
    """A question that was not asked before."""
    return Question(
        workload=AGENT,
        kind=ActionKind.CALL_TOOL,
        run=RunFacts(
            id="run_x",
            has_intent=True,
            implicit=False,
            age_s=60,
            steps=7,
            labels=Labels(untrusted=untrusted),
        ),
        target=target(n),
        arguments={**ARGUMENTS, "to": f"boss{next(_NUMBERS)}@example.org"},
        source=Source(peer="127.0.0.1:40000"),
        at=1_736_164_800,
    )


def in_turns(works: Sequence[Callable[[], object]], *, calls: int = CALLS) -> list[list[float]]:
    """Microseconds of each call of each work, measured round by round."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        for _ in range(50):
            work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(ROUNDS):
            for taken, work in zip(times, works, strict=True):
                for _ in range(calls):
                    began = time.perf_counter_ns()
                    work()
                    taken.append((time.perf_counter_ns() - began) / 1_000)
    finally:
        gc.enable()
    return times


def decisions() -> list[Row]:
    engines = [engine(COMMON, (size - 6) // 4) for size in SIZES]
    again = question()
    for judge in engines:
        assert isinstance(judge.decide(again), Permit)
    works = [lambda judge=judge: judge.decide(question()) for judge in engines]
    *times, known = in_turns([*works, lambda: engines[2].decide(again)])
    p50 = {size: median(taken) for size, taken in zip(SIZES, times, strict=True)}
    rows = [
        at_most(f"decide, {size:,} policies, p50", p50[size], "µs", 150)
        if size == 1_000
        else Row(f"decide, {size:,} policies, p50", p50[size], "µs")
        for size in SIZES
    ]
    rows.append(Row("decide, 1,000 policies, p99", percentile(times[2], 99), "µs"))
    rows.append(Row("decide, 1,000 policies, asked before, p50", median(known), "µs"))
    rows.append(at_most("growth from 10 to 10,000", p50[10_000] / p50[10], "times", 1.2))
    return rows


def policies_of(pack: Path) -> str:
    """The Cedar text of a pack; what it counts (`monitors.toml`) is another language."""
    return "\n".join(s.text for s in read_sources(pack) if s.name.endswith(".cedar"))


def others() -> list[Row]:
    small = engine(COMMON, 248)
    assert isinstance(small.decide(question(untrusted=True)), Challenge)
    pack = Path(midflight.__file__).parent / "policies" / "standard"
    standard = engine(policies_of(pack), 246)
    flat = engine(COMMON + "".join(_nameless(n) for n in range(990)), 1)
    names = ("challenge, 1,000 policies, p50", "standard pack and 984 of tools, p50")
    times = in_turns(
        [
            lambda: small.decide(question(untrusted=True)),
            lambda: standard.decide(question()),
            lambda: flat.decide(question()),
        ],
        calls=CALLS // 4,
    )
    rows = [Row(name, median(taken), "µs") for name, taken in zip(names, times, strict=False)]
    rows.append(Row("1,000 policies that name nothing, p50", median(times[2]), "µs"))
    return rows


def lists() -> list[Row]:
    targets = [
        Target(
            upstream="up0",
            name=f"tool{n}",
            pin="0" * 64,
            pin_state=PinState.PINNED,
            traits=Traits(effect=list(Effect)[n % 8], reach=list(Reach)[n % 2], reviewed=n % 3 > 0),
            schema=SCHEMA,
        )
        for n in range(LIST)
    ]
    pack = Path(midflight.__file__).parent / "policies" / "standard"
    alike = policies_of(pack)
    apart = alike + "".join(
        f'@id("own{n}") forbid (principal, action, resource == Tool::"up0/tool{n}")'
        " when { context.run.steps > 1000 };"
        for n in range(LIST)
    )
    rows: list[Row] = []
    for name, text in (("", alike), (", each with a policy of its own", apart)):
        parsed = CedarCompiler().parse([PolicySource(name="bench.cedar", text=text)])
        cold: list[float] = []
        judge = CedarEngine(parsed, targets)
        for _ in range(ROUNDS):
            judge = CedarEngine(parsed, targets)
            began = time.perf_counter_ns()
            _show(judge, targets)
            cold.append((time.perf_counter_ns() - began) / 1e6)
        (warm,) = in_turns([lambda judge=judge: _show(judge, targets)], calls=50)
        if not name:
            rows.append(at_most(f"list of {LIST}, warm", median(warm) / 1_000, "ms", 1))
        rows.append(at_most(f"list of {LIST}{name}, cold", median(cold), "ms", 50))
    return rows


def activation() -> list[Row]:
    """Reading, validating and switching: off the event loop, once a change."""
    compiler = CedarCompiler()
    text = COMMON + "".join(own_policies(n) for n in range(248))
    source = PolicySource(name="bench.cedar", text=text)
    began = time.perf_counter()
    parsed = compiler.parse([source])
    read = time.perf_counter()
    compiler.inspect(parsed, [target(n) for n in range(248)])
    return [
        Row("parse 1,000 policies", (read - began) * 1_000, "ms"),
        Row("validate them against 248 tools", (time.perf_counter() - read) * 1_000, "ms"),
    ]


def run() -> list[Row]:
    """All rows."""
    return [*decisions(), *others(), *lists(), *activation()]


def _nameless(n: int) -> str:
    return f'@id("n{n}") forbid (principal, action, resource) when {{ principal.team == "t{n}" }};'


def _show(judge: CedarEngine, targets: Sequence[Target]) -> frozenset[str]:
    asked = question()
    return judge.visible(targets, workload=AGENT, run=asked.run, source=asked.source, at=asked.at)


__all__ = ["run"]
