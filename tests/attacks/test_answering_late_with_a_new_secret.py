"""An upstream keeps a call waiting until it has a further secret, and answers with that."""

from __future__ import annotations

from typing import Any

import pytest

from midflight.domain.action import Action
from midflight.domain.lease import Credential, Injection, Placement
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Performed
from midflight.services.ports.upstream import Reply
from midflight.testing import ListSink, MemoryPlane, ScriptedLeases, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio
FIRST, SECOND = "of-the-first-run-0123", "of-the-second-run-4567"


async def test_the_call_that_waited_is_told_nothing_of_another_run() -> None:
    leases = ScriptedLeases()
    rule = Injection(placement=Placement.HEADER, name="X-Key")
    leases.add(
        Credential(name="crm", backend="memory", upstreams=frozenset({"one"}), injections=(rule,)),
        token=FIRST,
    )
    definition = {"name": "look", "description": "", "inputSchema": {"type": "object"}}
    upstream = ScriptedUpstream("one", [definition])
    plane = MemoryPlane(upstream=upstream, leases=leases)
    await plane.start()
    await plane.pin("look", Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True))

    async def answer(action: Action, flight: Any, sink: Any) -> Reply:
        return Reply(result={"content": []})

    async def keep_waiting(action: Action, flight: Any, sink: Any) -> Reply:
        upstream.scripts["look"] = answer
        leases.secrets["crm"] = {"token": SECOND}
        leases.live.clear()
        await plane.guard.perform(call("look"), caller(token="tok_2"), sink=ListSink())
        await sink.notify("notifications/message", {"data": f"hear {SECOND}"})
        return Reply(result={"content": [{"type": "text", "text": f"{FIRST} and {SECOND}"}]})

    upstream.scripts["look"] = keep_waiting
    sink = ListSink()
    done = await plane.guard.perform(call("look"), caller(token="tok_1"), sink=sink)
    assert isinstance(done, Performed)
    told = str(done.reply.result) + str(vars(sink))
    assert FIRST not in told
    assert SECOND not in told
    await plane.close()
