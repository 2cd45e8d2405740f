"""Hooks at the gateway's own door, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest
from hook_kit import SLACK_SECRET, TEAM, slack_request

pytestmark = pytest.mark.anyio


def hooks(folder: Path) -> dict[str, Any]:
    for name, text in (("url", "http://127.0.0.1:9/chat"), ("slack", SLACK_SECRET)):
        (folder / name).write_text(text, encoding="utf-8")
    return {
        "channels": {"chat": {"kind": "slack", "url": f"file:{folder / 'url'}"}},
        "hooks": {
            "chat": {
                "kind": "slack",
                "secret": f"file:{folder / 'slack'}",
                "team": TEAM,
                "people": {"U0ANN": "olivia"},
            }
        },
    }


async def test_a_hook_is_served_beside_the_endpoints(tmp_path: Path, gateway_factory: Any) -> None:
    body, headers = slack_request("no ticket")
    async with (
        gateway_factory([], **hooks(tmp_path)) as gateway,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        signed = await client.post(f"{gateway.url}/hooks/chat", content=body, headers=headers)
        assert (signed.status_code, signed.json()["code"]) == (400, "malformed")
        assert "ticket" in signed.json()["message"]
        wrong = headers | {"x-slack-signature": "v0=00"}
        unsigned = await client.post(f"{gateway.url}/hooks/chat", content=body, headers=wrong)
        assert unsigned.status_code == 401
        other = await client.post(f"{gateway.url}/hooks/none", content=body, headers=headers)
        assert other.status_code == 404
        page = headers | {"origin": "https://evil.example"}
        assert (await client.post(f"{gateway.url}/hooks/chat", headers=page)).status_code == 403


async def test_a_gateway_without_hooks_has_none(tmp_path: Path, gateway_factory: Any) -> None:
    async with (
        gateway_factory([]) as gateway,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        assert (await client.post(f"{gateway.url}/hooks/chat")).status_code == 404
