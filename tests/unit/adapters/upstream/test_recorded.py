"""The upstream of replays keeps the adapter's side of the contract."""

from __future__ import annotations

import pytest
from upstream_kit import SEAT, FakeFlight, RecordingSink, call_tool

from midflight.adapters.upstream.recorded import RecordedUpstream
from midflight.domain.action import Action, ActionKind
from midflight.domain.errors import Interrupted, UpstreamUnavailable
from midflight.services.ports.upstream import Reply

pytestmark = pytest.mark.anyio
RESULT = {"content": [{"type": "text", "text": "Ann has it."}]}


def recorded() -> RecordedUpstream:
    return RecordedUpstream("library", [{"name": "open_card"}])


async def called(upstream: RecordedUpstream, flight: FakeFlight) -> Reply:
    return await upstream.call(
        call_tool("open_card", {"number": "7"}), seat=SEAT, flight=flight, sink=RecordingSink({})
    )


async def test_it_says_what_was_recorded_once_and_counts_bytes() -> None:
    upstream, flight = recorded(), FakeFlight()
    upstream.says(RESULT)
    reply = await called(upstream, flight)
    assert reply.result == RESULT
    assert flight.looks == 1
    assert flight.sent > 0
    assert flight.received == reply.bytes_in > len("Ann has it.")
    with pytest.raises(UpstreamUnavailable):
        await called(upstream, FakeFlight())


async def test_a_cut_flight_gets_nothing_and_nothing_is_left_for_the_next() -> None:
    upstream, flight = recorded(), FakeFlight()
    upstream.says(RESULT)
    flight.cut()
    with pytest.raises(Interrupted):
        await called(upstream, flight)
    assert flight.sent == 0
    with pytest.raises(UpstreamUnavailable):
        await called(upstream, FakeFlight())


async def test_it_lists_its_tools_and_says_so() -> None:
    upstream = recorded()
    info = await upstream.describe()
    assert "tools" in info.capabilities
    action = Action(
        kind=ActionKind.LIST, upstream="library", name="tools/list", method="tools/list"
    )
    listed = await upstream.call(action, seat=SEAT, flight=FakeFlight(), sink=RecordingSink({}))
    assert listed.result == {"tools": [{"name": "open_card"}]}
    await upstream.end_run("run_1")
    upstream.says(RESULT)
    await upstream.close()
    with pytest.raises(UpstreamUnavailable):
        await called(upstream, FakeFlight())
