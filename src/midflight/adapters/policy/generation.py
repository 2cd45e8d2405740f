"""One policy set over one registration of tools, and everything made for it.

A generation is replaced as a whole, so no decision sees half of a change; what does not depend on
the change is carried over. Its caches are bounded. Below: `seats.py`. Above: `cedar.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from midflight.adapters.policy.answers import Answers
from midflight.adapters.policy.arguments import is_unicode
from midflight.adapters.policy.bounded import Bounded
from midflight.adapters.policy.entities import build_entities, resource_uid, uid
from midflight.adapters.policy.parsing import CedarSet
from midflight.adapters.policy.parties import Parties
from midflight.adapters.policy.seats import Seat, named_item
from midflight.adapters.policy.slices import SliceIndex
from midflight.adapters.policy.visible import Visibility
from midflight.domain.action import ActionKind
from midflight.domain.identity import Workload
from midflight.domain.question import Target

MAX_PARTIES = 8_192
MAX_ITEM_SEATS = 1_024


class Generation:
    """One set over one registration, and all that was made for it. Replaced as a whole."""

    def __init__(
        self, policies: CedarSet | None, targets: Mapping[tuple[str, str], Target], number: int
    ) -> None:
        self.number = number
        self.policies = policies
        self.targets = targets
        self.index = SliceIndex(
            policies.policies.values() if policies else (),
            (monitor.name for monitor in policies.monitors) if policies else (),
        )
        self.parties = Bounded[tuple[object, ...], Parties](MAX_PARTIES)
        self.answers = Answers()
        self.items = Bounded[tuple[ActionKind, str, str], Seat](MAX_ITEM_SEATS)
        self.tools: dict[tuple[str, str], Seat] = {}
        self.held: Mapping[tuple[str, str], str] = {}
        self.visibility = Visibility()

    def seat(self, kind: ActionKind, target: Target) -> Seat | None:
        """The seat of a target, or None for a tool that is not registered as it is asked about."""
        if kind is ActionKind.CALL_TOOL:
            key = (target.upstream, target.name)
            registered = self.targets.get(key)
            if registered is None or not same_types(registered, target):
                return None
            seat = self.tools.get(key)
            if seat is None:
                seat = self.tools[key] = Seat(kind, registered, self.index)
            return seat
        item = (kind, target.upstream, named_item(kind, target, self.index))
        seat = self.items.get(item)
        if seat is None:
            seat = Seat(kind, target, self.index)
            self.items.put(item, seat)
        return seat

    def seats(self, kind: ActionKind, targets: Iterable[Target]) -> Iterator[tuple[Target, Seat]]:
        """The targets that can be asked about: known, not held, and with names that have bytes."""
        for target in targets:
            seat = self.seat(kind, target)
            held = kind is ActionKind.CALL_TOOL and (target.upstream, target.name) in self.held
            if seat is not None and not held and is_unicode(target.name):
                yield target, seat

    def between(self, seat: Seat, workload: Workload, target: Target) -> Parties:
        """Who asks for what, as Cedar takes it; of facts that are the same, the same."""
        # With its seat, so that nothing is left of one whose types have changed.
        key = (seat, workload, target.name, target.pin_state, target.traits)
        parties = self.parties.get(key)
        if parties is None:
            plan = seat.plan(workload)
            parties = Parties(
                plan=plan,
                entities=build_entities(
                    seat.kind, workload=workload, targets=[target], schema=plan.schema
                ),
                request={
                    "principal": uid("Workload", workload.id),
                    "action": seat.action,
                    "resource": resource_uid(seat.kind, target),
                },
            )
            self.parties.put(key, parties)
        return parties


def same_types(one: Target, other: Target) -> bool:
    """Whether two targets have the same types and action groups."""
    return one is other or (one.traits == other.traits and one.schema == other.schema)


__all__ = ["MAX_ITEM_SEATS", "MAX_PARTIES", "Generation", "same_types"]
