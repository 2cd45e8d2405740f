"""An action that is cut in the turn in which it was written down has no credential made for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.domain.errors import Interrupted
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.records import Intent, Outcome, Terminal
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Refused
from midflight.testing import ListSink, MemoryPlane, ScriptedLeases, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio


class Slow:
    """A ticket of a disk that stands still until the test lets it go on."""

    def __init__(self, ticket: Any, waiting: asyncio.Event, go: asyncio.Future[None]) -> None:
        self.id = ticket.id
        self._ticket, self._waiting, self._go = ticket, waiting, go

    async def durable(self) -> None:
        await self._ticket.durable()
        self._waiting.set()
        await self._go


async def test_what_is_denied_before_its_lease_leases_nothing() -> None:
    leases = ScriptedLeases()
    rule = Injection(placement=Placement.HEADER, name="Authorization", template="Bearer {token}")
    leases.add(
        Credential(name="crm", backend="memory", injections=(rule,), upstreams=frozenset({"one"})),
        token="mark-7f1c09ab55e2",
    )
    tool = {"name": "send", "description": "", "inputSchema": {"type": "object"}}
    plane = MemoryPlane(upstream=ScriptedUpstream("one", [tool]), leases=leases)
    await plane.start()
    await plane.pin("send", Traits(effect=Effect.SEND, reach=Reach.CLOSED, reviewed=True))
    append, waiting = plane.ledger.append, asyncio.Event()
    go: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def slowly(record: Any) -> Any:
        ticket = append(record)
        return Slow(ticket, waiting, go) if isinstance(record, Intent) else ticket

    plane.ledger.append = slowly  # type: ignore[method-assign] -- a slow disk
    doing = asyncio.ensure_future(plane.guard.perform(call("send"), caller(), sink=ListSink()))
    await waiting.wait()
    # The disk answers in the turn of the cut, so the action goes on before it is woken.
    go.set_result(None)
    plane.interruption.cut(lambda _: True, Interrupted("Cut.", revocation=""))
    done = await doing
    assert isinstance(done, Refused)
    assert leases.live == {}
    assert plane.upstream.received == []
    (outcome,) = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.state is Terminal.INTERRUPTED
