"""What a workload may see in a list: all but what no argument and no approval could permit.

Asked by Cedar's partial evaluation, with everything unknown that can differ between listing and
calling: arguments, approval, the time, age, steps, standing and monitors, the caller's address.
Hiding is a courtesy to the agent and no protection, so doubt means visible; `decide` judges the
call anyway.
Answers are kept per workload and coarse facts, for as long as the set and the registration last.
Below: `seats.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeAlias

import cedarpy
import msgspec

from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.calls import is_authorized_partial
from midflight.adapters.policy.context import facts_context, prune
from midflight.adapters.policy.entities import (
    build_entities,
    join_workload,
    resource_type,
    resource_uid,
)
from midflight.adapters.policy.schema import bare_schema
from midflight.adapters.policy.seats import Seat, make_schema
from midflight.adapters.policy.slices import Slice
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import RunFacts, Source, Target
from midflight.domain.value import JSONObject, Value

MAX_VIEWS = 1_024
MAX_KNOWN = 16_384
MAX_LISTED = 32

_CHANGING = ("age_s", "steps", "labels_source", "risk", "response", "findings")
"""Of a run: what is another value when one of the listed things is called."""

_ENCODER = msgspec.json.Encoder()
_Key: TypeAlias = tuple[object, ...]


class Listed(Value):
    """The targets of one list as Cedar takes them, for whichever workload asks for it."""

    targets: cedarpy.Entities
    schema: cedarpy.Schema


class Visibility:
    """All views of one generation of the engine."""

    def __init__(self) -> None:
        self._views = Bounded[_Key, View](MAX_VIEWS)
        self._listed = Bounded[_Key, Listed](MAX_LISTED)

    def view(self, *, workload: Workload, run: RunFacts, source: Source) -> View:
        """What a workload in this situation sees."""
        key = (workload, run.has_intent, run.implicit, run.labels, source.point, source.proof)
        view = self._views.get(key)
        if view is None:
            view = View(run, source, self._listed)
            self._views.put(key, view)
        return view


class View:
    """What is visible in one situation, as far as it was asked."""

    def __init__(self, run: RunFacts, source: Source, listed: Bounded[_Key, Listed]) -> None:
        """`listed` are the lists that any view has asked about."""
        self._listed = listed
        self._run = run
        self._source = source
        self._known = Bounded[_Key, bool](MAX_KNOWN)
        self._lists = Bounded[tuple[ActionKind, int], tuple[Sequence[Target], frozenset[str]]](
            MAX_LISTED
        )

    def shown(self, kind: ActionKind, targets: Sequence[Target]) -> frozenset[str] | None:
        """The names that this very list was answered with, or None."""
        found = self._lists.get((kind, id(targets)))
        return None if found is None else found[1]

    def show(
        self, kind: ActionKind, targets: Sequence[Target], names: Iterable[str]
    ) -> frozenset[str]:
        """The names, remembered for a list that nobody can change."""
        shown = frozenset(names)
        if isinstance(targets, tuple):
            # With the list itself, so that no other one gets its id.
            self._lists.put((kind, id(targets)), (targets, shown))
        return shown

    def known(self, kind: ActionKind, target: Target) -> bool | None:
        """Whether the target is visible, or None if that was not asked yet."""
        return self._known.get(_key(kind, target))

    def ask(
        self,
        kind: ActionKind,
        targets: Sequence[Target],
        seats: Iterable[tuple[Target, Seat]],
        *,
        workload: Workload,
    ) -> set[str]:
        """Names of those that some arguments, approval or moment could make a yes; remembered.

        Targets without a seat are denied whatever is asked, so they are hidden.
        What a target shares with others is asked once for all that no policy tells apart; its own
        policies are asked for it alone. Either can forbid, and either can permit.
        """
        if not targets:
            return set()
        seated = list(seats)
        names: set[str] = set()
        answers = dict.fromkeys((_key(kind, target) for target in targets), False)
        entities = self._entities(kind, seated, workload)
        alike: dict[_Key, _Part] = {}
        for target, seat in seated:
            ask = _Asking(kind, target, seat, entities, workload)
            shared, own = seat.parts(workload)
            traits = (target.upstream, target.traits, target.pin_state)
            key = (*traits, tuple(shared.policies), target.name if shared.tells_apart else None)
            found = alike.get(key)
            if found is None:
                found = alike[key] = ask.part(shared, self._context(shared))
            if own.policies and not found.forbids:
                found = found.join(ask.part(own, self._context(own)))
            if found.may_permit and not found.forbids:
                answers[_key(kind, target)] = True
                names.add(target.name)
        for key, visible in answers.items():
            self._known.put(key, visible)
        return names

    def _entities(
        self, kind: ActionKind, seated: Sequence[tuple[Target, Seat]], workload: Workload
    ) -> cedarpy.Entities:
        """The entities of a whole list. What every workload is shown of is parsed once."""
        key = (kind, *(_key(kind, target) for target, _ in seated))
        listed = self._listed.get(key)
        if listed is None:
            listed = list_entities(kind, seated)
            self._listed.put(key, listed)
        return join_workload(listed.targets, workload=workload, schema=listed.schema)

    def _context(self, policies: Slice) -> JSONObject:
        seen = policies.mentions
        context = facts_context(self._run, self._source, 0, seen=seen)
        if "run" in context:
            context["run"] |= {name: _unknown(name) for name in _CHANGING}
            context["run"] |= {name: _unknown(f"monitor {name}") for name in policies.monitors}
        if "source" in context:
            context["source"]["peer"] = _unknown("peer")
        prune(context, seen)  # an unknown costs as much as a policy
        for group in ("time", "approval", "args", "untyped"):
            if seen.group(group):
                context[group] = _unknown(group)
        return context


class _Part(Value):
    """What some of the policies say: they certainly forbid; they may permit."""

    forbids: bool
    may_permit: bool

    def join(self, other: _Part) -> _Part:
        return _Part(
            forbids=self.forbids or other.forbids, may_permit=self.may_permit or other.may_permit
        )


class _Asking:
    """Partial evaluation for one target."""

    def __init__(
        self,
        kind: ActionKind,
        target: Target,
        seat: Seat,
        entities: cedarpy.Entities,
        workload: Workload,
    ) -> None:
        resource = resource_uid(kind, target)
        self._entities = entities
        self._request: JSONObject = {
            "principal": _literal("Workload", workload.id),
            "action": _literal("Action", seat.action_id),
            "resource": _literal(resource["type"], resource["id"]),
        }

    def part(self, policies: Slice, context: JSONObject) -> _Part:
        """What these policies say about the target."""
        self._request["context"] = _ENCODER.encode(context).decode()
        result = is_authorized_partial(self._request, policies.handle, self._entities)
        denied = result.decision is cedarpy.Decision.Deny
        # An error, or an id that Cedar will not read as text, is doubt.
        doubt = bool(result.diagnostics.errors)
        return _Part(
            forbids=denied and bool(result.diagnostics.reasons), may_permit=doubt or not denied
        )


def list_entities(kind: ActionKind, seated: Sequence[tuple[Target, Seat]]) -> Listed:
    """The targets of a whole list. The schema only brings their actions and groups."""
    actions = {seat.action_id: seat.groups for _, seat in seated}
    schema = make_schema(bare_schema(actions, resource=resource_type(kind)))
    targets = [target for target, _ in seated]
    return Listed(
        targets=build_entities(kind, workload=None, targets=targets, schema=schema), schema=schema
    )


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
