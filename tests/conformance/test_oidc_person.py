"""A person logs in for an upstream at a server that others wrote (npm `oidc-provider`).

What the MCP suite's server does not do: it registers Midflight, asks the person, gives refresh
tokens that are good once, narrows, and binds what it gives to a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from urllib.parse import parse_qsl, urlsplit

import httpx2
import jwt
import pytest
from credential_kit import lease
from discovery_kit import Kept, Pair, discovering, pair
from oauth_backend_kit import READ, WRITE

from conformance.official_suite import HERE, NODE
from conformance.test_oidc_login import at_provider
from midflight.adapters.credentials.dpop_proofs import KEY_FIELD
from midflight.adapters.credentials.oauth import OAuthBackend
from midflight.domain.errors import Misconfigured
from midflight.wire.tokens.jwk import thumbprint

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oidc_provider]


@contextlib.asynccontextmanager
async def provider(resource: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / "oidc_person_provider.mjs"),
        resource,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={"PATH": str(NODE.parent)},
    )
    assert process.stdout is not None
    try:
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


@pytest.fixture
async def upstream() -> AsyncIterator[Pair]:
    """An upstream that names the provider."""
    with pair() as one:
        async with provider(f"{one.tools}/mcp") as issuer:
            one.resource = {"authorization_servers": [issuer]}
            one.server = issuer
            yield one


async def log_in(backend: OAuthBackend) -> None:
    begun = await backend.begin_login("http://127.0.0.1:9/oauth/callback")
    async with httpx2.AsyncClient(trust_env=False) as http:
        where = await at_provider(http, begun.url, "ann")
    await backend.finish_login(begun.id, dict(parse_qsl(urlsplit(where).query)))


async def test_leases_live_on_a_login_each_with_its_own_scopes(upstream: Pair) -> None:
    kept = Kept()
    async with discovering(
        upstream, kept=kept, scopes=(READ, WRITE), grant="authorization_code"
    ) as backend:
        pinned = await backend.pinned()
        assert pinned.settings["issuer"] == upstream.server
        await log_in(backend)
        before = json.loads(kept.table["tried"])
        for scopes in ((READ,), (READ, WRITE), (READ,)):
            issued = await backend.issue(lease(scopes=scopes))
            claims = jwt.decode(issued.secret.fields["token"], options={"verify_signature": False})
            assert set(claims["scope"].split()) == set(scopes)
            assert claims["aud"] == f"{upstream.tools}/mcp"
            assert claims["iss"] == upstream.server
            assert claims["sub"] == "ann"
        after = json.loads(kept.table["tried"])
        assert before["refresh"] != after["refresh"]
        # Good once: what is kept is always the last one.
        kept.table["tried"] = json.dumps(before)
        with pytest.raises(Misconfigured, match="invalid_grant"):
            await backend.issue(lease(scopes=(READ,)))


async def test_a_login_is_there_after_a_restart(upstream: Pair) -> None:
    kept = Kept()
    for again in (False, True):
        async with discovering(upstream, kept=kept, grant="authorization_code") as backend:
            if not again:
                await log_in(backend)
            assert (await backend.issue(lease(scopes=(READ,)))).secret.fields["token"]


async def test_what_a_login_gives_is_bound_to_its_key(upstream: Pair) -> None:
    async with discovering(upstream, dpop=True, grant="authorization_code") as backend:
        await log_in(backend)
        issued = await backend.issue(lease(scopes=(READ,)))
    claims = jwt.decode(issued.secret.fields["token"], options={"verify_signature": False})
    key = json.loads(issued.secret.fields[KEY_FIELD])
    assert claims["cnf"] == {"jkt": thumbprint({n: key[n] for n in ("kty", "crv", "x", "y")})}


async def test_nobody_has_logged_in_yet(upstream: Pair) -> None:
    async with discovering(upstream, grant="authorization_code") as backend:
        with pytest.raises(Misconfigured, match="has not taken place"):
            await backend.issue(lease(scopes=(READ,)))
