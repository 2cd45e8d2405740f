"""Guessing the names of tools where the endpoint of all upstreams is asked.

A name that nobody serves belongs to no upstream there. It was answered at the rim then, so nothing
stood in the ledger and no detector ever saw a guess: whoever looked for what there is was found at
the endpoint of one upstream and nowhere else.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateways import running_gateway
from midflight.domain.finding import Strength
from midflight.domain.records import Found, Outcome
from midflight.services.detectors.probing import RUN_FOUND
from midflight.wire.refusal import REFUSAL
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio


async def test_guesses_are_refused_recorded_and_found(tmp_path: Path) -> None:
    async with over_http(Served()) as first, over_http(Served()) as second:
        entries = [
            {"name": "one", "url": first, "reach": "closed"},
            {"name": "two", "url": second, "reach": "closed"},
        ]
        async with running_gateway(tmp_path, entries) as gateway:
            await gateway.pin_all()
            async with gateway.client() as client:
                for number in range(RUN_FOUND):
                    # `add` is a name of both, and neither's here.
                    name = f"guess_{number}" if number else "add"
                    result = await client.call_tool(name, {"a": 1, "b": 1})
                    assert result.is_error
                    refusal = (result.meta or {})[REFUSAL]
                    assert refusal["code"] == "unknown_target"
                    assert refusal["record"]
            ledger = gateway.plane.ledger
            await ledger.flush()
            records = [found.record for found in await ledger.tail(1_000)]
    denied = [r for r in records if isinstance(r, Outcome) and r.code == "unknown_target"]
    assert len({r.facts.name for r in denied if r.facts is not None}) == RUN_FOUND
    # What a caller made up is told apart, and stands nowhere in clear.
    assert b"guess_1" not in msgspec.json.encode(records)
    found = [r.finding for r in records if isinstance(r, Found)]
    assert ("probing", Strength.FAIR) in {(each.detector, each.strength) for each in found}
