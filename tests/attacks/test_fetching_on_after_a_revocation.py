"""An agent is revoked while it fetches what there is already: a result that waits, a list of tools.

It was let in before the revocation, and something took its time: it is not served any more.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from bare_client import modern
from waiting_kit import POLLS_TASKS, send, waiting_gateway

from gateways import AGENT, OPERATOR, Gateway
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.refusal import REFUSAL

pytestmark = pytest.mark.anyio

SCOPE = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
ECHO: dict[str, Any] = {"name": "echo", "arguments": {"text": "what it is after"}}


async def revoke(gateway: Gateway) -> None:
    receipt = await gateway.plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)
    assert receipt.durable


async def test_a_result_that_waits_is_not_given_out(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        task = (await send(client, POLLS_TASKS, **ECHO))["result"]["taskId"]
        await waiting.approve()
        done = await send(client, POLLS_TASKS, "tasks/get", taskId=task)
        assert done["result"]["status"] == "completed"
        store = waiting.plane.parts.store
        get_held = store.get_held

        async def slow(key: str) -> Any:
            found = await get_held(key)
            await revoke(waiting.gateway)
            return found

        store.get_held = slow  # type: ignore[method-assign]
        said = await send(client, POLLS_TASKS, "tasks/get", taskId=task)
        assert "what it is after" not in str(said)
        assert said["error"]["data"][REFUSAL]["code"] == "revoked"


async def test_a_list_is_not_given_out(tmp_path: Path) -> None:
    async with waiting_gateway(tmp_path) as waiting, modern(waiting.gateway) as client:
        assert "echo" in str(await client.ask("tools/list"))
        catalogue = waiting.plane.catalogue
        ready = catalogue.ready

        async def slow(upstreams: Any) -> Any:
            found = await ready(upstreams)
            await revoke(waiting.gateway)
            await asyncio.sleep(0)
            return found

        catalogue.ready = slow  # type: ignore[method-assign]
        said = await client.ask("tools/list")
        assert "echo" not in str(said)
        assert said["error"]["data"][REFUSAL]["code"] == "revoked"
