"""What an upstream says in the moment of a revocation is heard by the agent that is revoked.

Everything is denied in one turn, and streams end some turns later: in between, and in the very
turn, an upstream has something to say, which is no more for that agent.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from bare_client import BOTH, Legacy, Modern, Stream

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import FlightKind
from servers.counting_server import counting

pytestmark = pytest.mark.anyio

CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"


@contextlib.asynccontextmanager
async def listening(gateway: Gateway, generation: type[Any], run: str) -> AsyncIterator[Stream]:
    token = await gateway.token(run)
    headers = {"authorization": f"Bearer {token}", "accept": BOTH, "host": "127.0.0.1:8600"}
    async with httpx2.AsyncClient(headers=headers, timeout=30, trust_env=False) as http:
        client = generation(http, f"{gateway.url}/mcp")
        if generation is Legacy:
            await client.open()
            async with client.listening() as stream:
                yield stream
            return
        request = client.request("subscriptions/listen", notifications={"toolsListChanged": True})
        async with client.streaming(request) as stream:
            first = await stream.next()
            assert first is not None
            assert first["method"] == "notifications/subscriptions/acknowledged"
            yield stream


@pytest.mark.parametrize("generation", [Modern, Legacy])
async def test_a_notice_in_the_turn_of_the_denial_is_not_heard(
    tmp_path: Path, generation: type[Any]
) -> None:
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}]) as gateway,
    ):
        await gateway.pin_all()
        plane, run = gateway.plane, await gateway.open_run()
        async with listening(gateway, generation, run) as stream:
            while not [f for f in plane.interruption.flights() if f.kind is FlightKind.STREAM]:
                await plane.ledger.flush()
            say = plane.notices._tell
            await say(list(plane.notices._listeners), "up", CHANGED, {})
            heard = await stream.next_of(CHANGED)
            assert heard["method"] == CHANGED
            scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
            settling = plane.interruption.strike(scope, reason="turned", author=OPERATOR)
            await say(list(plane.notices._listeners), "up", CHANGED, {"after": "the denial"})
            await settling
            rest = []
            while (message := await stream.next()) is not None:
                rest.append(message.get("method"))
            assert CHANGED not in rest
