"""What a workload may see in a list: all but what no argument and no approval could permit.

Asked by Cedar's partial evaluation, with everything unknown that can differ between listing and
calling: arguments, approval, the time, age and steps of the run, the caller's address. Hiding is a
courtesy to the agent and no protection, so doubt means visible; `decide` judges the call anyway.
Answers are kept per workload and coarse facts, for as long as the set and the registration last.
Below: `seats.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from typing import TypeAlias

import cedarpy
import msgspec

from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.calls import is_authorized_partial
from midflight.adapters.policy.context import facts_context
from midflight.adapters.policy.entities import resource_uid
from midflight.adapters.policy.schema import Mentions
from midflight.adapters.policy.seats import Plan, Seat
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import RunFacts, Source, Target
from midflight.domain.value import JSONObject

MAX_VIEWS = 1_024
MAX_KNOWN = 16_384

_ENCODER = msgspec.json.Encoder()
_Key: TypeAlias = tuple[object, ...]


class Visibility:
    """All views of one generation of the engine."""

    def __init__(self) -> None:
        self._views = Bounded[_Key, View](MAX_VIEWS)

    def view(self, *, workload: Workload, run: RunFacts, source: Source) -> View:
        """What a workload in this situation sees."""
        key = (workload, run.has_intent, run.implicit, run.labels, source.point, source.proof)
        view = self._views.get(key)
        if view is None:
            view = View(run, source)
            self._views.put(key, view)
        return view


class View:
    """What is visible in one situation, as far as it was asked."""

    def __init__(self, run: RunFacts, source: Source) -> None:
        self._run = run
        self._source = source
        self._known = Bounded[_Key, bool](MAX_KNOWN)
        self._alike: dict[_Key, bool] = {}

    def known(self, kind: ActionKind, target: Target) -> bool | None:
        """Whether the target is visible, or None if that was not asked yet."""
        return self._known.get(_key(kind, target))

    def learn(self, kind: ActionKind, target: Target, *, visible: bool) -> None:
        """Remember an answer."""
        self._known.put(_key(kind, target), visible)

    def ask(
        self, seat: Seat, plan: Plan, entities: cedarpy.Entities, *, workload: Workload, of: Target
    ) -> bool:
        """Whether some arguments, approval or moment could make this a yes.

        Targets that no policy tells apart have one answer: most of a list costs one question.
        """
        if plan.slice.tells_apart:
            return self._evaluate(seat, plan, entities, workload, of)
        alike = (seat.kind, of.upstream, of.traits, of.pin_state, tuple(plan.slice.policies))
        visible = self._alike.get(alike)
        if visible is None:
            visible = self._alike[alike] = self._evaluate(seat, plan, entities, workload, of)
        return visible

    def _evaluate(
        self, seat: Seat, plan: Plan, entities: cedarpy.Entities, workload: Workload, target: Target
    ) -> bool:
        resource = resource_uid(seat.kind, target)
        result = is_authorized_partial(
            {
                "principal": _literal("Workload", workload.id),
                "action": _literal("Action", seat.action_id),
                "resource": _literal(resource["type"], resource["id"]),
                "context": _ENCODER.encode(self._context(plan.slice.mentions)).decode(),
            },
            plan.slice.handle,
            entities,
        )
        # An error, or an id that Cedar will not read as text, is doubt.
        return result.decision is not cedarpy.Decision.Deny or bool(result.diagnostics.errors)

    def _context(self, seen: Mentions) -> JSONObject:
        context = facts_context(self._run, self._source, 0, seen=seen)
        if "run" in context:
            context["run"] |= {name: _unknown(name) for name in ("age_s", "steps", "labels_source")}
        if "source" in context:
            context["source"]["peer"] = _unknown("peer")
        for group in ("time", "approval", "args", "untyped"):
            if seen.group(group):
                context[group] = _unknown(group)
        return context


def _unknown(name: str) -> JSONObject:
    """A value that partial evaluation leaves open."""
    return {"__extn": {"fn": "unknown", "arg": name}}


def _literal(kind: str, identifier: str) -> str:
    """An entity id as Cedar text: partial evaluation takes no dicts."""
    escaped = identifier.replace("\\", "\\\\").replace('"', '\\"')
    return f'{kind}::"{escaped}"'


def _key(kind: ActionKind, target: Target) -> _Key:
    return (kind, target.upstream, target.name, target.pin_state, target.traits)


__all__ = ["View", "Visibility"]
