"""A transaction token shown as something else, and something else shown as a transaction token."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from draft_kit import DOMAIN, TRANSACTION_TOKEN, Drafts, drafts, error_of, unverified_claims
from identity_kit import Key, by_hand
from oauth_kit import ACCESS_TOKEN, JWT, MODERN_HEADERS, TOKEN_EXCHANGE, modern_request

from gateways import AGENT
from midflight.domain.errors import Unauthenticated
from midflight.wire.tokens import verify_access_token, verify_transaction_token

pytestmark = pytest.mark.anyio

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


async def listed(made: Drafts, authorization: str, **headers: str) -> Any:
    return await made.server.http.post(
        made.server.resource,
        json=modern_request("tools/list"),
        headers={
            **MODERN_HEADERS,
            "mcp-method": "tools/list",
            "authorization": authorization,
            **headers,
        },
    )


async def test_as_an_access_token_at_the_gateway(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        token = await made.transaction(key)
        assert (await listed(made, f"Bearer {token}")).status_code == 401
        assert (await made.server.tools(token, key)).status_code == 401
        assert (await listed(made, f"Txn-Token {token}")).status_code == 401
        # Nor does it open anything where the draft has it, without what authenticates.
        alone = await made.server.http.post(
            made.server.resource,
            json=modern_request("tools/list"),
            headers={**MODERN_HEADERS, "mcp-method": "tools/list", "txn-token": token},
        )
        assert alone.status_code == 401
        # The same door opens for what is meant for it.
        assert (await made.server.tools(await made.access(key), key)).status_code == 200


async def test_as_an_access_token_at_the_authorization_server(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        token = await made.transaction(key)
        for kind in (TRANSACTION_TOKEN, ACCESS_TOKEN, JWT, ID_TOKEN):
            for client in ({}, made.as_client()):
                answer = await made.server.token(
                    key=key,
                    grant_type=TOKEN_EXCHANGE,
                    subject_token=token,
                    subject_token_type=kind,
                    **client,
                )
                assert answer.status_code in {400, 401}, kind
                assert "access_token" not in answer.text
        seen = await made.server.post("/oauth/introspect", {**made.as_client(), "token": token})
        assert seen.json() == {"active": False}


async def test_as_an_actor_of_a_delegation(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        token = await made.transaction(key)
        for kind in (TRANSACTION_TOKEN, JWT, ACCESS_TOKEN):
            answer = await made.server.token(
                key=key,
                grant_type=TOKEN_EXCHANGE,
                subject_token=access,
                subject_token_type=ACCESS_TOKEN,
                actor_token=token,
                actor_token_type=kind,
                task="Read.",
            )
            assert answer.status_code in {400, 401}, kind


async def test_the_typ_changed_and_signed_by_the_wrong_purpose(tmp_path: Path) -> None:
    """Even Midflight's own signature is worth nothing on the other kind of token."""
    async with drafts(tmp_path) as made:
        plane, key = made.server.plane, Key()
        access, token = await made.access(key), await made.transaction(key)
        every = plane.keys.published()
        names = {"issuer": made.server.issuer, "trust_domain_name": DOMAIN, "now": time.time()}

        def as_transaction(text: str) -> None:
            verify_transaction_token(text, jwks=every, **names)

        def as_access(text: str) -> None:
            verify_access_token(text, jwks=every, resource=made.server.resource, **names)

        as_transaction(token)
        as_access(access)
        for text in (access, made.server.svid(), made.server.assertion(), made.id_jag()):
            with pytest.raises(Unauthenticated):
                as_transaction(text)
        for text in (token, made.id_jag()):
            with pytest.raises(Unauthenticated):
                as_access(text)
        # With the claims of the one and the typ of the other, each by the key of the other.
        signer = plane.parts.token_signer
        with pytest.raises(Unauthenticated):
            as_transaction(signer.sign({"typ": "txntoken+jwt"}, unverified_claims(access)))
        with pytest.raises(Unauthenticated):
            as_access(signer.sign({"typ": "at+jwt"}, unverified_claims(token)))
        # The plane knows each by the ring of its purpose, whatever else is in the published set.
        forged = signer.sign({"typ": "txntoken+jwt"}, unverified_claims(token))
        as_transaction(forged)
        assert error_of(await made.replace(forged)) == (400, "invalid_request")


WRONG: tuple[dict[str, Any], ...] = (
    {"txn": ...},
    {"txn": ""},
    {"txn": "run 1"},
    {"txn": 1},
    {"scope": ...},
    {"scope": ""},
    {"scope": ["mcp"]},
    {"scope": 'mcp "x"'},
    {"req_wl": ...},
    {"req_wl": "https://elsewhere.example"},
    {"req_wl": "spiffe://other.example/agents/one"},
    {"req_wl": "spiffe://midflight.internal/agents/two"},  # not the one of the chain
    {"act": ...},
    {"act": {}},
    {"act": {"sub": AGENT, "iss": "x"}},
    {"act": {"sub": AGENT, "act": {"sub": 1}}},
    {"sub": "somebody"},
    {"sub": "spiffe://other.example/agents/one"},
    {"jti": ...},
    {"jti": "a b"},
    {"iss": ...},
    {"iss": "https://elsewhere.example"},
    {"aud": [DOMAIN]},
    {"aud": [DOMAIN, "other.example"]},
    {"aud": "other.example"},
    {"aud": DOMAIN.upper()},
    {"exp": ...},
    {"iat": ...},
    {"tctx": None},
    {"tctx": []},
    {"rctx": "x"},
    {"cnf": {"jkt": "x"}},
    {"admin": True},
)


async def test_claims_that_are_never_made_here(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        forger = Key()
        jwks = {"keys": [{**forger.public_jwk, "kid": "k", "alg": "ES256", "use": "sig"}]}
        head = {"typ": "txntoken+jwt", "alg": "ES256", "kid": "k"}
        good = unverified_claims(await made.transaction(Key()))
        lasting: dict[str, Any] = {"exp": good["iat"] + 301}

        def check(claims: dict[str, Any]) -> None:
            verify_transaction_token(
                by_hand(head, {n: v for n, v in claims.items() if v is not ...}, forger),
                jwks=jwks,
                issuer=made.server.issuer,
                trust_domain_name=DOMAIN,
                now=time.time(),
            )

        check(good)
        for changes in (*WRONG, lasting):
            with pytest.raises(Unauthenticated):
                check({**good, **changes})


async def test_one_of_another_plane_that_signs_with_its_own_keys(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    async with drafts(tmp_path / "one") as made, drafts(tmp_path / "two") as other:
        theirs = await other.transaction(Key())
        assert error_of(await made.replace(theirs)) == (400, "invalid_request")


async def test_believing_that_one_was_taken_back(tmp_path: Path) -> None:
    """Services ask nobody about it, so nobody is told that it is revoked."""
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        token = (await made.ask(access, key=key)).json()["access_token"]
        answer = await made.server.post("/oauth/revoke", {**made.as_client(), "token": token})
        assert error_of(answer) == (400, "unsupported_token_type")
        assert (await made.server.tools(access, key)).status_code == 200
