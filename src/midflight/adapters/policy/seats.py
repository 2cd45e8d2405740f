"""Seats: all that is worth keeping about one target, until the set or the target changes.

A seat knows the shape of its arguments, its ids in Cedar and, for each kind of caller that the set
tells apart, the slice and the typed schema to ask with. Making one costs a millisecond, and using
one nothing. Below: `slices.py`, `schema.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from functools import cached_property

import cedarpy
import msgspec

from midflight.adapters.policy.entities import resource_type, resource_uid, uid
from midflight.adapters.policy.names import tool_action_id
from midflight.adapters.policy.schema import KIND_GROUPS, KIND_SHAPES, slice_schema, tool_groups
from midflight.adapters.policy.shapes import RecordOf, arguments_shape
from midflight.adapters.policy.slices import COMMON, Bucket, Slice, SliceIndex
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import Target
from midflight.domain.value import JSONObject, Value

# Kinds of callers that have policies of their own, per target, before plans are made anew.
MAX_PLANS = 256

_ENCODER = msgspec.json.Encoder()


class Plan(Value):
    """What to ask with. `wanted` are the arguments to carry; None for all of them."""

    slice: Slice
    schema: cedarpy.Schema
    wanted: frozenset[str] | None


class Seat:
    """One tool, or everything of one other kind at one upstream that no policy names by itself."""

    def __init__(self, kind: ActionKind, target: Target, index: SliceIndex) -> None:
        self.kind = kind
        self.target = target
        self.is_tool = kind is ActionKind.CALL_TOOL
        self.action_id = (
            tool_action_id(target.upstream, target.name) if self.is_tool else kind.value
        )
        self.action = uid("Action", self.action_id)
        self.groups = tool_groups(target) if self.is_tool else KIND_GROUPS[kind]
        self._index = index
        self._plans: dict[tuple[Bucket, ...], Plan] = {}
        resource = resource_uid(kind, target)
        self._own: tuple[Bucket, ...] = (
            (resource["type"], resource["id"]),
            *([("Action", self.action_id)] if self.is_tool else []),
        )
        self._shared: tuple[Bucket, ...] = (
            ("Upstream", target.upstream),
            *([] if self.is_tool else [("Action", self.action_id)]),
            *(("Action", group) for group in self.groups),
        )

    @cached_property
    def shape(self) -> RecordOf | None:
        """The shape of its arguments; None if they have no types."""
        return arguments_shape(self.target.schema) if self.is_tool else KIND_SHAPES.get(self.kind)

    def parts(self, workload: Workload) -> tuple[Slice, Slice]:
        """The policies it shares with other targets of its upstream, and those about it alone."""
        caller = self._index.used((("Workload", workload.id), ("Team", workload.team)))
        return (
            self._index.slice((COMMON, *self._shared, *caller)),
            self._index.slice(self._own),
        )

    def plan(self, workload: Workload) -> Plan:
        """What to ask with for this caller."""
        caller = self._index.used((("Workload", workload.id), ("Team", workload.team)))
        plan = self._plans.get(caller)
        if plan is None:
            plan = self._make_plan(caller)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[caller] = plan
        return plan

    def _make_plan(self, caller: tuple[Bucket, ...]) -> Plan:
        part = self._index.slice((COMMON, *self._own, *self._shared, *caller))
        document = slice_schema(
            self.action_id,
            groups=self.groups,
            resource=resource_type(self.kind),
            shape=self.shape,
            seen=part.mentions,
            monitors=part.monitors,
        )
        wanted = part.mentions.inside("args") if part.mentions.group("args") else frozenset[str]()
        return Plan(slice=part, schema=make_schema(document), wanted=wanted)


def make_schema(document: JSONObject) -> cedarpy.Schema:
    """A schema document as the engine takes it."""
    return cedarpy.Schema.from_json_str(_ENCODER.encode(document).decode())


def named_item(kind: ActionKind, target: Target, index: SliceIndex) -> str:
    """The item's id if some policy names it in its head, else an empty string."""
    resource = resource_uid(kind, target)
    return resource["id"] if index.used(((resource["type"], resource["id"]),)) else ""


__all__ = ["MAX_PLANS", "Plan", "Seat", "make_schema", "named_item"]
