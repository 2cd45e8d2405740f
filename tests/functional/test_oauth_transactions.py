"""Transaction tokens through the endpoint: what is in one, who is next, and what is recorded."""

from __future__ import annotations

import json
import time
from pathlib import Path

import jwt as pyjwt
import pytest
from draft_kit import (
    CLIENT,
    DOMAIN,
    NEXT,
    TRANSACTION_TOKEN,
    Drafts,
    drafts,
    error_of,
    unverified_claims,
)
from identity_kit import Key
from oauth_kit import OTHER, oauth_server

from gateways import AGENT, OPERATOR
from midflight.services.ports.keys import Purpose
from midflight.wire.tokens import verify_transaction_token

pytestmark = pytest.mark.anyio

DETAILS = {"action": "refund", "order": {"id": 17, "lines": ["a", "b"]}}
CONTEXT = {"req_ip": "192.0.2.7", "authn": "hwk"}


async def test_a_transaction_token_says_whose_run_it_is_and_for_what(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key, scope="mcp:git effect:read")
        answer = await made.ask(
            access,
            key=key,
            scope="mcp:git/git_log effect:read",
            request_details=json.dumps(DETAILS),
            request_context=json.dumps(CONTEXT),
        )
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told.keys() == {
            "access_token",
            "issued_token_type",
            "token_type",
            "expires_in",
            "scope",
        }
        assert told["issued_token_type"] == TRANSACTION_TOKEN
        assert told["token_type"] == "N_A"
        assert 0 < told["expires_in"] <= 300
        token = told["access_token"]
        header = pyjwt.get_unverified_header(token)
        assert (header["typ"], header["alg"]) == ("txntoken+jwt", "ES256")
        claims = await made.verified(token)
        run = unverified_claims(access)["txn"]
        assert claims["exp"] - claims["iat"] == told["expires_in"]
        assert abs(claims["iat"] - time.time()) < 60
        assert {name: claims[name] for name in ("iss", "aud", "txn", "sub", "req_wl")} == {
            "iss": made.server.issuer,
            "aud": DOMAIN,
            "txn": run,
            "sub": AGENT,
            "req_wl": AGENT,
        }
        assert claims["scope"] == told["scope"] == "effect:read mcp:git/git_log"
        assert (claims["tctx"], claims["rctx"]) == (DETAILS, CONTEXT)
        assert "cnf" not in claims
        assert access not in token
        (record,) = await made.issued("transaction-token")
        assert (record.id, record.subject, record.run) == (claims["jti"], AGENT, run)
        assert record.expires_at == claims["exp"]
        assert record.proof == "oauth:private_key_jwt"
        assert record.details["from"] == unverified_claims(access)["jti"]
        assert "refund" not in str(record)
        assert "192.0.2.7" not in str(record)


async def test_who_is_next_gets_the_same_transaction_and_less_of_it(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        first = await made.transaction(Key(), request_details=json.dumps(DETAILS))
        answer = await made.replace(first, scope="mcp:git")
        assert answer.status_code == 200, answer.text
        before = await made.verified(first)
        after = await made.verified(answer.json()["access_token"])
        for name in ("iss", "aud", "txn", "sub", "tctx"):
            assert after[name] == before[name]
        assert "rctx" not in after
        assert after["scope"] == "mcp:git"
        assert after["exp"] <= before["exp"]
        assert after["jti"] != before["jti"]
        # Everybody who asked stays in the chain, the last one first.
        assert after["req_wl"] == OTHER
        assert after["act"] == {"sub": OTHER, "act": {"sub": AGENT}}
        again = await made.replace(answer.json()["access_token"], scope="mcp:git")
        assert (await made.verified(again.json()["access_token"]))["act"] == after["act"]
        records = await made.issued("transaction-token")
        assert [record.details["requester"] for record in records] == [AGENT, OTHER, OTHER]
        assert records[1].details["from"] == before["jti"]
        assert records[1].details["client"] == NEXT


async def test_a_service_of_the_trust_domain_reads_one(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        first = await made.transaction(Key(), request_details=json.dumps(DETAILS))
        token = (await made.replace(first, scope="mcp:git")).json()["access_token"]
        keys = await made.server.http.get(f"{made.server.url}/.well-known/jwks.json")
        read = verify_transaction_token(
            token,
            jwks=keys.json(),
            issuer=made.server.issuer,
            trust_domain_name=DOMAIN,
            now=time.time(),
        )
        assert (read.workload, read.requester, read.actors) == (AGENT, OTHER, (OTHER, AGENT))
        assert (read.scope, read.details) == (("mcp:git",), DETAILS)
        assert token not in repr(read)
        assert "refund" not in repr(read)


async def test_its_keys_are_its_own_and_rotate_by_themselves(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        rings = made.server.plane.keys
        (own,) = rings.jwks(Purpose.TRANSACTION_TOKEN)["keys"]
        others = rings.jwks(*(p for p in Purpose if p is not Purpose.TRANSACTION_TOKEN))["keys"]
        assert own["kid"] not in {key["kid"] for key in others}
        first = await made.transaction(Key())
        assert pyjwt.get_unverified_header(first)["kid"] == own["kid"]
        await rings.rotate(Purpose.TRANSACTION_TOKEN, author=OPERATOR, at_once=True)
        # The one before still verifies, and what is new is signed by the new one.
        second = (await made.replace(first)).json()["access_token"]
        assert pyjwt.get_unverified_header(second)["kid"] != own["kid"]
        await rings.withdraw(own["kid"], author=OPERATOR)
        assert error_of(await made.replace(first)) == (400, "invalid_request")
        assert (await made.replace(second)).status_code == 200


async def test_a_narrowed_run_narrows_its_transactions(tmp_path: Path) -> None:
    """The token of the child run is not narrowed itself; the run is."""
    async with drafts(tmp_path) as made:
        key = Key()
        run = await made.server.gateway.open_run()
        minted = await made.server.plane.identity.mint(
            workload=AGENT, run=run, author=OPERATOR, jkt=key.jkt
        )
        child = await made.server.token(
            key=key,
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=minted.token,
            subject_token_type="urn:ietf:params:oauth:token-type:access_token",
            task="Read the log.",
            scope="mcp:git effect:read",
        )
        child_run = unverified_claims(child.json()["access_token"])["txn"]
        wide = await made.server.plane.identity.mint(
            workload=AGENT, run=child_run, author=OPERATOR, jkt=key.jkt
        )
        for scope in ("mcp", "mcp:git", "mcp:mail effect:read", "mcp:git effect:write"):
            answer = await made.ask(wide.token, key=key, scope=scope)
            assert error_of(answer) == (400, "invalid_scope"), scope
        answer = await made.ask(wide.token, key=key, scope="mcp:git/git_log effect:read")
        assert answer.status_code == 200, answer.text


async def test_it_ends_with_what_it_came_from(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        run = await made.server.gateway.open_run()
        ends = int(time.time()) + 90
        signer = made.server.plane.parts.token_signer
        claims = {
            "iss": made.server.issuer,
            "sub": AGENT,
            "aud": made.server.resource,
            "client_id": AGENT,
            "jti": "tok_short",
            "iat": ends - 300,
            "exp": ends,
            "txn": run,
            "cnf": {"jkt": key.jkt},
        }
        short = signer.sign({"typ": "at+jwt"}, claims)
        first = await made.ask(short, key=key)
        assert unverified_claims(first.json()["access_token"])["exp"] == ends
        after = await made.replace(first.json()["access_token"])
        assert unverified_claims(after.json()["access_token"])["exp"] == ends
        # Within the leeway of readers it still reads; nothing is made of it.
        over = signer.sign({"typ": "at+jwt"}, {**claims, "exp": int(time.time()) - 5})
        assert error_of(await made.ask(over, key=key)) == (400, "invalid_request")


async def test_without_the_experiment_there_are_none(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        made = Drafts(server, Key())
        await made.prepare()
        key = Key()
        answer = await made.ask(await made.access(key), key=key)
        assert error_of(answer) == (400, "invalid_request")
        assert "experimental" in answer.json()["error_description"]
        assert server.plane.keys.jwks(Purpose.TRANSACTION_TOKEN) == {"keys": []}
        assert await made.issued("transaction-token") == []


async def test_a_client_may_hold_less_than_the_run(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        clients = made.server.plane.oauth.clients
        (mine,) = [each for each in await clients.list() if each.id == CLIENT]
        await clients.add(
            type(mine)(
                id=CLIENT,
                workload=AGENT,
                name=mine.name,
                keys=mine.keys,
                scope=("mcp:git",),
            ),
            OPERATOR,
        )
        key = Key()
        access = await made.access(key)
        assert error_of(await made.ask(access, key=key)) == (400, "invalid_scope")
        assert (await made.ask(access, key=key, scope="mcp:git")).status_code == 200
