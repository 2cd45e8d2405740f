"""Clients on the official SDK wait for a person: what they show, and what their caller gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mcp import types
from mcp.client.context import ClientRequestContext
from waiting_kit import PUBLIC_URL, WaitingGateway, waiting_gateway

from midflight.wire.refusal import HANDLE, REFUSAL

pytestmark = [
    pytest.mark.anyio,
    # What is deprecated in the modern generation is what legacy clients have.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]


class User:
    """Who sits at the client: opens pages, answers as he is told, and may be the approver."""

    def __init__(
        self, waiting: WaitingGateway, action: str = "accept", *, approves: bool = True
    ) -> None:
        self.waiting = waiting
        self.action = action
        self.approves = approves
        self.pages: list[str] = []

    async def __call__(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        assert isinstance(params, types.ElicitRequestURLParams)
        self.pages.append(params.url)
        assert params.message.startswith("Waiting for approval by payments-oncall, expires 08:20")
        if self.approves:
            await self.waiting.approve()
        return types.ElicitResult(action=self.action)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("action", ["accept", "decline", "cancel"])
async def test_the_page_is_shown_and_the_call_passes_once_approved(
    mode: str, action: str, tmp_path: Path
) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        user = User(waiting, action)
        async with waiting.gateway.client(mode=mode, elicitation_callback=user) as client:
            done = await client.call_tool("echo", {"text": "hi"})
        assert done.content == [types.TextContent(type="text", text="hi")]
        (page,) = user.pages
        assert page.startswith(f"{PUBLIC_URL}/approve/apr_")
        assert waiting.served.calls == ["echo"]
        assert await waiting.states() == ["used"]


async def test_a_client_without_pages_hears_progress(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        heard: list[tuple[float, str | None]] = []

        async def progress(at: float, total: float | None, message: str | None) -> None:
            assert total is None or message is None or not message.startswith("Waiting")
            heard.append((at, message))
            if len(heard) == 1:
                await waiting.approve()

        async with waiting.gateway.client(mode="legacy") as client:
            done = await client.call_tool("tell", {"steps": 2}, progress_callback=progress)
        assert done.is_error is False
        words = "Waiting for approval by payments-oncall, expires 08:20 UTC."
        assert heard[0] == (-50, f"{words} Somebody looks at it first.")
        # Progress only grows, over what the upstream says of its own work.
        values = [at for at, _ in heard]
        assert values == sorted(values)
        assert values[-1] == 2


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_what_takes_too_long_is_an_error_that_says_how_to_go_on(
    mode: str, tmp_path: Path
) -> None:
    async with waiting_gateway(tmp_path, approvals={"wait": {"hold": "0s"}}) as waiting:
        async with waiting.gateway.client(mode=mode) as client:
            said = await client.call_tool("echo", {"text": "hi"})
            assert said.is_error is True
            assert said.meta is not None
            assert said.meta[REFUSAL]["state"] == "pending"
            await waiting.approve()
            meta: Any = {HANDLE: said.meta[HANDLE]}
            done = await client.call_tool("echo", {"text": "hi"}, meta=meta)
        assert done.content == [types.TextContent(type="text", text="hi")]


async def test_nobody_answers_and_the_sdk_gets_words_before_it_gives_up(tmp_path: Path) -> None:
    # With no time to hold, every round comes back at once; the SDK allows ten.
    async with waiting_gateway(tmp_path, approvals={"wait": {"hold": "0s"}}) as waiting:
        user = User(waiting, approves=False)
        async with waiting.gateway.client(elicitation_callback=user) as client:
            said = await client.call_tool("echo", {"text": "hi"})
        assert said.is_error is True
        assert isinstance(said.content[0], types.TextContent)
        assert said.content[0].text.startswith("Waiting for approval by payments-oncall")
        assert len(user.pages) == 1
        assert waiting.served.calls == []
