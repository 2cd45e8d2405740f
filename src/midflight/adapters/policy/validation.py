"""Validation of a set against everything registered, and the search for dead policies.

Cedar's validator checks types; three things it does not say are found here. A policy can name a
tool that is not there (a misspelling, or an upstream that is away): it rests, and can match nothing
else meanwhile. A policy can be false for every typed request (a vacuous `forbid` protects nothing).
And a policy can be covered by another one without conditions. Below: `worlds.py`.
Above: `compiler.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import cedarpy
from cedarpy import pst

from midflight.adapters.policy.calls import validate
from midflight.adapters.policy.names import tool_action_id
from midflight.adapters.policy.parsing import CedarSet, Policy
from midflight.adapters.policy.remembered import idle_monitors, undeclared, unheeded
from midflight.adapters.policy.worlds import (
    Name,
    World,
    action_uid,
    headed,
    make_world_schema,
    named_tools,
    with_template,
    worlds,
)
from midflight.domain.question import Target
from midflight.services.ports.policy_sets import PolicyProblem, Severity

_POSITION = re.compile(r"policy(\d+)\Z")
_PREFIX = re.compile(r"^for policy `[^`]*`, ")
# No record of the schema has it, so looking at it is an error wherever it is reached.
_PROBE = pst.GetAttr(base=pst.Var(name="context"), attr="midflight_probe")


def inspect_set(policies: CedarSet, targets: Sequence[Target]) -> list[PolicyProblem]:
    """Every problem of a set, errors first."""
    registered = {(target.upstream, target.name): target for target in targets}
    problems: list[PolicyProblem] = []
    awake: list[Policy] = []
    declared = tuple(monitor.name for monitor in policies.monitors)
    for policy in policies.policies.values():
        if (text := undeclared(policy.template, declared)) is not None:
            problems.append(_problem(policy, text, Severity.ERROR))
            continue
        missing = sorted(named_tools(policy) - set(registered))
        if missing:
            names = ", ".join("/".join(name) for name in missing)
            problems.append(_warning(policy, f"names what is not registered: {names}"))
        trimmed = _without(policy, missing)
        if trimmed is not None:
            awake.append(headed(trimmed, registered))
    sound: list[Policy] = []
    for group, world in worlds(awake, registered, declared):
        invalid = _validate([policy.statement.text for policy in group], world.schema)
        for position, policy in enumerate(group):
            if position in invalid:
                problems.extend(_blame(policy, invalid[position], world))
        valid = [policy for position, policy in enumerate(group) if position not in invalid]
        problems.extend(_vacuous(valid, world.schema))
        sound.extend(valid)
    problems.extend(_covered(sound))
    order = {identifier: position for position, identifier in enumerate(policies.policies)}
    problems.sort(key=lambda p: (p.severity is not Severity.ERROR, order[p.policy]))
    looked_at = [policy.mentions for policy in policies.policies.values()]
    return [
        *problems,
        *idle_monitors(policies.monitors, targets),
        *unheeded(policies.responses, looked_at),
    ]


def _without(policy: Policy, missing: Iterable[Name]) -> Policy | None:
    """The policy without the unregistered tools of its head; None if nothing else is left."""
    gone = {tool_action_id(*name) for name in missing}
    if not gone:
        return policy
    action = policy.template.action
    if isinstance(action, pst.ActionIn):
        left = tuple(entity for entity in action.entities if entity.id not in gone)
        if left:
            policy = with_template(policy, action=pst.ActionIn(entities=left))
    named = {u.id for u in pst.entity_uids(policy.template) if str(u.type) == "Action"}
    return None if gone & named else policy


def _validate(texts: Sequence[str], schema: cedarpy.Schema) -> dict[int, list[str]]:
    """Errors by position in `texts`."""
    if not texts:
        return {}
    # Cedar numbers policies in the order of the text.
    found = validate("\n".join(texts), schema)
    errors: dict[int, list[str]] = {}
    for error in found or ():
        position = _POSITION.match(error.policy_id)
        if position is None:
            raise ValueError(f"the validator does not say which policy is wrong: {error.error}")
        text = _PREFIX.sub("", error.error)
        errors.setdefault(int(position[1]), []).append(text)
    if found is not None and not errors:
        raise ValueError("the validator refused the set and does not say why")
    return errors


def _blame(policy: Policy, errors: Sequence[str], world: World) -> Iterable[PolicyProblem]:
    """Which tools an invalid policy does not fit; it does not fit at all if it fits no sample."""
    named = {name: world.targets[name] for name in named_tools(policy) if name in world.targets}
    headed = [name for name in sorted(named) if _heads(policy, name)]
    text = policy.statement.text

    def world_schema(targets: Iterable[Target]) -> cedarpy.Schema:
        return make_world_schema(targets, world.seen, world.monitors)

    if not headed and (general := _validate([text], world_schema(named.values())).get(0)):
        yield _error(policy, general)
        return
    blamed = False
    for name in headed or world.alike:
        narrowed = policy
        if headed:
            head = pst.ActionEq(entity=action_uid(tool_action_id(*name)))
            narrowed = with_template(policy, action=head)
        schema = world_schema((named | {name: world.targets[name]}).values())
        if found := _validate([narrowed.statement.text], schema).get(0):
            blamed = True
            for tool in world.alike.get(name, (name,)):
                yield _error(policy, found, tool=tool)
    if not blamed:
        yield _error(policy, errors)


def _heads(policy: Policy, name: Name) -> bool:
    match policy.template.action:
        case pst.ActionEq(entity=entity):
            return entity.id == tool_action_id(*name)
        case pst.ActionIn(entities=entities):
            return any(entity.id == tool_action_id(*name) for entity in entities)
        case pst.ScopeAny():
            return False


def _vacuous(policies: Sequence[Policy], schema: cedarpy.Schema) -> Iterable[PolicyProblem]:
    """Policies that are false for every typed request.

    The validator does not look behind an `&&` whose left side can never be true. So each condition
    gets an error as its right side: where that error is not found, the condition is impossible.
    """
    probes: list[str] = []
    for policy in policies:
        probe: pst.Expr = _PROBE
        for clause in reversed(policy.template.clauses):
            holds = clause.expr
            if isinstance(clause, pst.Unless):
                holds = pst.UnaryOp(op="not", arg=holds)
            probe = pst.BinaryOp(op="and", left=holds, right=probe)
        probes.append(with_template(policy, clauses=(pst.When(expr=probe),)).statement.text)
    reached = _validate(probes, schema)
    for position, policy in enumerate(policies):
        if position not in reached:
            text = "can never apply: its condition is false for every registered tool"
            yield _warning(policy, text)


def _covered(policies: Sequence[Policy]) -> Iterable[PolicyProblem]:
    """Policies that make no difference, because one without conditions already decides."""
    plain = [policy for policy in policies if not policy.template.clauses]
    for policy in policies:
        for other in plain:
            why = _outdone(policy, other)
            if why is not None:
                yield _warning(policy, f"makes no difference: {other.id} {why}")
                break


def _outdone(policy: Policy, other: Policy) -> str | None:
    """Why `policy` makes no difference beside `other`, which has no conditions."""
    one, wide = policy.template, other.template
    if other is policy or not _covers(wide, one):
        return None
    if one.effect == wide.effect and not one.clauses and _covers(one, wide):
        # Of two equal ones, the later is named.
        return None if other.id > policy.id else "says the same"
    if wide.effect == "forbid":
        return "always forbids what this is about"
    if one.effect == "permit" and not policy.notes.obligations:
        return "already permits what this is about"
    return None


def _covers(wide: pst.Template, narrow: pst.Template) -> bool:
    """Whether the head of one policy matches whatever the other's matches. May miss some."""
    return all(
        isinstance(one, pst.ScopeAny) or one == other
        for one, other in (
            (wide.principal, narrow.principal),
            (wide.action, narrow.action),
            (wide.resource, narrow.resource),
        )
    )


def _error(policy: Policy, errors: Sequence[str], *, tool: Name | None = None) -> PolicyProblem:
    text = "; ".join(sorted(set(errors)))
    if tool is not None:
        text = f"does not fit tool {'/'.join(tool)}: {text}"
    elif "/any-" in text:
        text += " (not every tool of a group has it: ask `has` first)"
    return _problem(policy, text, Severity.ERROR, tool=tool)


def _warning(policy: Policy, text: str) -> PolicyProblem:
    return _problem(policy, text, Severity.WARNING)


def _problem(
    policy: Policy, text: str, severity: Severity, *, tool: Name | None = None
) -> PolicyProblem:
    return PolicyProblem(
        file=policy.statement.file,
        line=policy.statement.line,
        policy=policy.id,
        text=text,
        severity=severity,
        tool=tool,
    )


__all__ = ["inspect_set"]
