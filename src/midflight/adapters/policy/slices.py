"""Slices: the policies that can apply to one question, and no others.

Evaluation is linear in the policies it is given, so each policy stands in the bucket of whatever
its head names: a resource or its upstream, an action or its group, a workload or its team. A slice
is the union of the buckets that a question touches, and decides what the whole set would decide,
since a policy whose head does not match is no part of a decision. Slices are built when first
needed, and those with the same policies share one handle.
Below: `parsing.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import cedarpy
from cedarpy import pst

from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.parsing import Policy
from midflight.adapters.policy.schema import Mentions
from midflight.domain.decision import Permit
from midflight.domain.value import Value

Bucket: TypeAlias = tuple[str, str]
"""(entity type, id) of what a head names; `COMMON` for a head that names nothing."""

COMMON: Bucket = ("", "")

MAX_SLICES = 4_096


class Slice(Value):
    """The policies for some questions.

    Attributes:
        policies: by id, in the set's order.
        handle: them, parsed.
        mentions: what they look at.
        tells_apart: some condition looks at the name of the resource or action, so that two
            targets with equal facts can have different answers.
        monitors: the declared monitors that they look at.
        permits: permits made so far, by the policies that determined them: what one says follows
            from those alone, and most questions have one of a few answers.
    """

    policies: Mapping[str, Policy]
    handle: cedarpy.PolicySet
    mentions: Mentions
    tells_apart: bool
    monitors: tuple[str, ...] = ()
    permits: dict[tuple[str, ...], Permit] = {}

    @property
    def asks(self) -> bool:
        """Whether an approval can make a difference at all."""
        return self.mentions.group("approval")


class SliceIndex:
    """All policies of a set by bucket, and the slices made so far."""

    def __init__(self, policies: Iterable[Policy], monitors: Iterable[str] = ()) -> None:
        self._monitors = tuple(monitors)
        self._buckets: dict[Bucket, list[tuple[int, Policy]]] = {}
        for position, policy in enumerate(policies):
            for bucket in buckets(policy.template):
                self._buckets.setdefault(bucket, []).append((position, policy))
        self._slices = Bounded[tuple[int, ...], Slice](MAX_SLICES)

    def used(self, candidates: Iterable[Bucket]) -> tuple[Bucket, ...]:
        """Those of the buckets that hold something: equal for questions with equal slices."""
        return tuple(bucket for bucket in candidates if bucket in self._buckets)

    def slice(self, touched: Iterable[Bucket]) -> Slice:
        """The policies in these buckets. A question also touches `COMMON`."""
        found = {
            position: policy
            for bucket in touched
            for position, policy in self._buckets.get(bucket, ())
        }
        order = tuple(sorted(found))
        known = self._slices.get(order)
        if known is None:
            known = make_slice([found[position] for position in order], self._monitors)
            self._slices.put(order, known)
        return known


def make_slice(policies: Sequence[Policy], monitors: Iterable[str] = ()) -> Slice:
    """A slice of exactly these policies. `monitors` are all that are declared."""
    seen = Mentions()
    for policy in policies:
        seen = seen.join(policy.mentions)
    inside = seen.inside("run") if seen.group("run") else frozenset[str]()
    return Slice(
        policies={policy.id: policy for policy in policies},
        handle=make_handle(policies),
        mentions=seen,
        tells_apart=any(policy.tells_apart for policy in policies),
        monitors=tuple(name for name in monitors if inside is None or name in inside),
    )


def make_handle(policies: Iterable[Policy]) -> cedarpy.PolicySet:
    """These policies as the engine takes them, known by their `@id`."""
    return cedarpy.PolicySet.from_pst(
        pst.PolicySet(
            templates=pst.FrozenMap(),
            static_policies=pst.FrozenMap({policy.id: policy.template for policy in policies}),
            template_links=(),
        )
    )


def buckets(template: pst.Template) -> frozenset[Bucket]:
    """The buckets of a policy: any one part of its head is enough, so the narrowest is taken."""
    resource = _named(template.resource)
    if resource is not None:
        return frozenset({resource})
    match template.action:
        case pst.ActionEq(entity=entity):
            action = frozenset({_bucket(entity)})
        case pst.ActionIn(entities=entities):
            action = frozenset(_bucket(entity) for entity in entities)
        case pst.ScopeAny():
            action = None
    principal = _named(template.principal)
    if principal is not None and (action is None or not any("::" in i for _, i in action)):
        return frozenset({principal})
    return frozenset({COMMON}) if action is None else action


def _named(constraint: pst.PrincipalOrResourceConstraint) -> Bucket | None:
    match constraint:
        case pst.ScopeEq(entity=entity) | pst.ScopeIn(entity=entity):
            return _bucket(entity)
        case pst.ScopeIsIn(entity=entity):
            return _bucket(entity)
        case pst.ScopeAny() | pst.ScopeIs():
            return None


def _bucket(entity: pst.EntityOrSlot) -> Bucket:
    if isinstance(entity, pst.Slot):
        raise TypeError("a template has no slice")
    return (str(entity.type), entity.id)


__all__ = ["COMMON", "Bucket", "Slice", "SliceIndex", "buckets", "make_handle", "make_slice"]
