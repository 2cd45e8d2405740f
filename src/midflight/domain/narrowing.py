"""Narrowing: which part of what its parent may do is left to a delegated run.

A value and its rules, not a policy: policy decides within what is left, and nothing that policy
says brings back what was taken away. Below: actions and traits. Above: `run.py`, the guard.
"""

from __future__ import annotations

from collections.abc import Iterable

from midflight.domain.action import ActionKind
from midflight.domain.traits import Effect, Traits
from midflight.domain.value import Value

# What belongs to something that was permitted before: an answer to a question in mid-call, a
# notice about a call, a look at a task, the credential of a call. It needs its upstream and has no
# effect of its own.
_BELONGS = frozenset(
    {ActionKind.ANSWER, ActionKind.NOTIFY, ActionKind.TASK, ActionKind.LIST, ActionKind.LEASE}
)


class Narrowing(Value):
    """What is left. The default leaves everything.

    Attributes:
        only: upstreams (`git`) and tools of them (`git/git_log`) that may be used; None for all.
            Resources, prompts and everything else that is no tool need the whole upstream.
        effects: what a tool may do to the world; None for all. A tool that no operator has
            reviewed may do anything, so it is left only where all effects are.
    """

    only: frozenset[str] | None = None
    effects: frozenset[Effect] | None = None

    @property
    def leaves_all(self) -> bool:
        """Whether nothing is taken away."""
        return self.only is None and self.effects is None


WHOLE = Narrowing()


def outside(
    narrowing: Narrowing, *, kind: ActionKind, upstream: str, name: str, traits: Traits
) -> str | None:
    """Why an action is outside of what is left, or None if it is inside."""
    if narrowing.only is not None and not _reaches(narrowing.only, kind, upstream, name):
        return f"this run was delegated for {_list(narrowing.only)} only"
    if narrowing.effects is None or kind in _BELONGS:
        return None
    effect = traits.effect if kind is ActionKind.CALL_TOOL else Effect.READ
    if effect not in narrowing.effects:
        return f"this run was delegated for {_list(narrowing.effects)} only, and this may {effect}"
    if kind is ActionKind.CALL_TOOL and not traits.reviewed:
        return (
            f"this run was delegated for {_list(narrowing.effects)} only, and no operator has "
            "reviewed what this tool does"
        )
    return None


def meet(one: Narrowing, other: Narrowing) -> Narrowing:
    """What both leave: associative, commutative, idempotent, and never more than either."""
    # An empty set leaves nothing, None leaves all: they must not be mistaken for each other.
    only = other.only if one.only is None else one.only
    effects = other.effects if one.effects is None else one.effects
    if one.only is not None and other.only is not None:
        only = frozenset(
            entry
            for entry in one.only | other.only
            if _covers(one.only, entry) and _covers(other.only, entry)
        )
    if one.effects is not None and other.effects is not None:
        effects = one.effects & other.effects
    return Narrowing(only=only, effects=effects)


def beyond(parent: Narrowing, asked: Narrowing) -> tuple[str, ...]:
    """What is asked for and the parent does not have, sorted; empty if the child has less."""
    found: list[str] = []
    if parent.only is not None and asked.only is not None:
        found += [entry for entry in asked.only if not _covers(parent.only, entry)]
    if parent.effects is not None and asked.effects is not None:
        found += [effect.value for effect in asked.effects if effect not in parent.effects]
    return tuple(sorted(found))


def _reaches(only: frozenset[str], kind: ActionKind, upstream: str, name: str) -> bool:
    if upstream in only:
        return True
    if kind is ActionKind.CALL_TOOL:
        return f"{upstream}/{name}" in only
    return kind in _BELONGS and any(entry.startswith(f"{upstream}/") for entry in only)


def _covers(only: frozenset[str], entry: str) -> bool:
    """Whether `only` leaves what the entry names. Names of upstreams hold no slash."""
    return entry in only or entry.partition("/")[0] in only


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


__all__ = ["WHOLE", "Narrowing", "beyond", "meet", "outside"]
