"""The wall clock is set ahead or back: what is in flight is as old and as stopped as before.

Ends of revocations are tested with the other faults (`test_interruption_faults.py`), leases with
the broker (`test_broker.py`, `test_leasing_past_a_revocation.py`), responses with what waits them
out (`test_waiting_out_a_quarantine.py`).
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx2
import pytest
from lease_kit import LeasePlane

from gateways import AGENT, OPERATOR, running_gateway
from midflight.adapters.store.memory import MemoryStore
from midflight.domain.revocation import Revocation, Scope, ScopeKind
from midflight.services.flights import FlightKind
from midflight.services.guard import Refused
from midflight.testing import (
    WORKLOAD,
    FakeClock,
    ListSink,
    MemoryPlane,
    ScriptedUpstream,
    call,
    caller,
)

pytestmark = pytest.mark.anyio

DAY = 86_400.0
STEPS = pytest.mark.parametrize("step", [-400 * DAY, -DAY, DAY, 400 * DAY])


@STEPS
async def test_a_flight_is_as_old_as_it_is(step: float) -> None:
    """A lent credential as well: whoever looks for what hangs is not led astray."""
    clock = FakeClock()
    plane = LeasePlane(clock=clock)
    live = await plane.begin()
    await plane.lease(live)
    stream = plane.listing.stream(
        await plane.listing.seat(caller()),  # type: ignore[arg-type]
        name="notices",
        ended=lambda: None,
    )
    clock.advance(10)
    clock.set_back(-step)
    ages = {flight.kind: flight.age_s for flight in plane.interruption.flights()}
    assert ages.keys() == {FlightKind.STREAM, FlightKind.LEASE}
    assert ages[FlightKind.STREAM] == pytest.approx(10)
    assert ages[FlightKind.LEASE] == pytest.approx(10)
    stream.close()
    await plane.close()


@STEPS
@pytest.mark.parametrize("scope", [ScopeKind.EVERYTHING, ScopeKind.WORKLOAD])
async def test_what_was_written_by_another_clock_is_in_force(step: float, scope: ScopeKind) -> None:
    """`midflight panic` writes to the log by a clock that is wrong, or this one is."""
    clock, store = FakeClock(), MemoryStore()
    plane = MemoryPlane(upstream=ScriptedUpstream("one", ()), store=store, clock=clock)
    await plane.start()
    name = WORKLOAD if scope is ScopeKind.WORKLOAD else ""
    entry = Revocation(
        id="rev_panic",
        scope=Scope(kind=scope, id=name),
        reason="panic",
        author="olivia",
        proof="test",
        at=clock.now() + step,
    )
    await store.append_revocation(entry)
    await plane.interruption.follow()
    assert plane.interruption.covering([(scope, name)]) == entry
    clock.set_back(step)
    assert plane.interruption.covering([(scope, name)]) == entry
    done = await plane.guard.perform(call("send"), caller(), sink=ListSink())
    assert isinstance(done, Refused)
    await plane.close()


@STEPS
async def test_a_freeze_stream_ages_by_the_time_that_passes(tmp_path: Path, step: float) -> None:
    """An age that jumps back makes the client's lease longer, one that jumps ahead ends it."""
    clock = FakeClock()
    async with running_gateway(tmp_path, [], clock=clock) as gateway:
        headers = {"Authorization": f"Bearer {await gateway.token()}"}
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30) as http,
            http.stream("GET", f"{gateway.url}/freeze", headers=headers) as answer,
        ):
            lines = answer.aiter_lines()
            assert (await _event(lines))[0] == "hello"
            clock.advance(3)
            clock.set_back(-step)
            scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
            await gateway.plane.interruption.revoke(scope, reason="odd", author=OPERATOR)
            name, data = await _event(lines)
            while name == "beat":
                name, data = await _event(lines)
            assert (name, data["age_s"]) == ("freeze", pytest.approx(3))


async def _event(lines: Any) -> tuple[str, dict[str, Any]]:
    name = ""
    async with asyncio.timeout(30):
        async for line in lines:
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                return name, json.loads(line[6:])
    raise AssertionError("The stream has ended.")
