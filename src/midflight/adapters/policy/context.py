"""The context of a question: what was true, as far as a policy of the slice looks at it.

Below: `arguments.py`, `schema.py`. Above: `cedar.py`, `visible.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping

from midflight.adapters.policy.arguments import Carried
from midflight.adapters.policy.schema import CONTEXT, Mentions
from midflight.domain.provenance import FlowFacts
from midflight.domain.question import Question, RunFacts, Source
from midflight.domain.value import JSON, JSONObject

_DAY = 86_400
_INDEX = re.compile(r"\[[0-9]+\]")


def build_context(
    question: Question, carried: Carried, *, seen: Mentions, monitors: Iterable[str] = ()
) -> JSONObject:
    """The context of a question, without what `seen` leaves out.

    `monitors` are those of the declared ones that policies look at.
    """
    context = facts_context(question.run, question.source, question.at, seen=seen)
    if monitors:
        # What is declared and has no value stays out: Cedar refuses a question without it.
        values = question.run.monitors
        context["run"] |= {name: values[name] for name in monitors if name in values}
    if seen.group("flow"):
        context["flow"] = flow_context(question.flow, seen.inside("flow"))
    if seen.group("approval"):
        context["approval"] = {"granted": question.approved}
    if seen.group("untyped"):
        context["untyped"] = list(carried.untyped)
    if carried.typed is not None and seen.group("args"):
        context["args"] = carried.typed
    prune(context, seen)
    return context


def facts_context(run: RunFacts, source: Source, at: int, *, seen: Mentions) -> JSONObject:
    """The part of the context that does not depend on arguments and approval."""
    context: JSONObject = {}
    if seen.group("run"):
        context["run"] = {
            "has_intent": run.has_intent,
            "implicit": run.implicit,
            "age_s": run.age_s,
            "steps": run.steps,
            "untrusted": run.labels.untrusted,
            "confidentiality": int(run.labels.confidentiality),
            "compartments": sorted(run.labels.compartments),
            "labels_source": run.labels_source,
            "risk": run.risk,
            "response": run.response,
            "findings": list(run.findings),
        }
    if seen.group("source"):
        context["source"] = {"point": source.point, "proof": source.proof, "peer": source.peer}
    if seen.group("time"):
        # UTC. 1 January 1970 was a Thursday; weekdays as in ISO 8601, Monday is 1.
        context["time"] = {
            "unix": at,
            "hour": at % _DAY // 3_600,
            "weekday": (at // _DAY + 3) % 7 + 1,
        }
    return context


_FLOW: Mapping[str, Callable[[FlowFacts], JSON]] = {
    "origin": lambda flow: flow.origin.value,
    "asked": lambda flow: flow.asked,
    "concerns": lambda flow: [concern.value for concern in flow.concerns],
    "arguments": lambda flow: sorted(
        {f"{_INDEX.sub('', a.path)}:{a.origin.value}" for a in flow.arguments}
    ),
    "roles": lambda flow: sorted({f"{a.role.value}:{a.origin.value}" for a in flow.arguments}),
    "carries": lambda flow: int(flow.carries.confidentiality),
    "carries_compartments": lambda flow: sorted(flow.carries.compartments),
}


def flow_context(flow: FlowFacts, wanted: Collection[str] | None = None) -> JSONObject:
    """What flow says, as policies see it: only what is `wanted`, None for all of it.

    `arguments` holds `<argument>:<origin>` and `roles` holds `<role>:<origin>`, so that a policy
    for a group of tools can name a role, and one for a tool an argument.
    """
    return {name: say(flow) for name, say in _FLOW.items() if wanted is None or name in wanted}


def prune(context: JSONObject, seen: Mentions) -> None:
    """Leave out what no policy looks at."""
    for group in CONTEXT.keys() & context.keys():
        inside = seen.inside(group)
        if inside is not None:
            context[group] = {k: v for k, v in context[group].items() if k in inside}


__all__ = ["build_context", "facts_context", "flow_context", "prune"]
