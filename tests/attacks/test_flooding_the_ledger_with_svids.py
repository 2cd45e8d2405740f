"""A local agent asks for SVIDs without end: each is a durable record, so there is a bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from spiffe_kit import REPORTS, TRIAGE, Mint

from midflight.apps.workload_api.handlers import abort
from midflight.domain.attestation import Entry
from midflight.services.mint_rates import BURST, TooOften

pytestmark = pytest.mark.anyio


def _entry(name: str, workload: str = TRIAGE) -> Entry:
    return Entry(id=name, spiffe_id=workload, selectors=(), added_by="test", proof="test")


async def _flooded(mint: Mint) -> None:
    for _ in range(BURST):
        await mint.svids.jwt(_entry("entry_a"), ["somebody"], proof="test")


async def test_an_entry_is_minted_for_up_to_its_bound_and_no_record_follows(tmp_path: Path) -> None:
    mint = Mint(tmp_path)
    await mint.start()
    await mint.register(TRIAGE)
    await _flooded(mint)
    with pytest.raises(TooOften):
        await mint.svids.jwt(_entry("entry_a"), ["somebody"], proof="another process")
    with pytest.raises(TooOften):
        await mint.svids.x509(_entry("entry_a"), proof="another kind")
    assert len(mint.issued()) == BURST


async def test_who_floods_takes_nothing_from_others_and_gets_more_later(tmp_path: Path) -> None:
    mint = Mint(tmp_path)
    await mint.start()
    for workload in (TRIAGE, REPORTS):
        await mint.register(workload)
    await _flooded(mint)
    await mint.svids.jwt(_entry("entry_b", REPORTS), ["somebody"], proof="test")
    mint.clock.advance(1.0)
    await mint.svids.jwt(_entry("entry_a"), ["somebody"], proof="test")


async def test_the_workload_api_says_resource_exhausted() -> None:
    class Context:
        told: Any = None

        async def abort(self, status: Any, text: str, trailing_metadata: object) -> None:
            self.told = (status, text)

    context = Context()
    await abort(context, TooOften("More SVIDs are asked for."))
    assert context.told == (grpc.StatusCode.RESOURCE_EXHAUSTED, "More SVIDs are asked for.")
