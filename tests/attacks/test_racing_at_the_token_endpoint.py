"""What is good once, sent many times at once over connections of their own: one gets in, or none.

A real gateway on loopback and its SQLite store.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from pathlib import Path
from typing import Any

import httpx2
import pytest
from identity_kit import Key
from oauth_kit import (
    ASSERTION,
    JWT,
    MODERN_HEADERS,
    PUBLIC,
    TOKEN_EXCHANGE,
    Attempt,
    OAuthServer,
    code_of,
    modern_request,
    oauth_server,
)

from gateways import AGENT, OPERATOR

pytestmark = pytest.mark.anyio

TIMES = 15


async def at_once(url: str, *headers: dict[str, str], **body: Any) -> list[httpx2.Response]:
    """The same body, with each of these headers, each over a connection of its own."""

    async def one(told: dict[str, str]) -> httpx2.Response:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            return await http.post(url, headers=told, **body)

    return await asyncio.gather(*(one(told) for told in headers))


def passed(answers: list[httpx2.Response]) -> int:
    assert {answer.status_code for answer in answers} <= {200, 400, 401}
    return sum(answer.status_code == 200 for answer in answers)


def proofs(server: OAuthServer, key: Key) -> list[dict[str, str]]:
    return [{"DPoP": server.proof(key)} for _ in range(TIMES)]


async def test_one_dpop_proof_passes_once(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        token = (await server.exchanged(key))["access_token"]
        ath = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest())[:-1].decode()
        told = {
            **MODERN_HEADERS,
            "mcp-method": "tools/list",
            "authorization": f"DPoP {token}",
            "dpop": server.proof(key, server.resource, ath=ath),
        }
        body = modern_request("tools/list")
        assert passed(await at_once(server.resource, *[told] * TIMES, json=body)) == 1


async def test_svids_assertions_and_join_tokens_are_good_for_one(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for form in (
            {
                "grant_type": TOKEN_EXCHANGE,
                "subject_token": server.svid(),
                "subject_token_type": JWT,
            },
            {
                "grant_type": "client_credentials",
                "client_assertion": server.assertion(),
                "client_assertion_type": ASSERTION,
            },
        ):
            answers = await at_once(server.token_url, *proofs(server, Key()), data=form)
            assert passed(answers) == 1
        join = await server.plane.join_tokens.create(AGENT, OPERATOR)
        url = f"{server.url}/attest/join-token"
        assert passed(await at_once(url, *[{}] * TIMES, json={"token": join.token})) == 1


async def test_of_a_code_or_refresh_token_in_many_hands_nothing_is_left(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server)
        form = attempt.form(await code_of(server, attempt))
        answers = await at_once(server.token_url, *proofs(server, key), data=form)
        again = Attempt(server)
        first = await server.token(key=key, **again.form(await code_of(server, again)))
        refresh = {
            "grant_type": "refresh_token",
            "client_id": PUBLIC,
            "refresh_token": first.json()["refresh_token"],
        }
        answers += await at_once(server.token_url, *proofs(server, key), data=refresh)
        # Whoever was first may have got one before the second came; it is worth nothing now.
        for answer in (first, *(one for one in answers if one.status_code == 200)):
            got = answer.json()
            assert "evoked" in (await server.tools(got["access_token"], key)).text
            more = await server.token(key=key, **{**refresh, "refresh_token": got["refresh_token"]})
            assert more.status_code == 400
