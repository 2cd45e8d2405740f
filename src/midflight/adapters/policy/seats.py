"""Seats: all that is worth keeping about one target, until the set or the target changes.

A seat knows the shape of its arguments, its ids in Cedar and, for each kind of caller that the set
tells apart, the slice and the typed schema to ask with. Making one costs a millisecond, and using
one nothing. Below: `slices.py`, `schema.py`. Above: `cedar.py`.
"""

from __future__ import annotations

import cedarpy
import msgspec

from midflight.adapters.policy.entities import resource_uid, uid
from midflight.adapters.policy.names import tool_action_id
from midflight.adapters.policy.schema import KIND_GROUPS, KIND_SHAPES, slice_schema, tool_groups
from midflight.adapters.policy.shapes import RecordOf, arguments_shape
from midflight.adapters.policy.slices import Bucket, Slice, SliceIndex
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import Target
from midflight.domain.value import Value

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
        self.shape: RecordOf | None = (
            arguments_shape(target.schema) if self.is_tool else KIND_SHAPES.get(kind)
        )
        self.action_id = (
            tool_action_id(target.upstream, target.name) if self.is_tool else kind.value
        )
        self.action = uid("Action", self.action_id)
        self.groups = tool_groups(target) if self.is_tool else KIND_GROUPS[kind]
        self._index = index
        self._plans: dict[tuple[Bucket, ...], Plan] = {}
        resource = resource_uid(kind, target)
        self._touched: tuple[Bucket, ...] = (
            (resource["type"], resource["id"]),
            ("Upstream", target.upstream),
            ("Action", self.action_id),
            *(("Action", group) for group in self.groups),
        )

    def plan(self, workload: Workload) -> Plan:
        """What to ask with for this caller."""
        own = self._index.used((("Workload", workload.id), ("Team", workload.team)))
        plan = self._plans.get(own)
        if plan is None:
            plan = self._make_plan(own)
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            self._plans[own] = plan
        return plan

    def _make_plan(self, own: tuple[Bucket, ...]) -> Plan:
        part = self._index.slice((*self._touched, *own))
        document = slice_schema(
            self.action_id,
            groups=self.groups,
            resource="Tool" if self.is_tool else "Item",
            shape=self.shape,
            seen=part.mentions,
        )
        wanted = part.mentions.inside("args") if part.mentions.group("args") else frozenset[str]()
        return Plan(
            slice=part,
            schema=cedarpy.Schema.from_json_str(_ENCODER.encode(document).decode()),
            wanted=wanted,
        )


# Callers that have policies of their own, per target, before the plans are made anew.
MAX_PLANS = 256


def named_item(kind: ActionKind, target: Target, index: SliceIndex) -> str:
    """The item's id if some policy names it in its head, else an empty string."""
    resource = resource_uid(kind, target)
    return resource["id"] if index.used(((resource["type"], resource["id"]),)) else ""


__all__ = ["MAX_PLANS", "Plan", "Seat", "named_item"]
