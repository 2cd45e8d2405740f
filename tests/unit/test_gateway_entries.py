"""Entries of lists: made once for each change of the catalogue, and for each generation."""

from __future__ import annotations

import pytest

from midflight.apps.gateway.entries import Entries
from midflight.apps.gateway.routing import Routes
from midflight.domain.tool import PinnedKind
from midflight.domain.traits import Traits
from midflight.testing.plane import MemoryPlane
from midflight.testing.upstream import ScriptedUpstream

pytestmark = pytest.mark.anyio

PLAIN = {"name": "plain", "inputSchema": {"type": "object"}}
MIRRORED_WRONG = {"name": "wrong", "inputSchema": {"type": "object", "x-mcp-header": "No"}}


async def test_entries_follow_the_catalogue() -> None:
    plane = MemoryPlane(upstream=ScriptedUpstream("one", [PLAIN, MIRRORED_WRONG]))
    await plane.start()
    entries = Entries(Routes(["one"], plane.catalogue), plane.catalogue)
    try:
        await plane.pin("plain", Traits())
        first = entries.of("one", PinnedKind.TOOL, modern=True)
        assert dict(first) == {"plain": PLAIN}
        assert entries.of("one", PinnedKind.TOOL, modern=True) is first
        await plane.pin("wrong", Traits())
        assert set(entries.of("one", PinnedKind.TOOL, modern=True)) == {"plain"}
        assert set(entries.of("one", PinnedKind.TOOL, modern=False)) == {"plain", "wrong"}
        plane.upstream.tools = [{**PLAIN, "description": "another"}]
        await plane.catalogue.refresh("one")
        assert not entries.of("one", PinnedKind.TOOL, modern=True)
    finally:
        await plane.close()
