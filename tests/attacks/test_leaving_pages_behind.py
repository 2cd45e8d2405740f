"""A client has page after page opened, and leaves: nothing is kept for who is gone, or over."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from bare_client import final, legacy
from waiting_kit import EXPIRES_S, ONCALL, OPENS_PAGES, waiting_gateway

from midflight.domain.approval import ApprovalState
from midflight.wire.refusal import REFUSAL

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


def echo(text: str) -> dict[str, Any]:
    return {"name": "echo", "arguments": {"text": text}}


async def test_sessions_that_have_ended_are_not_kept_for_their_questions(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        pages = waiting.plane.waiting[1]._waits.pages
        for _ in range(3):
            async with legacy(waiting.gateway, **OPENS_PAGES) as client:
                call = client.request("tools/call", **echo("same"))
                said = final(await client.post(call, accept="application/json"))
                assert said["error"]["code"] == -32042
                assert [len(each.sessions) for each in pages._asked.values()] == [1]
                await client.delete()
            gc.collect()
            assert [len(each.sessions) for each in pages._asked.values()] == [0]


async def test_a_question_that_ends_unsaid_is_forgotten(tmp_path: Path) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, **OPENS_PAGES) as client,
    ):
        clients = waiting.plane.waiting[1]
        for number in range(3):
            call = client.request("tools/call", **echo(str(number)))
            await client.post(call, accept="application/json")
        assert len(clients._waits.pages._asked) == 3
        waiting.clock.advance(EXPIRES_S - 1)
        await clients.sweep()
        assert len(clients._waits.pages._asked) == 3
        waiting.clock.advance(1)
        await clients.sweep()
        assert not clients._waits.pages._asked


async def test_a_question_settled_while_its_call_ends_is_not_kept_and_is_told(
    tmp_path: Path,
) -> None:
    async with (
        waiting_gateway(tmp_path) as waiting,
        legacy(waiting.gateway, **OPENS_PAGES) as client,
        client.listening() as stream,
    ):
        waits = waiting.plane.waiting[1]._waits
        give = waits.handles.give

        async def given(*args: Any, **more: Any) -> str:
            (found,) = await waiting.plane.approval_desk.list(state=ApprovalState.PENDING)
            await waiting.plane.approval_desk.approve(found.id, author=ONCALL)
            return await give(*args, **more)

        waits.handles.give = given  # type: ignore[method-assign]
        call = client.request("tools/call", **echo("x"))
        said = final(await client.post(call, accept="application/json"))
        told = await stream.next_of("notifications/elicitation/complete")
        approval = said["error"]["data"][REFUSAL]["approval"]
        assert told["params"] == {"elicitationId": approval}
        assert not waits.pages._asked
