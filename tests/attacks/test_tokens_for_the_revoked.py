"""A revoked workload that asks for tokens all the same: for later, when nobody looks any more."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import jwt as pyjwt
import pytest
from identity_kit import Key
from oauth_kit import (
    ACCESS_TOKEN,
    EDITOR,
    JWT,
    OTHER,
    TOKEN_EXCHANGE,
    Attempt,
    OAuthServer,
    oauth_server,
)

from gateways import AGENT, OPERATOR
from midflight.domain.identity import trust_domain
from midflight.domain.records import Issued
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio


async def issued(server: OAuthServer) -> int:
    await server.plane.ledger.flush()
    tail = await server.plane.ledger.tail(10_000)
    return sum(isinstance(found.record, Issued) for found in tail)


@pytest.mark.parametrize("kind", ["workload", "owner", "trust_domain", "everything"])
async def test_no_grant_gives_a_token_to_what_is_revoked(tmp_path: Path, kind: str) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        held = (await server.exchanged(key))["access_token"]
        before, runs = await issued(server), len(await server.plane.runs.list_runs())
        names = {"workload": AGENT, "owner": "team-one", "trust_domain": trust_domain(AGENT)}
        scope = Scope(kind=ScopeKind(kind), id=names.get(kind, ""))
        await server.plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)
        for form in (
            server.authenticated(grant_type="client_credentials"),
            {
                "grant_type": TOKEN_EXCHANGE,
                "subject_token": server.svid(),
                "subject_token_type": JWT,
            },
            {
                "grant_type": TOKEN_EXCHANGE,
                "subject_token": held,
                "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
            },
        ):
            answer = await server.token(key=key, **form)
            assert answer.status_code == 400, answer.text
        assert await issued(server) == before
        assert len(await server.plane.runs.list_runs()) == runs


async def test_who_is_revoked_acts_for_nobody_else_either(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        held = (await server.exchanged(key, OTHER, **server.authenticated()))["access_token"]
        assert pyjwt.decode(held, options={"verify_signature": False})["act"] == {"sub": AGENT}
        assert "result" in (await server.tools(held, key)).json()
        claims = server.plane.identity.read(held)
        assert await server.plane.oauth.tokens.active(claims)
        before, runs = await issued(server), len(await server.plane.runs.list_runs())
        scope = Scope(kind=ScopeKind.WORKLOAD, id=AGENT)
        await server.plane.interruption.revoke(scope, reason="stolen", author=OPERATOR)
        assert not await server.plane.oauth.tokens.active(claims)
        assert "result" not in (await server.tools(held, key)).json()
        for subject, kind in ((held, ACCESS_TOKEN), (server.svid(OTHER), JWT)):
            answer = await server.token(
                key=key,
                **server.authenticated(
                    grant_type=TOKEN_EXCHANGE, subject_token=subject, subject_token_type=kind
                ),
            )
            assert answer.status_code == 400, answer.text
        assert await issued(server) == before
        assert len(await server.plane.runs.list_runs()) == runs
        # For itself the other one acts on.
        own = (await server.exchanged(key, OTHER))["access_token"]
        assert "result" in (await server.tools(own, key)).json()


async def test_nobody_agrees_for_a_client_whose_workload_is_revoked(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        page = await server.log_in(Attempt(server).query)
        scope = Scope(kind=ScopeKind.WORKLOAD, id=EDITOR)
        await server.plane.interruption.revoke(scope, reason="a secret why", author=OPERATOR)
        back = await server.answer(page)
        told = parse_qs(urlsplit(back.headers["location"]).query)
        assert told["error"] == ["access_denied"]
        assert "secret" not in back.headers["location"]
        assert await server.plane.runs.list_runs() == []
