"""Who is cut is told, and the upstream hung up on, before the task that waited is even woken."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from bare_client import Modern, final, legacy, modern
from cut_kit import records

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.records import Outcome, Terminal
from midflight.domain.revocation import Scope, ScopeKind
from midflight.services.cutting import Cutting
from midflight.wire.refusal import REFUSAL
from servers.counting_server import Counted, command, counting

pytestmark = pytest.mark.anyio

SCOPE = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
CALLS = 40


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Gateway, Counted]]:
    child = {"name": "child", **command(tmp_path / "journal"), "reach": "closed"}
    async with (
        counting() as counted,
        running_gateway(tmp_path, [{"name": "up", "url": counted.url}, child]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway, counted


@pytest.fixture
def waking(monkeypatch: pytest.MonkeyPatch) -> Callable[[Gateway], None]:
    """Nobody who waits is woken, until what this gives is called."""

    def only_sever(cutting: Any) -> None:
        cutting._is_due = False
        if cutting._denied:
            cutting._slice()

    monkeypatch.setattr(Cutting, "_next", only_sever)

    def go_on(gateway: Gateway) -> None:
        monkeypatch.undo()
        cutting: Any = gateway.plane.interruption._cutting
        cutting._go_on()

    return go_on


def refusal(message: dict[str, Any]) -> dict[str, Any]:
    assert message["result"]["isError"]
    assert message["result"]["content"][0]["text"].startswith("Midflight did not let this happen")
    return message["result"]["_meta"][REFUSAL]


async def revoke(gateway: Gateway) -> None:
    await gateway.plane.interruption.revoke(SCOPE, reason="turned", author=OPERATOR)


async def none_in_flight(gateway: Gateway) -> None:
    while gateway.plane.interruption.flights():
        await asyncio.sleep(0)


def hold(client: Modern) -> asyncio.Task[dict[str, Any]]:
    return asyncio.ensure_future(client.call("hold"))


async def test_callers_are_told_and_upstreams_hung_up_on_first(
    served: tuple[Gateway, Counted], waking: Callable[[Gateway], None]
) -> None:
    gateway, counted = served
    async with modern(gateway, "/mcp/up") as client:
        doing = [hold(client) for _ in range(CALLS)]
        await counted.until(CALLS)
        open_before = len(counted.connections)
        await revoke(gateway)
        told = [refusal(message) for message in await asyncio.gather(*doing)]
        while len(counted.connections) > open_before - CALLS:
            await asyncio.sleep(0)
        # All that, and every one of them is still where it waited.
        assert gateway.plane.interruption.in_flight == CALLS
        assert await records(gateway.plane, Outcome) == []
        waking(gateway)
        await none_in_flight(gateway)
    assert {each["code"] for each in told} == {"interrupted"}
    outcomes = await records(gateway.plane, Outcome)
    assert {each.state for each in outcomes} == {Terminal.INTERRUPTED}
    assert sorted(each["record"] for each in told) == sorted(each.intent for each in outcomes)


async def test_a_call_to_a_child_process_is_told_as_well(
    served: tuple[Gateway, Counted], waking: Callable[[Gateway], None]
) -> None:
    gateway, _ = served
    async with modern(gateway, "/mcp/child") as client:
        doing = hold(client)
        while not any(flight.bytes_out for flight in gateway.plane.interruption.flights()):
            await asyncio.sleep(0)
        await revoke(gateway)
        assert refusal(await doing)["code"] == "interrupted"
        waking(gateway)
        await none_in_flight(gateway)


async def test_a_stream_ends_with_its_last_word(
    served: tuple[Gateway, Counted], waking: Callable[[Gateway], None]
) -> None:
    gateway, _ = served
    async with modern(gateway, "/mcp/up") as client:
        request = client.request("subscriptions/listen", notifications={"toolsListChanged": True})
        async with client.streaming(request) as stream:
            assert await stream.next() is not None
            await revoke(gateway)
            last = await stream.next()
            assert last is not None
            assert last["result"]["resultType"] == "complete"
            assert await stream.next() is None
        waking(gateway)
        await none_in_flight(gateway)


async def test_the_connection_serves_the_next_request_though_the_last_one_sleeps(
    served: tuple[Gateway, Counted], waking: Callable[[Gateway], None]
) -> None:
    gateway, counted = served
    async with modern(gateway, "/mcp/up") as client:
        doing = hold(client)
        await counted.until(1)
        await revoke(gateway)
        first = refusal(await doing)
        second = refusal(await client.call("note"))
        assert (first["code"], second["code"]) == ("interrupted", "revoked")
        waking(gateway)
        await none_in_flight(gateway)
        # What woke had nothing more to say: the next answer is the next request's.
        third = await client.post(client.request("tools/call", name="note", arguments={}))
        assert refusal(final(third))["code"] == "revoked"


async def test_it_is_told_the_same_as_who_has_to_be_woken_for_it(
    served: tuple[Gateway, Counted],
) -> None:
    gateway, counted = served
    async with modern(gateway, "/mcp/up") as new, legacy(gateway, "/mcp/up") as old:
        doing = [hold(new), asyncio.ensure_future(old.call("hold"))]
        await counted.until(2)
        await revoke(gateway)
        told = [refusal(message) for message in await asyncio.gather(*doing)]
    assert told[0].pop("record") != told[1].pop("record")
    assert told[0] == told[1]
