"""Confused deputy: what a caller proves itself with reaches no upstream, which could use it here.

The upstream notes every header of what it receives; it has a header of its own in the settings.
"""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest
from bare_client import Modern

from gateways import running_gateway
from servers.journal_server import journalling

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("own", [{}, {"Authorization": "Basic dXBzdHJlYW0="}])
async def test_the_token_of_a_caller_reaches_no_upstream(
    tmp_path: Path, own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OWN", own.get("Authorization", ""))
    headers = {"headers": {"Authorization": "env:OWN"}} if own else {}
    async with (
        journalling(slow_every=1_000) as journal,
        running_gateway(
            tmp_path, [{"name": "up", "url": journal.url, "reach": "closed", **headers}]
        ) as gateway,
    ):
        await gateway.pin_all()
        token = await gateway.token()
        sent = {"authorization": f"Bearer {token}", "cookie": f"t={token}", "x-token": token}
        async with httpx2.AsyncClient(timeout=30, trust_env=False, headers=sent) as http:
            agent = Modern(http, f"{gateway.url}/mcp")
            answer = await agent.post(
                agent.request("tools/call", name="look", arguments={"nonce": "n-1"})
            )
        assert answer.status_code == 200
        assert journal.nonces("look") == ["n-1"], "the call arrived"
        received = [value for head in journal.heads for value in head.values()]
        assert not [value for value in received if token.encode() in value]
        shown = {head.get(b"authorization", b"").decode() for head in journal.heads}
        assert shown == {own.get("Authorization", "")}
