"""A bound token in the hands of somebody without its key: refused as before, and now found."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bare_client import Modern, modern
from identity_kit import Key, by_hand, proof_claims, proof_header
from signal_kit import findings

from gateways import AGENT, OPERATOR, Gateway, running_gateway
from midflight.domain.finding import Strength
from servers.sdk_server import over_http

pytestmark = pytest.mark.anyio

PUBLIC_URL = "http://127.0.0.1:8600"


class Holder:
    """A client with a token that is bound to its key, in a run."""

    def __init__(self, gateway: Gateway, client: Modern, token: str, *, key: Key, run: str) -> None:
        self.gateway, self.client, self.token, self.key, self.run = gateway, client, token, key, run

    def proof(self, key: Key | None = None, *, token: str = "", **claims: Any) -> str:
        made = {
            "htm": "POST",
            "htu": f"{PUBLIC_URL}/mcp",
            "iat": int(time.time()),
            "jti": secrets.token_hex(16),
            **claims,
        }
        key = key or self.key
        return by_hand(proof_header(key), proof_claims(token or self.token, **made), key)

    async def post(self, *, scheme: str = "DPoP", token: str = "", **headers: str) -> int:
        request = self.client.request("tools/call", name="add", arguments={"a": 1, "b": 1})
        given = {"authorization": f"{scheme} {token or self.token}", **headers}
        return (await self.client.post(request, **given)).status_code

    async def found(self) -> list[tuple[str, Strength, str, str]]:
        return [
            (each.finding.detector, each.finding.strength, each.finding.workload, each.finding.run)
            for each in await findings(self.gateway)
        ]


@contextlib.asynccontextmanager
async def holder(tmp_path: Path) -> AsyncIterator[Holder]:
    async with (
        over_http(None) as url,
        running_gateway(tmp_path, [{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        key, run = Key(), await gateway.open_run()
        minted = await gateway.plane.identity.mint(
            workload=AGENT, run=run, author=OPERATOR, jkt=key.jkt
        )
        async with modern(gateway, token="replaced") as client:
            yield Holder(gateway, client, minted.token, key=key, run=run)


@pytest.mark.parametrize("how", ["as bearer", "without a proof", "thief's key", "other request"])
async def test_it_is_refused_and_found_with_the_run_it_was_for(tmp_path: Path, how: str) -> None:
    async with holder(tmp_path) as held:
        for _ in range(3):
            match how:
                case "as bearer":
                    status = await held.post(scheme="Bearer")
                case "without a proof":
                    status = await held.post()
                case "thief's key":
                    status = await held.post(dpop=held.proof(Key()))
                case _:
                    status = await held.post(dpop=held.proof(htm="GET"))
            assert status == 401
        assert await held.found() == [("elsewhere", Strength.STRONG, AGENT, held.run)]


async def test_a_proof_that_comes_twice_from_where_the_holder_is_counts_less(
    tmp_path: Path,
) -> None:
    async with holder(tmp_path) as held:
        proof = held.proof()
        assert await held.post(dpop=proof) == 200
        assert await held.post(dpop=proof) == 401
        assert [each[1] for each in await held.found()] == [Strength.FAIR]


@pytest.mark.parametrize("how", ["no token", "another's signature", "clocks apart", "honest"])
async def test_what_proves_no_theft_is_no_finding(tmp_path: Path, how: str) -> None:
    async with holder(tmp_path) as held:
        match how:
            case "no token":
                status = await held.post(token="garbage", dpop=held.proof())
            case "another's signature":
                forged = held.token[:-8] + "AAAAAAAA"
                status = await held.post(token=forged, dpop=held.proof(Key(), token=forged))
            case "clocks apart":
                status = await held.post(dpop=held.proof(iat=int(time.time()) - 600))
            case _:
                status = await held.post(dpop=held.proof())
        assert status == (200 if how == "honest" else 401)
        assert await held.found() == []
