"""Capabilities of servers and clients, between the generations.

Most capabilities mean the same on both sides. Tasks do not: 2025-11-25 has the client ask for a
task and block on `tasks/result`, 2026-07-28 has an extension in which the server decides and the
client polls and answers through `tasks/update`. A gateway that turned one into the other would
have to own the polling and keep results of calls whose run is over; so tasks are declared only
where both sides speak the same generation, and a tool that can only run as a task is not listed
across it. Tasks hosted by clients are never declared.
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.domain.value import JSON, JSONObject
from midflight.wire import json
from midflight.wire.malformed import MISSING_CAPABILITY
from midflight.wire.mcp import meta
from midflight.wire.mcp.meta import TASKS_EXTENSION

_LEGACY_TASKS = "tasks"


def capabilities_for_modern(
    capabilities: JSONObject, *, upstream_modern: bool = False
) -> JSONObject:
    """What to declare to modern clients for an upstream with these capabilities.

    A `resources.subscribe` and each `listChanged` stay: they say what `subscriptions/listen` may
    ask for. `logging` stays, per request.
    """
    if upstream_modern:
        return dict(capabilities)
    return {name: value for name, value in capabilities.items() if name != _LEGACY_TASKS}


def capabilities_for_legacy(
    capabilities: JSONObject, *, upstream_modern: bool = True
) -> JSONObject:
    """What to declare to legacy clients for an upstream with these capabilities."""
    if not upstream_modern:
        return dict(capabilities)
    declared: JSONObject = dict(capabilities)
    declared.pop(_LEGACY_TASKS, None)
    extensions = json.as_object(declared.get("extensions"))
    if extensions is not None:
        kept = {name: settings for name, settings in extensions.items() if name != TASKS_EXTENSION}
        declared["extensions"] = kept
        if not kept:
            del declared["extensions"]
    return declared


def missing_extension(declared: JSONObject, extension: str) -> JSONObject | None:
    """The error for a modern request that needs an extension; None if its client declared it."""
    if extension in (json.as_object(declared.get("extensions")) or {}):
        return None
    return {
        "code": MISSING_CAPABILITY,
        "message": f"The client has not declared {extension}.",
        "data": {"requiredCapabilities": {"extensions": {extension: {}}}},
    }


def merged_capabilities(several: Iterable[JSONObject]) -> JSONObject:
    """What the aggregate of several upstreams can do: anything that one of them can.

    Objects merge member by member, booleans by or; of other values the first stands.
    """
    merged: JSONObject = {}
    for capabilities in several:
        merged = _merged(merged, capabilities)
    return merged


def client_capabilities(declared: JSON, *, modern: bool) -> JSONObject:
    """What to declare to an upstream (`modern` or not) on behalf of a client that declared this.

    An upstream can only be told what the client said itself: an undeclared capability would let
    the upstream ask for what nobody answers.
    """
    kept = meta.capabilities(json.as_object(declared) or {})
    roots = kept.get("roots")
    if modern:
        # roots.listChanged went with the notification that it announced.
        if roots:
            kept["roots"] = {}
        return kept
    extensions = json.as_object(kept.get("extensions"))
    if extensions is not None:
        extensions.pop(TASKS_EXTENSION, None)
        if not extensions:
            del kept["extensions"]
    return kept


def _merged(one: JSONObject, other: JSONObject) -> JSONObject:
    result: JSONObject = dict(one)
    for name, value in other.items():
        held = result.setdefault(name, value)
        ours, theirs = json.as_object(held), json.as_object(value)
        if ours is not None and theirs is not None:
            result[name] = _merged(ours, theirs)
        elif type(held) is bool and type(value) is bool:
            result[name] = held or value
    return result


__all__ = [
    "capabilities_for_legacy",
    "capabilities_for_modern",
    "client_capabilities",
    "merged_capabilities",
    "missing_extension",
]
