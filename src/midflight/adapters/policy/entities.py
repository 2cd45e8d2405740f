"""Entities of one question: the workload, its team, the resource and its upstream.

They are made from the question's facts, so both ends of a question always exist, which Cedar does
not demand: an unknown entity makes a `forbid` on its attributes vanish. They are always parsed with
the schema, which brings the action groups: without them a `forbid` on a group does not match.
Below: `names.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from cedarpy import Entities, Schema

from midflight.adapters.policy.calls import add_entities, read_entities
from midflight.adapters.policy.names import item_id, tool_id
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import Target
from midflight.domain.tool import PinState
from midflight.domain.value import JSONObject

_ENCODER = msgspec.json.Encoder()


def uid(kind: str, identifier: str) -> dict[str, str]:
    """An entity id as a dict: the string form would have to be escaped and parsed again."""
    return {"type": kind, "id": identifier}


def resource_uid(kind: ActionKind, target: Target) -> dict[str, str]:
    """The entity that a question is about: a `Tool`, or an `Item` for every other kind."""
    if kind is ActionKind.CALL_TOOL:
        return uid("Tool", tool_id(target.upstream, target.name))
    return uid("Item", item_id(kind, target.upstream, target.name))


def resource_type(kind: ActionKind) -> str:
    """The entity type that a question of this kind is about."""
    return "Tool" if kind is ActionKind.CALL_TOOL else "Item"


def build_entities(
    kind: ActionKind, *, workload: Workload | None, targets: Iterable[Target], schema: Schema
) -> Entities:
    """These targets, and the workload if it is given. `ValueError` if they do not fit the schema.

    Without it they are what `join_workload` makes the entities of one workload of.
    """
    found: dict[tuple[str, str], JSONObject] = {}
    first = () if workload is None else _workload(workload)
    for entity in (*first, *(e for t in targets for e in _resource(kind, t))):
        found[entity["uid"]["type"], entity["uid"]["id"]] = entity
    return read_entities(_ENCODER.encode(list(found.values())).decode(), schema)


def join_workload(targets: Entities, *, workload: Workload, schema: Schema) -> Entities:
    """These targets and the workload. `ValueError` if it does not fit the schema."""
    return add_entities(targets, _ENCODER.encode(_workload(workload)).decode(), schema)


def _workload(workload: Workload) -> tuple[JSONObject, ...]:
    team = uid("Team", workload.team)
    attributes: JSONObject = {
        "tier": workload.tier.value,
        "mode": workload.mode.value,
        "kind": workload.kind,
        "owner": workload.owner,
        "team": workload.team,
        # No attestor speaks for workloads yet: nobody is attested.
        "attested": False,
    }
    return (
        {"uid": uid("Workload", workload.id), "attrs": attributes, "parents": [team]},
        {"uid": team, "attrs": {}, "parents": []},
    )


def _resource(kind: ActionKind, target: Target) -> tuple[JSONObject, ...]:
    upstream = uid("Upstream", target.upstream)
    attributes: JSONObject = {
        "upstream": target.upstream,
        "name": target.name,
        "effect": target.traits.effect.value,
        "reach": target.traits.reach.value,
        "pinned": target.pin_state is PinState.PINNED,
        "reviewed": target.traits.reviewed,
        "proposed": target.traits.proposed,
    }
    return (
        {"uid": resource_uid(kind, target), "attrs": attributes, "parents": [upstream]},
        {"uid": upstream, "attrs": {}, "parents": []},
    )


__all__ = ["build_entities", "join_workload", "resource_type", "resource_uid", "uid"]
