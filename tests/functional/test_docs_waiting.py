"""docs/waiting.md: its transcripts are what the gateway says, and its settings are the defaults."""

from __future__ import annotations

import asyncio
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from bare_client import legacy, modern
from waiting_kit import OPENS_PAGES, POLLS_TASKS, send, waiting_gateway

from midflight.apps.settings_waiting import Wait

pytestmark = pytest.mark.anyio

TEXT = (Path(__file__).parents[2] / "docs" / "waiting.md").read_text(encoding="utf-8")
ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "hi"}}
# Without members that say who answered, which every result has.
BESIDE = ("_meta",)


def shown(name: str) -> Any:
    found = re.search(rf"<!-- {name} -->\n```json\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None, name
    return json.loads(found[1])


def told(said: dict[str, Any], *, but: tuple[str, ...] = ()) -> Any:
    """What was said, with what differs each time left out as in the text."""
    text = json.dumps({name: value for name, value in said.items() if name not in but})
    text = re.sub(r"\b(apr|mfa|mft)_[a-z2-7]{26}", r"\1_…", text)
    text = re.sub(r'("record": ")[^"]+', r"\1…", text)
    return json.loads(re.sub(r"(Record: )[0-9a-f-]+", r"\1…", text))


async def test_the_transcripts_are_what_is_said(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting:
        async with modern(waiting.gateway) as client:
            said = (await send(client, OPENS_PAGES, **ECHO))["result"]
            assert told(said, but=BESIDE) == shown("round")
            await waiting.entered()
            said = (await send(client, POLLS_TASKS, **ECHO))["result"]
            assert told(said, but=BESIDE) == shown("task")
        async with legacy(waiting.gateway, **OPENS_PAGES) as client:
            call = client.request("tools/call", **ECHO, _meta={"progressToken": "p"})
            async with client.streaming(call) as stream:
                said = (await stream.next_of("elicitation/create"))["params"]
                assert told(said) == shown("page")
                said = (await stream.next_of("notifications/progress"))["params"]
                assert told(said) == shown("progress")
                while not waiting.room.count:
                    await asyncio.sleep(0)
                await waiting.pass_time(50)
                last = await stream.next()
                assert last is not None
                assert told(last["result"]) == shown("pending")


def test_its_settings_are_the_defaults() -> None:
    found = re.search(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    assert Wait(**tomllib.loads(found[1])["approvals"]["wait"]) == Wait()
