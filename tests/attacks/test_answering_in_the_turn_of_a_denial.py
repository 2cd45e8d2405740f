"""An upstream answers when its call is denied and not yet severed, and the store says nothing more.

The refusal must not wait for the store: what came back is not delivered, so there is nothing to
take note of.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from midflight.domain.errors import Interrupted
from midflight.domain.records import Outcome, Terminal
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.guard import Refused
from midflight.services.ports.upstream import Reply
from midflight.testing import ListSink, MemoryPlane, ScriptedUpstream, call, caller

pytestmark = pytest.mark.anyio


async def started(name: str, effect: Effect, reach: Reach) -> MemoryPlane:
    """A plane over an upstream that serves this tool."""
    tool = {"name": name, "inputSchema": {"type": "object"}}
    plane = MemoryPlane(upstream=ScriptedUpstream("one", [tool]))
    await plane.start()
    await plane.pin(name, Traits(effect=effect, reach=reach, reviewed=True))
    return plane


async def interrupted_once(plane: MemoryPlane) -> None:
    (outcome,) = [r for r in await plane.records() if isinstance(r, Outcome)]
    assert outcome.state is Terminal.INTERRUPTED


async def test_its_refusal_waits_for_no_store(monkeypatch: pytest.MonkeyPatch) -> None:
    plane = await started("look", Effect.READ, Reach.OPEN)

    async def silent(*_: Any, **__: Any) -> None:
        await asyncio.Event().wait()

    async def answer(action: Any, flight: Any, sink: Any) -> Reply:
        del action, flight, sink
        with monkeypatch.context() as others_first:
            others_first.setattr("midflight.services.cutting.SLICE", 0)
            plane.interruption.cut(lambda _: True, Interrupted("Cut.", revocation=""))
        monkeypatch.setattr(plane.runs, "join_labels", silent)
        return Reply(result={"content": [{"type": "text", "text": "words"}]})

    plane.upstream.scripts["look"] = answer
    async with asyncio.timeout(20):
        done = await plane.guard.perform(call("look"), caller(), sink=ListSink())
    assert isinstance(done, Refused)
    await interrupted_once(plane)


async def test_a_call_that_has_begun_a_task_is_cut_though_the_store_is_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plane = await started("look", Effect.READ, Reach.CLOSED)
    asked, go = asyncio.Event(), asyncio.Event()

    async def silent(_: Any) -> None:
        asked.set()
        await go.wait()

    async def answer(action: Any, flight: Any, sink: Any) -> Reply:
        del action, sink
        # As adapters do: what cuts the call while they have it, and nothing afterwards.
        flight.on_cut(lambda _: None)
        return Reply(result={"resultType": "task", "taskId": "task-1", "status": "working"})

    plane.upstream.scripts["look"] = answer
    monkeypatch.setattr(plane.store, "put_task", silent)
    doing = asyncio.ensure_future(plane.guard.perform(call("look"), caller(), sink=ListSink()))
    async with asyncio.timeout(20):
        await asked.wait()
        plane.interruption.cut(lambda _: True, Interrupted("Cut.", revocation=""))
        assert isinstance(await doing, Refused)
    go.set()
    await interrupted_once(plane)


async def test_a_failure_that_is_being_noted_is_not_delivered_after_the_cut(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plane = await started("send", Effect.SEND, Reach.CLOSED)
    asked, go = asyncio.Event(), asyncio.Event()

    async def silent(*_: Any) -> None:
        asked.set()
        await go.wait()

    async def answer(action: Any, flight: Any, sink: Any) -> Reply:
        del action, flight, sink
        return Reply(result={"isError": True, "content": [{"type": "text", "text": "words"}]})

    plane.upstream.scripts["send"] = answer
    monkeypatch.setattr(plane.flow, "undone", silent)
    doing = asyncio.ensure_future(plane.guard.perform(call("send"), caller(), sink=ListSink()))
    async with asyncio.timeout(20):
        await asked.wait()
        plane.interruption.cut(lambda _: True, Interrupted("Cut.", revocation=""))
        assert isinstance(await doing, Refused)
    go.set()
    await interrupted_once(plane)
