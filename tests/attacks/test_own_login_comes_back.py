"""Who was shown the token that Midflight logs in with shows it to Midflight itself."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import jwt as pyjwt
import pytest
from identity_kit import Key
from oauth_kit import (
    ASSERTION,
    CLIENT,
    JWT,
    MODERN_HEADERS,
    TOKEN_EXCHANGE,
    OAuthServer,
    modern_request,
    oauth_server,
)

from midflight.adapters.clock import SystemClock
from midflight.adapters.credentials.client_keys import OWN_TOKEN_S, own_token
from midflight.adapters.keys.ring_signer import RingSigner
from midflight.services.ports.keys import Purpose

pytestmark = pytest.mark.anyio


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[OAuthServer]:
    async with oauth_server(tmp_path) as one:
        yield one


async def shown(server: OAuthServer, audience: str) -> str:
    """What Midflight shows to a server whose operator chose the audience."""
    signer = RingSigner(server.plane.keys, Purpose.CLIENT)
    made = own_token(signer, issuer=server.issuer, clock=SystemClock())
    return await made(audience)


async def test_it_is_for_one_server_and_for_a_minute(server: OAuthServer) -> None:
    token = await shown(server, "https://bao.example")
    claims = pyjwt.decode(token, options={"verify_signature": False})
    assert claims["aud"] == "https://bao.example"
    assert claims["exp"] - claims["iat"] == OWN_TOKEN_S == 60
    again = pyjwt.decode(
        await shown(server, "https://bao.example"), options={"verify_signature": False}
    )
    assert claims["jti"] != again["jti"]


@pytest.mark.parametrize("where", ["issuer", "resource", "token_url"])
async def test_it_opens_nothing_at_the_gateway(server: OAuthServer, where: str) -> None:
    # Even if an operator was talked into naming Midflight itself as the audience.
    token = await shown(server, getattr(server, where))
    for scheme in ("Bearer", "DPoP"):
        headers = {
            **MODERN_HEADERS,
            "mcp-method": "tools/list",
            "authorization": f"{scheme} {token}",
            "dpop": server.proof(Key(), server.resource),
        }
        answer = await server.http.post(
            server.resource, json=modern_request("tools/list"), headers=headers
        )
        assert answer.status_code == 401, answer.text


@pytest.mark.parametrize("where", ["issuer", "resource", "token_url"])
async def test_it_is_exchanged_for_nothing_and_is_nobodys_assertion(
    server: OAuthServer, where: str
) -> None:
    token = await shown(server, getattr(server, where))
    exchanged = await server.token(
        key=Key(), grant_type=TOKEN_EXCHANGE, subject_token=token, subject_token_type=JWT
    )
    assert exchanged.status_code in {400, 401}, exchanged.text
    for client in (CLIENT, server.issuer):
        answer = await server.token(
            key=Key(),
            grant_type="client_credentials",
            client_id=client,
            client_assertion_type=ASSERTION,
            client_assertion=token,
        )
        assert answer.status_code == 401, answer.text
    introspected = await server.post(
        "/oauth/introspect", server.authenticated(token=token), proof=None
    )
    assert introspected.json() == {"active": False}
