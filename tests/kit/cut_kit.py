"""Actions in flight through a real plane over real upstreams, for tests of what cuts them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from midflight.apps.compose import Plane
from midflight.domain.action import Action, ActionKind
from midflight.domain.identity import Caller
from midflight.domain.records import Record
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.guard import Performed, Refused
from midflight.services.ports.upstream import Sink
from midflight.testing import ListSink


def everything() -> Scope:
    return Scope(kind=ScopeKind.EVERYTHING)


def caller(workload: str, *, run: str | None = None, token: str = "jti-1") -> Caller:
    """Somebody who has proved who he is."""
    return Caller(
        workload=workload, run=run, token=token, proof="test", expires_at=int(time.time()) + 900
    )


def call(upstream: str, tool: str, **arguments: Any) -> Action:
    return Action(
        kind=ActionKind.CALL_TOOL,
        upstream=upstream,
        name=tool,
        method="tools/call",
        arguments=arguments,
    )


def begin(
    plane: Plane, who: Caller, action: Action, sink: Sink | None = None
) -> asyncio.Task[Performed | Refused]:
    """An action on its way."""
    return asyncio.ensure_future(plane.guard.perform(action, who, sink=sink or ListSink()))


async def records(plane: Plane, kind: type[Record]) -> list[Any]:
    """All records of a kind so far."""
    await plane.ledger.flush()
    tail = await plane.ledger.tail(100_000)
    return [found.record for found in tail if isinstance(found.record, kind)]


async def turns(number: int) -> None:
    """Let the loop go round so often."""
    for _ in range(number):
        await asyncio.sleep(0)


__all__ = ["begin", "call", "caller", "everything", "records", "turns"]
