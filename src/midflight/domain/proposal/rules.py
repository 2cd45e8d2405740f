"""Proposing traits from a definition as served: the rules put together.

General English and general JSON Schema, no names of products. What an upstream says about itself in
annotations may raise what is proposed and never lower it.
Below: `effects.py`, `roles.py`, `naming.py`. Above: `proposal/__init__.py`.
"""

from __future__ import annotations

from typing import Any, cast

from midflight.domain.proposal.effects import effect_of, reach_of
from midflight.domain.proposal.naming import doing
from midflight.domain.proposal.roles import arguments, settled
from midflight.domain.proposal.values import Evidence, Proposal, Sureness
from midflight.domain.tool import Definition
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.domain.value import JSONObject


def propose(definition: Definition) -> Proposal:
    """Propose traits for a tool from its definition as served. Total: any JSON will do."""
    body = definition.body
    hints = body.get("annotations")
    hinted: JSONObject = cast("JSONObject", hints) if isinstance(hints, dict) else {}
    does = doing(definition.name, f"{_text(body.get('description'))} {_text(body.get('title'))}")
    found = arguments(body.get("inputSchema"))
    said = effect_of(does, {argument.path: argument.role for argument, _ in found})
    effect, why, sure = _raised(said.effect, hinted) or (said.effect, said.why, said.sure)
    evidence = [
        Evidence(
            about="effect", says=effect.value, why=why, sure=sure, confirm=effect is Effect.READ
        )
    ]
    kept: list[Argument] = []
    for given, reason in found:
        role, because = settled(given, does, effect) or (given.role, reason)
        kept.append(Argument(path=given.path, role=role))
        unjudged = effect is not Effect.READ and role in (Role.SETTING, Role.TITLE, Role.TIME)
        evidence.append(
            Evidence(
                about=f"argument {given.path}",
                says=role.value,
                why=because,
                sure=Sureness.MEDIUM,
                confirm=unjudged,
            )
        )
    reach, because, sure = reach_of(does, frozenset(a.role for a in kept), effect, hinted)
    evidence.insert(
        1,
        Evidence(
            about="reach",
            says=reach.value,
            why=because,
            sure=sure,
            confirm=reach is Reach.CLOSED,
        ),
    )
    return Proposal(
        traits=Traits(effect=effect, reach=reach, proposed=True, arguments=tuple(kept)),
        evidence=tuple(evidence),
    )


def _raised(effect: Effect, hinted: JSONObject) -> tuple[Effect, str, Sureness] | None:
    """What annotations make of a read: something worse, or nothing."""
    if effect is not Effect.READ:
        return None
    if hinted.get("destructiveHint") is True and hinted.get("readOnlyHint") is not True:
        return Effect.DELETE, "it calls itself destructive", Sureness.HIGH
    if hinted.get("readOnlyHint") is False:
        return Effect.WRITE, "it says that it does not only read", Sureness.HIGH
    return None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


__all__ = ["propose"]
