"""The typed Cedar schema: entity types, action groups, and one action per tool.

In Cedar the type of the context belongs to the action, so each tool has an action of its own, typed
from its input schema, and policies are written against the groups it is a member of: `call_tool`
and its effect. The schema has two uses. Validation takes it whole (`whole_schema`). A decision
takes the part that its slice can see (`slice_schema`): what no policy looks at is not carried,
which keeps the cost of a decision independent of the number of tools and the size of arguments.
Below: `shapes.py`, `names.py`. Above: `slices.py`, `validation.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from midflight.adapters.policy.names import tool_action_id
from midflight.adapters.policy.shapes import (
    EMPTY,
    Member,
    RecordOf,
    Scalar,
    SetOf,
    arguments_shape,
    cedar_type,
)
from midflight.domain.action import ActionKind
from midflight.domain.question import Target
from midflight.domain.traits import Effect
from midflight.domain.value import JSONObject, Value

_STRING: JSONObject = {"type": "String"}
_LONG: JSONObject = {"type": "Long"}
_BOOL: JSONObject = {"type": "Boolean"}
_STRINGS: JSONObject = {"type": "Set", "element": _STRING}

# Everything in the context besides `args`: a record of scalars, or a plain type.
CONTEXT: Mapping[str, JSONObject] = {
    "run": {
        "has_intent": _BOOL,
        "implicit": _BOOL,
        "age_s": _LONG,
        "steps": _LONG,
        "untrusted": _BOOL,
        "confidentiality": _LONG,
        "compartments": _STRINGS,
        "labels_source": _STRING,
        "risk": _LONG,
        "response": _STRING,
        "findings": _STRINGS,
    },
    "flow": {
        "origin": _STRING,
        "asked": _BOOL,
        "concerns": _STRINGS,
        "arguments": _STRINGS,
        "roles": _STRINGS,
        "carries": _LONG,
        "carries_compartments": _STRINGS,
    },
    "source": {"point": _STRING, "proof": _STRING, "peer": _STRING},
    "time": {"unix": _LONG, "hour": _LONG, "weekday": _LONG},
    "approval": {"granted": _BOOL},
}

_RESOURCE: JSONObject = {
    "upstream": _STRING,
    "name": _STRING,
    "effect": _STRING,
    "reach": _STRING,
    "pinned": _BOOL,
    "reviewed": _BOOL,
    "proposed": _BOOL,
}
_WORKLOAD: JSONObject = {
    "tier": _STRING,
    "mode": _STRING,
    "kind": _STRING,
    "owner": _STRING,
    "team": _STRING,
    "attested": _BOOL,
}


def _record(attributes: JSONObject) -> JSONObject:
    return {"type": "Record", "attributes": attributes}


_ENTITY_TYPES: JSONObject = {
    "Team": {},
    "Upstream": {},
    "Workload": {"memberOfTypes": ["Team"], "shape": _record(_WORKLOAD)},
    "Tool": {"memberOfTypes": ["Upstream"], "shape": _record(_RESOURCE)},
    "Item": {"memberOfTypes": ["Upstream"], "shape": _record(_RESOURCE)},
}

# What takes something in without changing anything is in group `read`, whatever message asks.
KIND_GROUPS: Mapping[ActionKind, tuple[str, ...]] = {
    ActionKind.READ_RESOURCE: (Effect.READ.value,),
    ActionKind.GET_PROMPT: (Effect.READ.value,),
    ActionKind.COMPLETE: (Effect.READ.value,),
    ActionKind.SUBSCRIBE: (Effect.READ.value,),
    ActionKind.LIST: (Effect.READ.value,),
    ActionKind.ANSWER: (),
    ActionKind.NOTIFY: (),
    ActionKind.TASK: (),
    ActionKind.OPEN_RUN: (),
    ActionKind.DELEGATE: (),
    ActionKind.LEASE: (),
}
# Messages whose arguments have a type of their own.
KIND_SHAPES: Mapping[ActionKind, RecordOf] = {
    ActionKind.OPEN_RUN: RecordOf(
        members={"opener": Member(id="opener", shape=Scalar.STRING, required=True)}, closed=True
    ),
    ActionKind.DELEGATE: RecordOf(
        members={
            "delegate": Member(id="delegate", shape=Scalar.STRING, required=True),
            "owner": Member(id="owner", shape=Scalar.STRING, required=True),
            "team": Member(id="team", shape=Scalar.STRING, required=True),
            "depth": Member(id="depth", shape=Scalar.LONG, required=True),
            "opener": Member(id="opener", shape=Scalar.STRING, required=True),
        },
        closed=True,
    ),
    ActionKind.LEASE: RecordOf(
        members={
            "credential": Member(id="credential", shape=Scalar.STRING, required=True),
            "backend": Member(id="backend", shape=Scalar.STRING, required=True),
            "upstream": Member(id="upstream", shape=Scalar.STRING, required=True),
            "bound": Member(id="bound", shape=Scalar.BOOL, required=True),
            "scopes": Member(id="scopes", shape=SetOf(element=Scalar.STRING), required=True),
            "ttl_s": Member(id="ttl_s", shape=Scalar.LONG, required=True),
            "revocability": Member(id="revocability", shape=Scalar.STRING, required=True),
        },
        closed=True,
    ),
}
_GROUPS: tuple[str, ...] = (ActionKind.CALL_TOOL.value, *(effect.value for effect in Effect))


class Mentions(Value):
    """Which names policies look at: an upper bound, so that the rest need not be carried.

    Attributes:
        names: every attribute name that stands behind a `.`, `[…]` or `has`.
        whole: top-level attributes of the context that are used as a whole record or value;
            `context` itself stands for all of it.
    """

    names: frozenset[str] = frozenset()
    whole: frozenset[str] = frozenset()

    def join(self, other: Mentions) -> Mentions:
        """What either looks at."""
        return Mentions(names=self.names | other.names, whole=self.whole | other.whole)

    def group(self, name: str) -> bool:
        """Whether the top-level attribute `name` of the context may be looked at."""
        return name in self.names or "context" in self.whole

    def inside(self, group: str) -> frozenset[str] | None:
        """Names inside a top-level record that may be looked at; None for all of them."""
        return None if group in self.whole or "context" in self.whole else self.names


EVERYTHING = Mentions(whole=frozenset({"context"}))


def tool_groups(target: Target) -> tuple[str, ...]:
    """The action groups of a tool."""
    return (ActionKind.CALL_TOOL.value, target.traits.effect.value)


def slice_schema(
    action: str,
    *,
    groups: Iterable[str],
    resource: str,
    shape: RecordOf | None,
    seen: Mentions,
    monitors: Iterable[str] = (),
) -> JSONObject:
    """The schema of one action, with the part of its context that `seen` may look at.

    `shape` is that of the arguments, or None if the action has none that are typed; `monitors`
    are those of them that are declared.
    """
    return _document({action: _action(groups, resource, _context(shape, seen, monitors))})


def bare_schema(actions: Mapping[str, Iterable[str]], *, resource: str) -> JSONObject:
    """Actions with their groups and nothing in their context: for entities alone."""
    return _document(
        {action: _action(groups, resource, _record({})) for action, groups in actions.items()}
    )


def whole_schema(
    targets: Iterable[Target], *, seen: Mentions = EVERYTHING, monitors: Iterable[str] = ()
) -> JSONObject:
    """The schema of everything registered, against which policies are validated.

    Each effect also has one tool without arguments, `/any-<effect>`: a policy for a group must
    hold for tools that are registered later, so it has to ask `has` before it looks at an argument.
    Of the tools' arguments those that `seen` may look at are typed.
    """
    actions: JSONObject = {}
    for kind, groups in KIND_GROUPS.items():
        context = _context(KIND_SHAPES.get(kind), EVERYTHING, monitors)
        actions[kind.value] = _action(groups, "Item", context)
    for effect in Effect:
        groups = (ActionKind.CALL_TOOL.value, effect.value)
        context = _context(EMPTY, EVERYTHING, monitors)
        actions[tool_action_id("", f"any-{effect.value}")] = _action(groups, "Tool", context)
    for target in targets:
        shape = narrow(arguments_shape(target.schema), seen)
        actions[tool_action_id(target.upstream, target.name)] = _action(
            tool_groups(target), "Tool", _context(shape, EVERYTHING, monitors)
        )
    return _document(actions)


def _document(actions: JSONObject) -> JSONObject:
    groups: dict[str, Any] = {group: {} for group in _GROUPS}
    return {"": {"entityTypes": _ENTITY_TYPES, "actions": groups | actions}}


def _action(groups: Iterable[str], resource: str, context: JSONObject) -> JSONObject:
    return {
        "memberOf": [{"id": group} for group in groups],
        "appliesTo": {
            "principalTypes": ["Workload"],
            "resourceTypes": [resource],
            "context": context,
        },
    }


def _context(shape: RecordOf | None, seen: Mentions, monitors: Iterable[str]) -> JSONObject:
    attributes: JSONObject = {}
    for group, fixed in CONTEXT.items():
        if seen.group(group):
            inside = seen.inside(group)
            members = {**fixed, **dict.fromkeys(monitors, _LONG)} if group == "run" else fixed
            attributes[group] = _record(
                {k: v for k, v in members.items() if inside is None or k in inside}
            )
    if seen.group("untyped"):
        attributes["untyped"] = _STRINGS
    if shape is not None and seen.group("args"):
        attributes["args"] = cedar_type(narrow(shape, seen))
    return _record(attributes)


def narrow(shape: RecordOf, seen: Mentions) -> RecordOf:
    """The part of the arguments that `seen` may look at."""
    inside = seen.inside("args")
    if inside is None:
        return shape
    kept = {k: m for k, m in shape.members.items() if m.id in inside}
    return RecordOf(members=kept, closed=shape.closed)


__all__ = [
    "CONTEXT",
    "EVERYTHING",
    "KIND_GROUPS",
    "KIND_SHAPES",
    "Mentions",
    "bare_schema",
    "narrow",
    "slice_schema",
    "tool_groups",
    "whole_schema",
]
