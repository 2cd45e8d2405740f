"""Planes in memory whose monitors are declared and whose policies are real Cedar."""

from __future__ import annotations

from typing import Any

from policy_kit import sources

from midflight.adapters.policy.cedar import CedarEngine
from midflight.adapters.policy.compiler import CedarCompiler
from midflight.domain.action import Action
from midflight.domain.traits import Argument, Effect, Reach, Role, Traits
from midflight.services.guard import Performed, Refused
from midflight.services.policy_files import PolicySource
from midflight.testing import ListSink, MemoryPlane, ScriptedUpstream, caller

ALLOW = """
@id("all") @reason("r") permit (principal, action, resource);
"""


def limit(monitor: str, most: int) -> str:
    """A policy that forbids what would bring a monitor above `most`."""
    return (
        f'@id("limit-{monitor}") @reason("r") @help("h") forbid (principal, action, resource)'
        f" when {{ context.run.{monitor} > {most} }};"
    )


PAY = {
    "name": "pay",
    "inputSchema": {
        "type": "object",
        "properties": {"amount": {"type": "number"}, "to": {"type": "string"}},
    },
}
LOOK = {"name": "look", "inputSchema": {"type": "object"}}
GRANT = {"name": "grant", "inputSchema": {"type": "object"}}
TRAITS = {
    "pay": Traits(
        effect=Effect.PAY,
        reach=Reach.CLOSED,
        reviewed=True,
        arguments=(
            Argument(path="amount", role=Role.AMOUNT),
            Argument(path="to", role=Role.RECIPIENT),
        ),
    ),
    "look": Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True),
    "grant": Traits(effect=Effect.GRANT, reach=Reach.CLOSED, reviewed=True),
}


def parsed(declarations: str, *policies: str) -> Any:
    """A set: TOML of monitors, and Cedar."""
    toml = PolicySource(name="monitors.toml", text=declarations)
    return CedarCompiler().parse([*sources(ALLOW, *policies), toml])


async def plane_with(declarations: str, *policies: str, **parts: Any) -> MemoryPlane:
    """A started plane with tools `pay`, `look` and `grant`, pinned."""
    made = parsed(declarations, *policies)
    upstream = ScriptedUpstream("one", [PAY, LOOK, GRANT])
    plane = MemoryPlane(upstream=upstream, engine=CedarEngine(made), **parts)
    plane.monitors.declare(made.monitors)
    await plane.start()
    for name, traits in TRAITS.items():
        await plane.pin(name, traits)
    return plane


async def perform(plane: MemoryPlane, action: Action, **who: Any) -> Performed | Refused:
    """One action of the plane's workload."""
    return await plane.guard.perform(action, caller(**who), sink=ListSink())


def values(plane: MemoryPlane) -> dict[str, dict[str, int]]:
    """What `midflight monitor list` shows: value by monitor and scope."""
    return {m.name: {s.scope: s.value for s in m.scopes} for m in plane.monitors.status()}


__all__ = ["ALLOW", "TRAITS", "limit", "parsed", "perform", "plane_with", "values"]
