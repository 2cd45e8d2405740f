"""Who gets in at the gateway, through real sockets: 401 with its metadata, DPoP, strangers."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx2
import jwt
import pytest
from bare_client import Modern, bare, modern
from identity_kit import Key, by_hand, proof_claims, proof_header

from gateways import AGENT, OPERATOR, Gateway
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire import tokens
from midflight.wire.refusal import REFUSAL
from servers.sdk_server import Served, over_http

pytestmark = pytest.mark.anyio

PUBLIC_URL = "http://127.0.0.1:8600"


@contextlib.asynccontextmanager
async def gateway_of(gateway_factory: Any, served: Served | None = None) -> AsyncIterator[Gateway]:
    async with (
        over_http(served) as url,
        gateway_factory([{"name": "one", "url": url, "reach": "closed"}]) as gateway,
    ):
        await gateway.pin_all()
        yield gateway


@contextlib.asynccontextmanager
async def stranger() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30, trust_env=False) as http:
        yield http


async def test_whoever_has_no_proof_is_told_where_to_get_one_at_every_endpoint(
    gateway_factory: Any,
) -> None:
    async with gateway_of(gateway_factory) as gateway, stranger() as http:
        for path in ("/mcp", "/mcp/one"):
            for method in ("POST", "GET", "DELETE"):
                answer = await http.request(method, gateway.url + path)
                assert answer.status_code == 401, (path, method)
                challenge = answer.headers["www-authenticate"]
                assert challenge.startswith("Bearer ")
                # No error code, since nothing was presented (RFC 6750 §3).
                assert "error=" not in challenge
                told = challenge.split('resource_metadata="')[1].split('"')[0]
                metadata = (await http.get(gateway.url + urlsplit(told).path)).json()
                assert metadata["resource"] == f"{PUBLIC_URL}/mcp"
                assert metadata["authorization_servers"] == [PUBLIC_URL]
                assert metadata["bearer_methods_supported"] == ["header"]


async def test_a_token_is_verified_by_the_keys_that_the_gateway_shows(
    gateway_factory: Any,
) -> None:
    async with gateway_of(gateway_factory) as gateway, stranger() as http:
        metadata = await http.get(f"{gateway.url}/.well-known/oauth-protected-resource/mcp")
        keys = (await http.get(gateway.url + urlsplit(metadata.json()["jwks_uri"]).path)).json()
        token = await gateway.token()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["ES256"], audience=f"{PUBLIC_URL}/mcp")
    assert claims["sub"] == AGENT
    assert 300 <= claims["exp"] - claims["iat"] <= 900


async def test_metadata_is_shown_for_endpoints_and_for_nothing_else(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, stranger() as http:
        base = f"{gateway.url}/.well-known/oauth-protected-resource"
        found = {path: (await http.get(base + path)).status_code for path in ("", "/mcp/one", "/x")}
    assert found == {"": 200, "/mcp/one": 200, "/x": 404}


async def test_a_token_that_does_not_hold_is_told_so(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway:
        token = await gateway.token()
        async with bare(gateway, token=token[:-4] + "AAAA") as http:
            answer = await http.post(f"{gateway.url}/mcp", json={})
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


async def test_a_workload_that_nobody_registered_is_denied_whatever_it_holds(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with gateway_of(gateway_factory, served) as gateway:
        now = int(time.time())
        header, claims = tokens.access_claims(
            issuer=PUBLIC_URL,
            resource=f"{PUBLIC_URL}/mcp",
            workload="spiffe://midflight.internal/agents/nobody",
            token="tok_x",
            issued_at=now,
            lifetime_s=600,
            run=None,
            thumbprint=None,
        )
        token = gateway.plane.parts.token_signer.sign(header, claims)
        async with modern(gateway, token=token) as client:
            called = await client.call("add", a=1, b=1)
            listed = await client.ask("tools/list")
    assert called["result"]["isError"] is True
    assert called["result"]["_meta"][REFUSAL]["code"] == "unregistered"
    assert "tools" not in listed.get("result", {})
    assert served.calls == []


async def test_a_workload_that_was_disabled_is_denied_with_the_token_it_had(
    gateway_factory: Any,
) -> None:
    served = Served()
    async with gateway_of(gateway_factory, served) as gateway, modern(gateway) as client:
        assert (await client.call("add", a=1, b=1))["result"]["structuredContent"] == {"result": 2}
        await gateway.plane.inventory.disable(AGENT, OPERATOR)
        called = await client.call("add", a=1, b=1)
    assert called["result"]["_meta"][REFUSAL]["code"] == "unregistered"
    assert served.calls == ["add"]


async def test_a_revoked_token_passes_nothing_while_another_of_the_workload_does(
    gateway_factory: Any,
) -> None:
    async with gateway_of(gateway_factory) as gateway:
        stolen, other = await gateway.token(), await gateway.token()
        jti = jwt.decode(stolen, options={"verify_signature": False})["jti"]
        await gateway.plane.interruption.revoke(
            Scope(kind=ScopeKind.TOKEN, id=jti), reason="stolen", author=OPERATOR
        )
        async with modern(gateway, token=stolen) as thief:
            refused = await thief.call("add", a=1, b=1)
        async with modern(gateway, token=other) as honest:
            passed = await honest.call("add", a=1, b=1)
    assert refused["result"]["_meta"][REFUSAL]["code"] == "revoked"
    assert passed["result"]["structuredContent"] == {"result": 2}


# DPoP (RFC 9449)


class Bound:
    """A client whose token is bound to its key."""

    def __init__(self, client: Modern, key: Key, token: str) -> None:
        self.client = client
        self.key = key
        self.token = token

    def proof(self, **claims: Any) -> str:
        made = {
            "htm": "POST",
            "htu": f"{PUBLIC_URL}/mcp",
            "iat": int(time.time()),
            "jti": secrets.token_hex(16),
            **claims,
        }
        return by_hand(proof_header(self.key), proof_claims(self.token, **made), self.key)

    async def post(self, *, scheme: str = "DPoP", **headers: str) -> httpx2.Response:
        request = self.client.request("tools/call", name="add", arguments={"a": 1, "b": 1})
        presented = {"authorization": f"{scheme} {self.token}", **headers}
        return await self.client.post(request, **presented)


@contextlib.asynccontextmanager
async def bound(gateway: Gateway) -> AsyncIterator[Bound]:
    key = Key()
    minted = await gateway.plane.identity.mint(workload=AGENT, author=OPERATOR, jkt=key.jkt)
    async with modern(gateway, token="replaced") as client:
        yield Bound(client, key, minted.token)


async def test_a_bound_token_passes_with_a_proof_of_its_key_once(gateway_factory: Any) -> None:
    async with gateway_of(gateway_factory) as gateway, bound(gateway) as client:
        proof = client.proof()
        passed = await client.post(dpop=proof)
        assert passed.json()["result"]["structuredContent"] == {"result": 2}
        again = await client.post(dpop=proof)
        assert again.status_code == 401
        assert 'error="invalid_dpop_proof"' in again.headers["www-authenticate"]
        fresh = await client.post(dpop=client.proof())
        assert fresh.status_code == 200


async def test_a_bound_token_is_worth_nothing_without_its_key(gateway_factory: Any) -> None:
    served = Served()
    async with gateway_of(gateway_factory, served) as gateway, bound(gateway) as client:
        assert (await client.post(scheme="Bearer")).status_code == 401
        assert (await client.post()).status_code == 401
        client.key = Key()
        assert (await client.post(dpop=client.proof())).status_code == 401
    assert served.calls == []


async def test_a_proof_counts_for_the_endpoint_it_names_and_no_other(gateway_factory: Any) -> None:
    served = Served()
    async with gateway_of(gateway_factory, served) as gateway, bound(gateway) as client:
        elsewhere = client.proof(htu=f"{PUBLIC_URL}/mcp/one")
        assert (await client.post(dpop=elsewhere)).status_code == 401
        client.client.url = f"{gateway.url}/mcp/one"
        assert (await client.post(dpop=client.proof())).status_code == 401
        there = client.proof(htu=f"{PUBLIC_URL}/mcp/one")
        assert (await client.post(dpop=there)).status_code == 200
    assert served.calls == ["add"]
