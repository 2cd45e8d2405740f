"""A receiver goes on to be told who is revoked, though an operator has stopped its stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from oauth_kit import OAuthServer
from ssf_kit import POLL, SIEM, SSF, Receiver, receiver, revoke, transmitter

from gateways import AGENT, OPERATOR
from midflight.domain.records import Changed
from midflight.domain.revocation import ScopeKind
from midflight.domain.shared_stream import StreamStatus
from midflight.services.ssf_streams import MAX_CHANGES

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OAuthServer]:
    async with transmitter(tmp_path, ssf={"streams_per_client": 3}) as running:
        yield running


@pytest.fixture
async def soc(server: OAuthServer) -> Receiver:
    return await (await receiver(server)).log_in()


@pytest.mark.parametrize("stopped", [StreamStatus.PAUSED, StreamStatus.DISABLED])
async def test_what_an_operator_has_stopped_only_an_operator_lets_go_on(
    soc: Receiver, stopped: StreamStatus
) -> None:
    made = await soc.create()
    where = {"stream_id": made["stream_id"]}
    streams = soc.server.plane.signals.transmitting.streams
    await streams.decide(made["stream_id"], stopped, OPERATOR, reason="It leaks.")
    for status in StreamStatus:
        asked = {**where, "status": status.value}
        assert (await soc.call("POST", "/ssf/status", json=asked)).status_code == 403
    gone = await soc.call("DELETE", f"/ssf/stream?stream_id={made['stream_id']}")
    assert gone.status_code == 403
    assert (await soc.call("POST", "/ssf/stream", json={})).status_code == 403
    assert (await soc.call("PUT", "/ssf/stream", json=made)).status_code == 200
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    await soc.first(made)  # that it is stopped
    assert await soc.poll(made) == {}
    # Of another client nothing is stopped, and what an operator lets go on goes on.
    siem = await (await receiver(soc.server, "siem", SIEM)).log_in()
    await siem.create()
    await streams.decide(made["stream_id"], StreamStatus.ENABLED, OPERATOR, reason="")
    assert await soc.poll(made) != {}
    assert (
        await soc.call("POST", "/ssf/status", json={**where, "status": "paused"})
    ).status_code == 200
    assert (
        await soc.call("POST", "/ssf/status", json={**where, "status": "enabled"})
    ).status_code == 200


async def test_an_operator_stops_what_its_receiver_has_paused(soc: Receiver) -> None:
    made = await soc.create()
    asked = {"stream_id": made["stream_id"], "status": "paused"}
    assert (await soc.call("POST", "/ssf/status", json=asked)).status_code == 200
    streams = soc.server.plane.signals.transmitting.streams
    await streams.decide(made["stream_id"], StreamStatus.PAUSED, OPERATOR, reason="It leaks.")
    asked["status"] = "enabled"
    assert (await soc.call("POST", "/ssf/status", json=asked)).status_code == 403


async def test_a_receiver_that_changes_its_stream_without_end_fills_no_ledger(
    soc: Receiver,
) -> None:
    made = await soc.create()
    asked = {"stream_id": made["stream_id"], "description": "again"}
    answers = [
        (await soc.call("PATCH", "/ssf/stream", json=asked)).status_code
        for _ in range(MAX_CHANGES + 5)
    ]
    assert answers == [200] * (MAX_CHANGES - 1) + [429] * 6
    await soc.server.plane.ledger.flush()
    tail = await soc.server.plane.ledger.tail(1_000)
    changed = [each.record for each in tail if isinstance(each.record, Changed)]
    assert len([each for each in changed if each.what.startswith("ssf.stream.")]) == MAX_CHANGES
    # It is still told of what happens, and reads its stream.
    await revoke(soc.server, ScopeKind.WORKLOAD, AGENT)
    assert made["delivery"]["method"] == POLL
    told = [await soc.verified(text) for text in (await soc.poll(made)).values()]
    assert SSF not in str(told)
    assert len(told) == 1
