"""A WIT-SVID, or what its signing key signs, shown where other tokens are taken, over HTTP."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import pytest
from draft_kit import CLIENT, DOMAIN, TRANSACTION_TOKEN, Drafts, provider_table
from identity_kit import Key
from oauth_kit import (
    ACCESS_TOKEN,
    ASSERTION,
    JWT,
    MODERN_HEADERS,
    TOKEN_EXCHANGE,
    modern_request,
    oauth_server,
)

from gateways import AGENT
from midflight.domain.attestation import Entry
from midflight.services.ports.keys import TokenSigner

pytestmark = pytest.mark.anyio

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
BY_SVID = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe"
ENTRY = Entry(id="entry_test", spiffe_id=AGENT, selectors=frozenset())


async def forged(signer: TokenSigner, issuer: str, resource: str) -> list[str]:
    """One of each kind, as its door wants it, but for the key."""
    now = int(time.time())
    kinds = (
        ("JWT", {"aud": issuer}),
        ("JWT", {"iss": CLIENT, "sub": CLIENT, "aud": issuer}),
        ("at+jwt", {"iss": issuer, "aud": resource, "client_id": CLIENT, "scope": "mcp"}),
        (
            "txntoken+jwt",
            {
                "iss": issuer, "aud": DOMAIN, "txn": "run_1", "scope": "mcp", "req_wl": AGENT,
                "act": {"sub": AGENT},
            },
        ),
        ("oauth-id-jag+jwt", {"iss": issuer, "aud": issuer, "client_id": CLIENT}),
    )  # fmt: skip
    return [
        await signer.mint(
            {"typ": typ},
            {
                "sub": AGENT, "iat": now, "exp": now + 200, "jti": f"tok_{secrets.token_hex(8)}",
                **claims,
            },
        )
        for typ, claims in kinds
    ]  # fmt: skip


async def test_at_every_door(tmp_path: Path) -> None:
    oauth = {"experimental": True, "id_jag_issuer": provider_table(tmp_path, Key())}
    async with oauth_server(tmp_path, oauth=oauth, spiffe={"experimental": True}) as server:
        made, key = Drafts(server, Key()), Key()
        await made.prepare()
        signer = server.plane.parts.wit_signer
        assert signer is not None
        wit = await server.plane.spiffe.svids.wit(ENTRY, proof="test")
        for text in (wit.token, *await forged(signer, server.issuer, server.resource)):
            for kind in (JWT, ID_TOKEN, ACCESS_TOKEN, TRANSACTION_TOKEN):
                subject = {"subject_token": text, "subject_token_type": kind}
                answer = await server.token(
                    key=key, grant_type=TOKEN_EXCHANGE, **subject, **made.as_client()
                )
                assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
                answer = await made.ask(text, key=key, subject_token_type=kind)
                assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
            for kind in (ASSERTION, BY_SVID):
                client = {"client_assertion": text, "client_assertion_type": kind}
                answer = await server.token(key=key, grant_type="client_credentials", **client)
                assert answer.status_code == 401
            assert (await made.present(text, key=key)).json()["error"] == "invalid_grant"
            answer = await server.post("/oauth/introspect", {"token": text, **made.as_client()})
            assert answer.json() == {"active": False}
            answer = await server.http.post(
                server.resource,
                json=modern_request("tools/list"),
                headers={
                    **MODERN_HEADERS,
                    "mcp-method": "tools/list",
                    "authorization": f"Bearer {text}",
                },
            )
            assert answer.status_code == 401
