"""What policies say about monitors and responses, held against what is declared.

Cedar would call an undeclared monitor an attribute that is not there, and take `has` for false,
which makes a `forbid` vanish; so it is found here first, and said in the operator's words.
Below: `cedarpy.pst`. Above: `validation.py`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence

from cedarpy import pst

from midflight.adapters.policy.mentions import attributes_of
from midflight.adapters.policy.schema import CONTEXT, Mentions
from midflight.domain.action import ActionKind
from midflight.domain.monitor import Monitor, Selection
from midflight.domain.question import Target
from midflight.domain.response import Level
from midflight.domain.response_rules import ResponseRules
from midflight.services.ports.policy_sets import PolicyProblem, Severity
from midflight.services.response_files import FILE

_RUN = pst.GetAttr(base=pst.Var(name="context"), attr="run")


def undeclared(policy: pst.Template, declared: Collection[str]) -> str | None:
    """What to say about the attributes of `context.run` that are neither fixed nor declared."""
    read = attributes_of(policy, _RUN)
    missing = sorted(read - CONTEXT["run"].keys() - set(declared))
    if not missing:
        return None
    names = ", ".join(f"context.run.{name}" for name in missing)
    known = [*CONTEXT["run"], *declared]
    near = difflib.get_close_matches(missing[0], known, n=1)
    meant = f"did you mean `{near[0]}`? " if near else ""
    return (
        f"looks at {names}, which every run has not and no monitor declares: {meant}a monitor is "
        f'declared in a .toml file beside the policies, [[monitor]] with name = "{missing[0]}"; '
        f"declared are {', '.join(declared) or 'none'}"
    )


def idle_monitors(
    monitors: Iterable[Monitor], targets: Sequence[Target]
) -> Iterator[PolicyProblem]:
    """Monitors that name an upstream or tool which is not registered; nothing without targets."""
    upstreams = {target.upstream for target in targets}
    tools = {(target.upstream, target.name) for target in targets}
    for monitor in monitors if targets else ():
        for step in monitor.steps:
            if step.kinds and ActionKind.CALL_TOOL not in step.kinds:
                continue
            gone = sorted(step.upstreams - upstreams)
            gone += sorted(name for name in step.tools if not _is_served(step, name, tools))
            if gone:
                yield PolicyProblem(
                    file=monitor.file,
                    line=monitor.line,
                    policy="",
                    text=f"monitor `{monitor.name}` names what is not registered: "
                    f"{', '.join(gone)}",
                    severity=Severity.WARNING,
                )


def unheeded(
    responses: ResponseRules | None, mentions: Iterable[Mentions]
) -> Iterator[PolicyProblem]:
    """Responses that policies are to enforce, in a set that looks nowhere at what holds."""
    if responses is None or any(_heeds(seen) for seen in mentions):
        return
    for rule in responses.rules:
        if rule.respond in (Level.CHALLENGE, Level.QUARANTINE):
            yield PolicyProblem(
                file=FILE,
                line=rule.line,
                policy="",
                text=f"responds with {rule.respond.value}, and no policy looks at "
                "context.run.response, so nothing would follow; the standard pack has "
                "65-responses.cedar for that",
                severity=Severity.WARNING,
            )


def _heeds(seen: Mentions) -> bool:
    inside = seen.inside("run")
    return seen.group("run") and (inside is None or "response" in inside)


def _is_served(step: Selection, name: str, tools: Collection[tuple[str, str]]) -> bool:
    return any(
        tool == name and (not step.upstreams or upstream in step.upstreams)
        for upstream, tool in tools
    )


__all__ = ["idle_monitors", "undeclared", "unheeded"]
