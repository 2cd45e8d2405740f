"""Answers to an upstream's questions as a way out: unjudged, as another kind, or after the cut."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from raw_client import raw_client

from gateways import AGENT, OPERATOR, running_gateway
from midflight.domain.decision import Decision
from midflight.domain.errors import Conflict
from midflight.domain.question import Question
from midflight.domain.records import Intent, Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.domain.traits import Effect, Reach, Traits
from midflight.services.ports.upstream import ClientRequest, Reply
from midflight.testing import (
    FixedEngine,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
    refuse,
)
from midflight.wire.jsonrpc import Request
from midflight.wire.mcp.actions import answers_in, to_action
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio

READ = Traits(effect=Effect.READ, reach=Reach.CLOSED, reviewed=True)
ELICITATION = {"elicitation": {"form": {}}}


async def started(**parts: Any) -> MemoryPlane:
    tools = [{"name": "look", "inputSchema": {"type": "object"}}]
    plane = MemoryPlane(upstream=ScriptedUpstream("one", tools), **parts)
    await plane.start()
    await plane.pin("look", READ)
    return plane


@pytest.mark.parametrize(
    "answer",
    [
        {"action": "accept", "role": "assistant", "model": "m", "content": {"type": "text"}},
        {"action": "accept", "roots": [{"uri": "file:///"}]},
        {"roots": [], "role": "user", "content": {}},
        {"action": "cancel", "stopReason": "endTurn", "content": []},
    ],
)
def test_an_answer_of_two_kinds_is_judged_as_both(answer: dict[str, Any]) -> None:
    params = {"name": "t", "inputResponses": {"a": answer}}
    action = to_action(Request(id=1, method="tools/call", params=params), upstream="up")
    assert len({found.name for found in answers_in(action)}) == 2
    assert all(found.arguments == answer for found in answers_in(action))


async def test_a_forbidden_kind_of_answer_does_not_leave_in_the_clothes_of_another() -> None:
    def no_sampling(question: Question) -> Decision:
        if question.target.name == "sampling/createMessage":
            return refuse()
        return FixedEngine().decide(question)

    plane = await started(engine=FixedEngine(no_sampling))
    answer = {"action": "accept", "role": "assistant", "model": "m", "content": {"text": "secret"}}
    params = {"name": "look", "inputResponses": {"a": answer}}
    action = to_action(Request(id=1, method="tools/call", params=params), upstream="one")
    await plane.guard.perform(action, caller(), sink=ListSink(), answers=answers_in(action))
    assert plane.upstream.received == []


class Slow:
    """A ticket of a disk that stands still until the test lets it go on."""

    def __init__(self, ticket: Any, go: asyncio.Event, waiting: asyncio.Event) -> None:
        self.id = ticket.id
        self._ticket, self._go, self._waiting = ticket, go, waiting

    async def durable(self) -> None:
        self._waiting.set()
        await self._go.wait()
        await self._ticket.durable()


@pytest.mark.parametrize("how", ["the upstream answers itself", "the client goes"])
async def test_an_answer_given_up_while_it_is_recorded_ends_in_one_record(how: str) -> None:
    plane = await started()
    append, go, waiting = plane.ledger.append, asyncio.Event(), asyncio.Event()

    async def script(action: Any, flight: Any, sink: Any) -> Reply:
        plane.ledger.append = lambda record: Slow(append(record), go, waiting)  # type: ignore[method-assign] -- a slow disk
        question = ClientRequest(key="1", method="elicitation/create", params={})
        asking = asyncio.ensure_future(sink.ask(question))
        await waiting.wait()
        if how == "the client goes":
            acting.cancel()
        asking.cancel()  # as adapters do with questions that are open when a call ends
        await asyncio.gather(asking, return_exceptions=True)
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = script
    sink = ListSink(answers=[{"action": "accept", "content": {}}])
    acting = asyncio.ensure_future(plane.guard.perform(call("look"), caller(), sink=sink))
    async with asyncio.timeout(20):
        await asyncio.gather(acting, return_exceptions=True)
    go.set()
    await plane.ledger.flush()
    tail = await plane.ledger.tail(1_000)
    intents = sorted(found.id for found in tail if isinstance(found.record, Intent))
    outcomes = [found.record for found in tail if isinstance(found.record, Outcome)]
    assert len(intents) == 2
    assert sorted(outcome.intent or "" for outcome in outcomes) == intents
    assert Terminal.CANCELLED in {outcome.state for outcome in outcomes}


async def test_an_answer_is_judged_in_the_run_of_its_question() -> None:
    plane = await started()
    refused: list[Exception] = []

    async def script(action: Any, flight: Any, sink: Any) -> Reply:
        (run,) = await plane.runs.list_runs()
        await plane.runs.close_run(run.id, author=OPERATOR)
        try:
            await sink.ask(ClientRequest(key="1", method="elicitation/create", params={}))
        except Exception as error:
            refused.append(error)
            raise
        return Reply(result={"content": []})

    plane.upstream.scripts["look"] = script
    sink = ListSink(answers=[{"action": "accept", "content": {}}])
    await plane.guard.perform(call("look"), caller(), sink=sink)
    assert not any(isinstance(error, Conflict) for error in refused)
    (answered,) = [
        r for r in await plane.records() if isinstance(r, Outcome) and r.state is Terminal.DONE
    ] or [None]
    assert answered is None


async def revoke_token(gateway: Any, token: str) -> None:
    scope = Scope(kind=ScopeKind.TOKEN, id=token)
    await gateway.plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)


async def test_a_revoked_token_cannot_answer_in_a_session_of_its_workload(tmp_path: Path) -> None:
    served = Served()
    async with (
        over_http(served, legacy=True) as url,
        running_gateway(tmp_path, [{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        stolen = await gateway.plane.identity.mint(workload=AGENT, author=OPERATOR)
        async with raw_client(gateway) as honest, raw_client(gateway, token=stolen.token) as thief:
            await honest.open(capabilities=ELICITATION)
            thief.session = honest.session
            async with honest.calling("tools/call", {"name": "ask", "arguments": {}}) as messages:
                question = await anext(messages)
                assert question["method"] == "elicitation/create"
                await revoke_token(gateway, stolen.jti)
                for client, name in ((thief, "mallory"), (honest, "ada")):
                    result = {"action": "accept", "content": {"name": name}}
                    answer = {"jsonrpc": "2.0", "id": question["id"], "result": result}
                    assert (await client.post(answer)).status_code == 202
                final = await anext(messages)
    assert "hello ada" in str(final)


async def test_a_revoked_token_cannot_take_up_a_held_call(tmp_path: Path) -> None:
    served = Served()
    async with (
        over_http(served, legacy=True) as url,
        running_gateway(tmp_path, [{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        stolen = await gateway.plane.identity.mint(workload=AGENT, author=OPERATOR)
        async with raw_client(gateway) as honest, raw_client(gateway, token=stolen.token) as thief:
            params: dict[str, Any] = {"name": "ask", "arguments": {}}
            asked = await honest.modern("tools/call", params, capabilities=ELICITATION)
            (key,) = asked["result"]["inputRequests"]
            await revoke_token(gateway, stolen.jti)
            finals = []
            for client, name in ((thief, "mallory"), (honest, "ada")):
                responses = {key: {"action": "accept", "content": {"name": name}}}
                state = asked["result"]["requestState"]
                retry = {**params, "inputResponses": responses, "requestState": state}
                finals.append(await client.modern("tools/call", retry, capabilities=ELICITATION))
    assert "stolen" in str(finals[0]["error"])
    assert "hello ada" in str(finals[1])


async def test_a_held_call_is_nobody_elses_and_taken_up_once(tmp_path: Path) -> None:
    served = Served()
    async with (
        over_http(served, legacy=True) as url,
        running_gateway(tmp_path, [{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        workload = gateway.plane.inventory.current(AGENT)
        run = await gateway.plane.runs.open_run(workload=workload, intent="x", author=OPERATOR)
        async with (
            raw_client(gateway) as honest,
            raw_client(gateway, token=await gateway.token(run.id)) as other_run,
        ):
            params: dict[str, Any] = {"name": "ask", "arguments": {}}
            asked = await honest.modern("tools/call", params, capabilities=ELICITATION)
            (key,) = asked["result"]["inputRequests"]
            responses = {key: {"action": "accept", "content": {"name": "ada"}}}
            state = asked["result"]["requestState"]
            retry = {**params, "inputResponses": responses, "requestState": state}
            stolen = await other_run.modern("tools/call", retry, capabilities=ELICITATION)
            assert stolen["error"]["code"] == -32602
            elsewhere = {**retry, "name": "add", "arguments": {"a": 1, "b": 2}}
            moved = await honest.modern("tools/call", elsewhere, capabilities=ELICITATION)
            assert moved["error"]["code"] == -32602
            first = await honest.modern("tools/call", retry, capabilities=ELICITATION)
            again = await honest.modern("tools/call", retry, capabilities=ELICITATION)
    assert "hello ada" in str(first)
    assert again["error"]["code"] == -32602
    assert served.calls == ["ask"]


async def test_a_held_call_does_not_outlive_its_revocation(tmp_path: Path) -> None:
    served = Served()
    async with (
        over_http(served, legacy=True) as url,
        running_gateway(tmp_path, [{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        async with raw_client(gateway) as client:
            params: dict[str, Any] = {"name": "ask", "arguments": {}}
            asked = await client.modern("tools/call", params, capabilities=ELICITATION)
            (key,) = asked["result"]["inputRequests"]
            scope = Scope(kind=ScopeKind.TOOL, id="one/ask")
            await gateway.plane.interruption.revoke(scope, reason="stop", author=OPERATOR)
            responses = {key: {"action": "accept", "content": {"name": "ada"}}}
            state = asked["result"]["requestState"]
            retry = {**params, "inputResponses": responses, "requestState": state}
            final = await client.modern("tools/call", retry, capabilities=ELICITATION)
    assert final["result"]["isError"]
    assert "hello" not in str(final)
