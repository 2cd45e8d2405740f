"""Both drafts, driven by an OAuth client and checked by a JOSE library that others wrote (npm)."""

from __future__ import annotations

from pathlib import Path

import pytest
from draft_kit import CLIENT, DOMAIN, JWT_BEARER, NEXT, PERSON, PROFILE, PROVIDER, drafts
from oauth_kit import META, OTHER

from conformance.test_oauth4webapi import driven
from gateways import AGENT

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oauth4webapi]


async def test_a_client_of_others_gets_transaction_tokens_and_shows_assertions(
    tmp_path: Path,
) -> None:
    async with drafts(tmp_path) as made:
        server = made.server
        seen = await driven(
            "oauth4webapi_drafts.mjs",
            {
                "issuer": server.issuer,
                "resource": server.resource,
                "domain": DOMAIN,
                "client": CLIENT,
                "key": {**server.key.private_jwk, "kid": "k1"},
                "next": {"client": NEXT, "key": {**made.next_key.private_jwk, "kid": "k1"}},
                "provider": {
                    "issuer": PROVIDER,
                    "key": {**made.provider.private_jwk, "alg": "ES256"},
                    "kid": "p1",
                },
                "person": PERSON,
                "scope": "mcp:git effect:read",
                "narrower": "mcp:git/git_log effect:read",
                "wider": "mcp",
                "meta": META,
                "version": "2026-07-28",
            },
        )
    assert JWT_BEARER in seen["discovery"]["grants"]
    assert seen["discovery"]["profiles"] == [PROFILE]
    assert seen["id-jag"] == {"type": "dpop", "scope": "effect:read mcp:git", "refresh": False}
    assert seen["id-jag of another client"] == {"error": "invalid_grant", "status": 400}
    assert seen["id-jag again"] == {"error": "invalid_grant", "status": 400}
    assert seen["id-jag for more"] == {"error": "invalid_scope", "status": 400}
    assert seen["resource"] == {"status": 200}
    assert seen["transaction"] == {
        "type": "n_a",
        "issued": "urn:ietf:params:oauth:token-type:txn_token",
        "scope": "effect:read mcp:git/git_log",
        "refresh": False,
    }
    before, after = seen["before"], seen["after"]
    assert seen["access"] == {"sub": AGENT, "client": CLIENT, "txn": before["txn"]}
    for name in ("iss", "aud", "sub", "txn", "scope", "tctx"):
        assert after[name] == before[name]
    assert before["tctx"] == {"action": "refund", "order": 17}
    assert (before["req_wl"], after["req_wl"]) == (AGENT, OTHER)
    assert after["exp"] <= before["exp"]
    assert seen["widened"] == {"error": "invalid_scope", "status": 400}
    assert seen["as an access token"] == {"status": 401, "challenge": "invalid_token"}
