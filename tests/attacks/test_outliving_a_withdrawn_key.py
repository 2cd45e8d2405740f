"""Tokens of a key that was stolen and withdrawn: what verifies one more of them, and where.

A real gateway over loopback; the thief's tokens are signed by the very key, as he would.
"""

from __future__ import annotations

import secrets
import time
from pathlib import Path
from typing import Any

import pytest
from identity_kit import Key
from oauth_kit import (
    JWT,
    MODERN_HEADERS,
    TOKEN_EXCHANGE,
    OAuthServer,
    modern_request,
    oauth_server,
)

from gateways import AGENT, OPERATOR
from midflight.apps.control.keys import KeyVerbs, WithdrawnKey
from midflight.apps.control.operators import Operator
from midflight.domain.errors import Unauthenticated
from midflight.services.ports.keys import Purpose

pytestmark = pytest.mark.anyio


def svid(server: OAuthServer, audience: str) -> str:
    now = int(time.time())
    claims = {"sub": AGENT, "aud": [audience], "iat": now, "exp": now + 200}
    return server.plane.parts.svid_signer.sign(
        {"typ": "JWT"}, {**claims, "jti": secrets.token_hex(8)}
    )


async def listed(server: OAuthServer, token: str) -> int:
    answer = await server.http.post(
        server.resource,
        json=modern_request("tools/list"),
        headers={
            **MODERN_HEADERS,
            "mcp-method": "tools/list",
            "authorization": f"Bearer {token}",
        },
    )
    return answer.status_code


def signs(server: OAuthServer, purpose: Purpose) -> str:
    return next(k.kid for k in server.plane.keys.list() if k.purpose is purpose)


async def exchange(server: OAuthServer, token: str) -> Any:
    return await server.token(
        key=Key(), grant_type=TOKEN_EXCHANGE, subject_token=token, subject_token_type=JWT
    )


async def test_an_svid_of_a_withdrawn_key_is_refused_by_every_door_at_once(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        stolen, for_exchange = svid(server, server.resource), svid(server, server.issuer)
        assert await listed(server, stolen) == 200  # its proof is known from here on
        # The service alone: no verb, no sweep, no publication comes to its help.
        await server.plane.keys.withdraw(signs(server, Purpose.JWT_SVID), author=OPERATOR)
        assert await listed(server, stolen) == 401
        assert (await exchange(server, for_exchange)).status_code == 400
        with pytest.raises(Unauthenticated):
            server.plane.spiffe.svids.validate_jwt(stolen, server.resource)


async def test_an_access_token_of_a_withdrawn_key_is_refused_with_a_warm_cache(
    tmp_path: Path,
) -> None:
    async with oauth_server(tmp_path) as server:
        stolen = await server.gateway.token()
        assert await listed(server, stolen) == 200
        await server.plane.keys.withdraw(signs(server, Purpose.ACCESS_TOKEN), author=OPERATOR)
        assert await listed(server, stolen) == 401
        assert await listed(server, await server.gateway.token()) == 200


async def test_the_verb_publishes_what_is_left_before_it_answers(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        gone = signs(server, Purpose.JWT_SVID)
        before = server.plane.spiffe.bundles.own
        who = Operator(author=OPERATOR, uid=0, on_socket=True)
        await KeyVerbs(server.plane).withdraw(WithdrawnKey(kid=gone), who)
        after = server.plane.spiffe.bundles.own
        assert gone not in [jwk["kid"] for jwk in after.jwt_authorities]
        assert after.sequence > before.sequence
        assert (await exchange(server, svid(server, server.issuer))).status_code == 200
