"""Worlds: the tools against which a policy is validated, as few as say the same as all of them.

Below: `schema.py`, `slices.py`. Above: `validation.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import cedarpy
import msgspec
from cedarpy import pst

from midflight.adapters.policy.names import parse_tool_action_id, parse_tool_id, tool_action_id
from midflight.adapters.policy.parsing import Policy
from midflight.adapters.policy.schema import (
    EVERYTHING,
    Mentions,
    narrow,
    tool_groups,
    whole_schema,
)
from midflight.adapters.policy.shapes import RecordOf, arguments_shape, cedar_type
from midflight.adapters.policy.slices import make_handle
from midflight.domain.canonical import canonical
from midflight.domain.question import Target
from midflight.domain.value import Value

Name = tuple[str, str]
_ENCODER = msgspec.json.Encoder()


class World(Value):
    """The tools against which some policies are validated.

    Policies see a tool by its groups and by the arguments they look at, so of the tools that look
    the same to them one stands for all; `alike` says for which.
    """

    alike: Mapping[Name, Sequence[Name]]
    targets: Mapping[Name, Target]
    seen: Mentions
    monitors: tuple[str, ...] = ()

    @property
    def schema(self) -> cedarpy.Schema:
        """The schema of all of them."""
        return make_world_schema(self.targets.values(), self.seen, self.monitors)


def worlds(
    policies: Iterable[Policy],
    registered: Mapping[Name, Target],
    monitors: tuple[str, ...] = (),
) -> Iterable[tuple[list[Policy], World]]:
    """Policies in groups that look at the same arguments, each with the tools to hold it against.

    Without this, validating costs policies times tools: a thousand by a thousand took minutes.
    """
    shapes = {name: arguments_shape(target.schema) for name, target in registered.items()}
    known = frozenset(m.id for shape in shapes.values() for m in shape.members.values())
    groups: dict[tuple[bool, Mentions], list[Policy]] = {}
    for policy in policies:
        groups.setdefault((_is_headed(policy), _arguments_of(policy, known)), []).append(policy)
    for (is_headed, seen), group in groups.items():
        named = {n: registered[n] for p in group for n in sorted(named_tools(p)) if n in registered}
        alike: dict[object, list[Name]] = {}
        for name in [] if is_headed else sorted(registered):
            look = (registered[name].traits.effect, _look(narrow(shapes[name], seen)))
            alike.setdefault(look, []).append(name)
        stand_ins = {names[0]: tuple(names) for names in alike.values()}
        targets = named | {name: registered[name] for name in stand_ins}
        yield group, World(alike=stand_ins, targets=targets, seen=seen, monitors=monitors)


def _arguments_of(policy: Policy, known: frozenset[str]) -> Mentions:
    """The arguments that a policy looks at, among those that any tool has."""
    seen = policy.mentions
    if not seen.group("args"):
        return Mentions()
    inside = seen.inside("args")
    return EVERYTHING if inside is None else Mentions(names=inside & known)


def _look(shape: RecordOf) -> bytes:
    return canonical(cedar_type(shape))


def _is_headed(policy: Policy) -> bool:
    """Whether the head of a policy names nothing but tools."""
    match policy.template.action:
        case pst.ActionEq(entity=entity):
            return parse_tool_action_id(entity.id) is not None
        case pst.ActionIn(entities=entities):
            return all(parse_tool_action_id(entity.id) is not None for entity in entities)
        case pst.ScopeAny():
            return False


def headed(policy: Policy, registered: Mapping[Name, Target]) -> Policy:
    """A policy about one tool entity, as one about the action on it: no other action reaches it."""
    resource = policy.template.resource
    if not isinstance(resource, pst.ScopeEq) or isinstance(resource.entity, pst.Slot):
        return policy
    if str(resource.entity.type) != "Tool" or "/" not in resource.entity.id:
        return policy
    name = parse_tool_id(resource.entity.id)
    target = registered.get(name)
    action = action_uid(tool_action_id(*name))
    if target is None or not _admits(policy.template.action, action, tool_groups(target)):
        return policy
    return with_template(policy, action=pst.ActionEq(entity=action))


def _admits(head: pst.ActionConstraint, action: pst.EntityUid, groups: Iterable[str]) -> bool:
    match head:
        case pst.ScopeAny():
            return True
        case pst.ActionEq(entity=entity):
            return entity == action
        case pst.ActionIn(entities=entities):
            return not {action, *map(action_uid, groups)}.isdisjoint(entities)


def action_uid(identifier: str) -> pst.EntityUid:
    """An action as policies name it."""
    return pst.EntityUid(type=pst.EntityType(basename="Action"), id=identifier)


def make_world_schema(
    targets: Iterable[Target], seen: Mentions, monitors: Iterable[str] = ()
) -> cedarpy.Schema:
    """The whole schema over these tools, with the arguments that `seen` may look at."""
    whole = whole_schema(targets, seen=seen, monitors=tuple(monitors))
    document = _ENCODER.encode(whole).decode()
    return cedarpy.Schema.from_json_str(document, release_gil=True)


def named_tools(policy: Policy) -> set[Name]:
    """The tools that a policy names, in its head or conditions."""
    found: set[Name] = set()
    for uid in pst.entity_uids(policy.template):
        kind = str(uid.type)
        if kind == "Action" and (name := parse_tool_action_id(uid.id)) is not None:
            found.add(name)
        elif kind == "Tool" and "/" in uid.id:
            found.add(parse_tool_id(uid.id))
    return found


def with_template(
    policy: Policy,
    *,
    action: pst.ActionConstraint | None = None,
    clauses: tuple[pst.Clause, ...] | None = None,
) -> Policy:
    """The policy with another action or other conditions, its text included."""
    changed = policy.template
    if action is not None:
        changed = dataclasses.replace(changed, action=action)
    if clauses is not None:
        changed = dataclasses.replace(changed, clauses=clauses)
    policy = msgspec.structs.replace(policy, template=changed)
    text = str(make_handle([policy]))
    return msgspec.structs.replace(
        policy, statement=msgspec.structs.replace(policy.statement, text=text)
    )


__all__ = [
    "Name",
    "World",
    "action_uid",
    "headed",
    "make_world_schema",
    "named_tools",
    "with_template",
    "worlds",
]
