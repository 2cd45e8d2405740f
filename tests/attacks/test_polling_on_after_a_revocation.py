"""A receiver whose token was stolen is revoked while its request is under way.

It waits in a long poll, or has sent its head and holds its body back: what it had proved was true
when it asked, and is not when it is answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from oauth_kit import OAuthServer
from ssf_kit import POLL, SOC, Receiver, receiver, transmitter

from gateways import OPERATOR
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.flights import FlightKind

pytestmark = pytest.mark.anyio

End = Callable[[OAuthServer, Receiver], Awaitable[Any]]


async def by_token(server: OAuthServer, soc: Receiver) -> Any:
    token = server.plane.identity.read(soc.held).token
    scope = Scope(kind=ScopeKind.TOKEN, id=token)
    return await server.plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)


async def by_workload(server: OAuthServer, _soc: Receiver) -> Any:
    scope = Scope(kind=ScopeKind.WORKLOAD, id=SOC)
    return await server.plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)


async def by_disabling(server: OAuthServer, _soc: Receiver) -> Any:
    await server.plane.inventory.disable(SOC, OPERATOR)


async def something_happens(server: OAuthServer) -> None:
    """What every stream is told of."""
    scope = Scope(kind=ScopeKind.WORKLOAD, id="spiffe://midflight.internal/agents/else")
    await server.plane.interruption.revoke(scope, reason="odd", author=OPERATOR)


async def waiting(server: OAuthServer) -> None:
    while not any(f.kind is FlightKind.POLL for f in server.plane.interruption.flights()):
        await asyncio.sleep(0)


@pytest.mark.parametrize("end", [by_token, by_workload, by_disabling])
async def test_a_poll_that_waits_is_told_nothing_any_more(tmp_path: Path, end: End) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create(delivery={"method": POLL})
        polling = asyncio.ensure_future(
            soc.call("POST", made["delivery"]["endpoint_url"], json={"maxEvents": 1}, timeout=60)
        )
        await waiting(server)
        receipt = await end(server, soc)
        if receipt is not None:
            assert receipt.impact.kinds == {"poll": 1}
        await something_happens(server)
        answer = await polling
        assert answer.status_code in {401, 403}, answer.text
        assert "sets" not in answer.json()
        assert server.plane.interruption.flights() == []


async def test_a_poll_that_waits_is_shown_and_is_cut_at_once(tmp_path: Path) -> None:
    """Though nothing happens that it could be told of."""
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create(delivery={"method": POLL})
        polling = asyncio.ensure_future(
            soc.call("POST", made["delivery"]["endpoint_url"], json={}, timeout=60)
        )
        await waiting(server)
        scope = Scope(kind=ScopeKind.WORKLOAD, id=SOC)
        assert server.plane.interruption.preview(scope).kinds == {"poll": 1}
        server.plane.signals.transmitting.polls._long = 3_600
        await by_workload(server, soc)
        assert (await polling).status_code == 403


@pytest.mark.parametrize("path", ["poll", "create"])
async def test_a_body_that_is_held_back_is_not_acted_on(tmp_path: Path, path: str) -> None:
    async with transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create(delivery={"method": POLL})
        await something_happens(server)
        url = made["delivery"]["endpoint_url"] if path == "poll" else f"{server.url}/ssf/stream"
        body = json.dumps({"returnImmediately": True} if path == "poll" else {}).encode()
        at = urlsplit(server.url)
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        with contextlib.closing(writer):
            head = f"POST {urlsplit(url).path} HTTP/1.1\r\nhost: {at.netloc}\r\n"
            head += f"authorization: Bearer {soc.held}\r\ncontent-type: application/json\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body[:-1])
            # It has been let in: another request on another connection is answered behind it.
            while server.plane.identity.read(soc.held) is None:
                await asyncio.sleep(0)
            await soc.call("GET", "/ssf/stream")
            await by_token(server, soc)
            writer.write(body[-1:])
            answer = (await reader.readuntil(b"\r\n")).decode()
        assert answer.split()[1] == "401", answer
