"""A receiver is removed, disabled or revoked, and goes on to be told who else is revoked."""

from __future__ import annotations

from pathlib import Path

import pytest
from ssf_kit import PUSH, SOC, Sink, receiver, revoke, transmitter

from gateways import AGENT, OPERATOR
from midflight.domain.revocation import ScopeKind

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("how", ["removed", "revoked", "disabled"])
async def test_nothing_more_is_pushed_to_it(tmp_path: Path, how: str) -> None:
    async with Sink().serving() as sink, transmitter(tmp_path) as server:
        soc = await (await receiver(server)).log_in()
        made = await soc.create(delivery={"method": PUSH, "endpoint_url": sink.url})
        sending = server.plane.signals.transmitting
        await revoke(server, ScopeKind.WORKLOAD, AGENT)
        before = len(await sink.came(1))
        if how == "removed":
            await server.plane.oauth.clients.remove("soc", OPERATOR)
        elif how == "disabled":
            await server.plane.inventory.disable(SOC, OPERATOR)
        else:
            await revoke(server, ScopeKind.WORKLOAD, SOC)
        await revoke(server, ScopeKind.CREDENTIAL, "payments")
        stream = await sending.streams.get("soc", made["stream_id"])
        why, _ = await sending.pushing._round(stream)
        assert why == "its client is gone, disabled or revoked"
        assert len(sink.requests) == before
