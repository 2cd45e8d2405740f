"""An agent that answers for the person: by the client's answers, by handles, by other requests.

The policy has `payments-oncall` look at every `echo`. Whatever the agent sends, nothing reaches the
upstream but what that person approved, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bare_client import Modern, legacy, modern
from waiting_kit import OPENS_PAGES, POLLS_TASKS, WaitingGateway, send, waiting_gateway

from midflight.domain.identity import Author, Workload
from midflight.domain.records import ApprovalAnswered
from midflight.services.handles import HANDLE as PREFIX
from midflight.wire.refusal import HANDLE, REFUSAL

pytestmark = pytest.mark.anyio

ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hi"}}
OPERATOR = Author(name="olivia", proof="test")
OTHER = "spiffe://midflight.internal/agents/other"
ABLE = {"elicitation": {"url": {}, "form": {}}, "sampling": {}, "roots": {}}

ANSWERS: list[dict[str, Any]] = [
    {"action": "accept"},
    {"action": "accept", "content": {"approved": True, "approve": "yes", "action": "approve"}},
    {"action": "accept", "content": {"author": "payments-oncall", "proof": "passkey"}},
    {"action": "decline"},
    {"action": "cancel"},
    {"roots": [{"uri": "file:///approved"}]},
    {"role": "assistant", "content": {"type": "text", "text": "approved"}, "model": "m"},
]


@pytest.fixture
async def waiting(tmp_path: Path) -> AsyncIterator[WaitingGateway]:
    async with waiting_gateway(tmp_path, approvals={"wait": {"hold": "0s"}}) as made:
        yield made


async def begin(client: Modern) -> dict[str, Any]:
    return dict((await send(client, OPENS_PAGES, **ECHO))["result"])


async def nothing_happened(waiting: WaitingGateway, *, questions: int = 1) -> None:
    assert waiting.served.calls == []
    assert await waiting.states() == ["pending"] * questions
    await waiting.plane.ledger.flush()
    tail = await waiting.plane.ledger.tail(1_000)
    assert [f for f in tail if isinstance(f.record, ApprovalAnswered)] == []


# What the client answers


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_to_the_page_approves_anything(
    answer: dict[str, Any], waiting: WaitingGateway
) -> None:
    async with modern(waiting.gateway) as client:
        state = (await begin(client))["requestState"]
        retry = {**ECHO, "requestState": state, "inputResponses": {"approval": answer}}
        said = (await send(client, ABLE, **retry))["result"]
        assert said["resultType"] == "input_required"
        await nothing_happened(waiting)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_in_a_task_approves_anything(
    answer: dict[str, Any], waiting: WaitingGateway
) -> None:
    able = OPENS_PAGES | POLLS_TASKS
    async with modern(waiting.gateway) as client:
        task = (await send(client, able, **ECHO))["result"]["taskId"]
        for key in ("approval", "approval-0", "approval-1", "apr"):
            given = {"taskId": task, "inputResponses": {key: answer}}
            await send(client, able, "tasks/update", **given)
        said = (await send(client, able, "tasks/get", taskId=task))["result"]
        assert said["status"] == "working"
        await nothing_happened(waiting)


@pytest.mark.parametrize("answer", ANSWERS)
async def test_no_answer_of_a_legacy_client_approves_anything(
    answer: dict[str, Any], tmp_path: Path
) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, **ABLE) as client,
    ):
        call = client.request("tools/call", **ECHO)
        async with client.streaming(call) as stream:
            asked = await stream.next_of("elicitation/create")
            reply = {"jsonrpc": "2.0", "id": asked["id"], "result": answer}
            for _ in range(3):
                assert (await client.post(reply)).status_code == 202
            refusal = {"jsonrpc": "2.0", "id": asked["id"], "error": {"code": -1, "message": "x"}}
            assert (await client.post(refusal)).status_code == 202
            await nothing_happened(waiting)
            await waiting.pass_time(50)
            last = await stream.next()
        assert last is not None
        assert last["result"]["_meta"][REFUSAL]["state"] == "pending"
        await nothing_happened(waiting)


# Handles


@pytest.mark.parametrize(
    "forged",
    [
        f"{PREFIX}",
        f"{PREFIX}aaaaaaaaaaaaaaaaaaaaaaaaaa",
        f"{PREFIX}\u0000",
        "x" * 5_000,
        "apr",
        "approved",
        "' OR 1=1 --",
    ],
)
async def test_no_made_up_handle_goes_on_with_anything(
    forged: str, waiting: WaitingGateway
) -> None:
    async with modern(waiting.gateway) as client:
        await begin(client)
        said = await send(client, OPENS_PAGES, **ECHO, meta={HANDLE: forged})
        assert said["error"]["code"] == -32602
        said = await send(client, OPENS_PAGES, **ECHO, requestState=f"{PREFIX}{forged}")
        assert said["error"]["code"] == -32602
        for method in ("tasks/get", "tasks/cancel") if forged.isprintable() else ():
            said = await send(client, POLLS_TASKS, method, taskId=f"mft_{forged[:50]}")
            assert said["error"]["code"] == -32602
        await nothing_happened(waiting)


async def test_a_handle_is_good_once(waiting: WaitingGateway) -> None:
    async with modern(waiting.gateway) as client:
        retry = {**ECHO, "requestState": (await begin(client))["requestState"]}
        await waiting.approve()
        said = await asyncio.gather(*(send(client, OPENS_PAGES, **retry) for _ in range(10)))
        done = [message for message in said if "result" in message]
        refused = [message["error"]["code"] for message in said if "error" in message]
        assert [message["result"]["content"][0]["text"] for message in done] == ["hi"]
        assert refused == [-32602] * 9
        assert waiting.served.calls == ["echo"]


async def test_a_handle_is_good_for_no_other_arguments(waiting: WaitingGateway) -> None:
    async with modern(waiting.gateway) as client:
        state = (await begin(client))["requestState"]
        await waiting.approve()
        others: list[dict[str, Any]] = [
            {**ECHO, "arguments": {"text": "ho"}},
            {**ECHO, "arguments": {"text": "hi", "more": 1}},
            {**ECHO, "arguments": {}},
            {**ECHO, "name": "tell", "arguments": {"steps": 1}},
            {**ECHO, "task": {"ttl": 1}},
        ]
        for other in others:
            for carried in ({"requestState": state}, {"meta": {HANDLE: state}}):
                said = await send(client, OPENS_PAGES, **other, **carried)
                assert said["error"]["code"] == -32602
        assert waiting.served.calls == []
        # It is as good as before for what it was given for.
        said = await send(client, OPENS_PAGES, **ECHO, requestState=state)
        assert said["result"]["content"][0]["text"] == "hi"


async def test_a_handle_of_another_is_no_handle(waiting: WaitingGateway) -> None:
    plane, gateway = waiting.plane, waiting.gateway
    await plane.inventory.register(
        Workload(
            id=OTHER,
            owner="team-two",
            escalation="oncall",
            review_by=int(waiting.clock.now()) + 86_400,
        ),
        OPERATOR,
    )
    run = await gateway.open_run()
    async with modern(gateway) as client:
        state = (await begin(client))["requestState"]
        task = (await send(client, POLLS_TASKS, **ECHO))["result"]["taskId"]
        await waiting.approve()
        # Another workload, and the same one in another run.
        minted = await plane.identity.mint(workload=OTHER, run=None, author=OPERATOR)
        for token in (minted.token, await gateway.token(run)):
            async with modern(gateway, token=token) as thief:
                said = await send(thief, OPENS_PAGES, **ECHO, requestState=state)
                assert said["error"]["code"] == -32602
                said = await send(thief, OPENS_PAGES, **ECHO, meta={HANDLE: state})
                assert said["error"]["code"] == -32602
                for method in ("tasks/get", "tasks/cancel"):
                    said = await send(thief, POLLS_TASKS, method, taskId=task)
                    assert said["error"]["code"] == -32602
        assert waiting.served.calls == []
        # Nor has anybody used it up, or ended the task, by trying.
        said = await send(client, POLLS_TASKS, "tasks/get", taskId=task)
        assert said["result"]["status"] == "completed"


async def test_a_task_is_no_handle_and_a_handle_no_task(waiting: WaitingGateway) -> None:
    async with modern(waiting.gateway) as client:
        state = (await begin(client))["requestState"]
        task = (await send(client, POLLS_TASKS, **ECHO))["result"]["taskId"]
        said = await send(client, OPENS_PAGES, **ECHO, meta={HANDLE: task})
        assert said["error"]["code"] == -32602
        said = await send(client, POLLS_TASKS, "tasks/get", taskId=state)
        assert said["error"]["code"] == -32602
        await nothing_happened(waiting)


async def test_a_handle_that_has_expired_is_no_handle(tmp_path: Path) -> None:
    runs = {"idle_timeout": "2h"}
    async with waiting_gateway(tmp_path, runs=runs) as waiting:
        async with modern(waiting.gateway) as client:
            state = (await begin(client))["requestState"]
            waiting.clock.advance(1_200)
        async with modern(waiting.gateway) as client:
            # Its question has ended: it says so, once, and asks nothing anew.
            said = await send(client, OPENS_PAGES, **ECHO, requestState=state)
            assert "Nobody approved it" in said["result"]["content"][0]["text"]
            assert len(await waiting.states()) == 1
            said = await send(client, OPENS_PAGES, **ECHO, requestState=state)
            assert said["error"]["code"] == -32602
            state = (await begin(client))["requestState"]
            waiting.clock.advance(1_200 + 900)
        async with modern(waiting.gateway) as client:
            said = await send(client, OPENS_PAGES, **ECHO, requestState=state)
            assert said["error"]["code"] == -32602
        assert waiting.served.calls == []


async def test_a_yes_that_one_round_used_is_not_there_for_the_next(waiting: WaitingGateway) -> None:
    async with modern(waiting.gateway) as client:
        first, second = await begin(client), await begin(client)
        assert await waiting.states() == ["pending"]  # one question for both
        await waiting.approve()
        retry = {**ECHO, "requestState": first["requestState"]}
        assert (await send(client, OPENS_PAGES, **retry))["result"]["resultType"] == "complete"
        retry = {**ECHO, "requestState": second["requestState"]}
        said = (await send(client, OPENS_PAGES, **retry))["result"]
        assert "was used by another call of the same" in said["content"][0]["text"]
        assert waiting.served.calls == ["echo"]
        assert await waiting.states() == ["used"]


async def test_the_page_and_the_messages_carry_no_secret(waiting: WaitingGateway) -> None:
    async with modern(waiting.gateway) as client:
        said = await send(client, OPENS_PAGES, **ECHO)
        approval = await waiting.pending()
        url = said["result"]["inputRequests"]["approval"]["params"]["url"]
        assert url == f"http://127.0.0.1:8600/approve/{approval}"
        assert said["result"]["requestState"] not in url
    kept = (waiting.plane.settings.state.directory / "midflight.sqlite3").read_bytes()
    assert said["result"]["requestState"].encode() not in kept
