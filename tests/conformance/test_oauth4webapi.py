"""The authorization server, driven by an OAuth client that others wrote (npm `oauth4webapi`)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from oauth_kit import CLIENT, META, oauth_server

from conformance.official_suite import HERE, NODE
from gateways import AGENT

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oauth4webapi]


async def driven(script: str, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What a script saw, by step."""
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / script),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": str(NODE.parent)},
    )
    out, err = await process.communicate(json.dumps(given).encode())
    assert process.returncode == 0, (out.decode(), err.decode()[-3_000:])
    lines = [json.loads(line) for line in out.decode().splitlines()]
    return {line.pop("step"): line for line in lines}


async def test_a_client_of_others_gets_and_uses_and_loses_tokens(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        seen = await driven(
            "oauth4webapi_flow.mjs",
            {
                "issuer": server.issuer,
                "resource": server.resource,
                "client": CLIENT,
                "key": {**server.key.private_jwk, "kid": "k1"},
                "svid": server.svid(),
                "scope": "mcp:git effect:read",
                "wider": "mcp",
                "narrower": "mcp:git/git_log effect:read",
                "meta": META,
                "version": "2026-07-28",
            },
        )
    assert seen["prm"] == {"servers": [server.issuer], "scopes": ["mcp"]}
    assert seen["discovery"]["issuer"] == server.issuer
    assert seen["credentials"] == {"type": "dpop", "scope": "effect:read mcp:git"}
    assert seen["exchange"] == {"type": "dpop", "scope": "effect:read mcp:git"}
    assert seen["widening"] == {"error": "invalid_scope", "status": 400}
    assert seen["narrowing"] == {"scope": "effect:read mcp:git/git_log"}
    assert seen["resource"]["status"] == 200, seen["resource"]
    assert seen["stolen"] == {"status": 401, "challenge": "invalid_dpop_proof"}
    found = seen["introspect"]
    assert (found["active"], found["sub"]) == (True, AGENT)
    assert found["cnf"]["jkt"]
    assert found["txn"].startswith("run_")
    assert seen["revoked"]["active"] is False
