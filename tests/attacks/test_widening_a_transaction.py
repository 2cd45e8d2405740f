"""Attacks on transaction tokens at the endpoint: more, longer, of another, about something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from draft_kit import (
    CLIENT,
    DOMAIN,
    NEXT,
    TRANSACTION_TOKEN,
    drafts,
    error_of,
    unverified_claims,
)
from identity_kit import Key, by_hand
from oauth_kit import JWT, OTHER, PUBLIC

from gateways import AGENT, OPERATOR
from midflight.domain.errors import Malformed
from midflight.domain.records import Observed
from midflight.domain.revocation import Scope, ScopeKind
from midflight.wire.tokens import transaction_context

pytestmark = pytest.mark.anyio


async def test_widening_it_at_each_step(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key, scope="mcp:git effect:read")
        for scope in ("mcp", "mcp:git", "mcp:git effect:write", "mcp effect:read", "admin", " "):
            answer = await made.ask(access, key=key, scope=scope)
            assert error_of(answer) == (400, "invalid_scope"), scope
        first = await made.ask(access, key=key, scope="mcp:git/git_log effect:read")
        token = first.json()["access_token"]
        for scope in ("mcp:git effect:read", "mcp:git/git_log", "mcp:git/push effect:read", "mcp"):
            answer = await made.replace(token, scope=scope)
            assert error_of(answer) == (400, "invalid_scope"), scope
        same = await made.replace(token, scope="mcp:git/git_log effect:read")
        assert same.status_code == 200


async def test_changing_what_it_is_about_on_its_way(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        details = json.dumps({"amount": 10})
        token = await made.transaction(Key(), request_details=details)
        for more in (
            {"request_details": json.dumps({"amount": 10_000})},
            {"request_details": details},
            {"request_context": json.dumps({"approved": True})},
        ):
            assert error_of(await made.replace(token, **more)) == (400, "invalid_request")
        kept = (await made.replace(token)).json()["access_token"]
        assert unverified_claims(kept)["tctx"] == {"amount": 10}


BAD_CONTEXTS: tuple[str, ...] = (
    "",
    "null",
    "[]",
    '"a"',
    "1",
    "{",
    "{}{}",
    '{"a":1,"a":2}',
    '{"a":1,"\\u0061":2}',
    '{"a":{"b":1,"b":2}}',
    '{"a":NaN}',
    '{"a":1e999}',
    '{"a":123456789012345678901234567890}',
    '{"a":"\\ud800"}',
    '{"a":"\ud800"}',
    "\ufeff{}",
    '{"a":' * 5 + "1" + "}" * 5,
    json.dumps({"a": "x" * 2_048}),
    json.dumps({"a": list(range(200))}),
    json.dumps({str(n): n for n in range(100)}),
)


@pytest.mark.parametrize("text", BAD_CONTEXTS, ids=range(len(BAD_CONTEXTS)))
def test_contexts_that_parsers_disagree_about_or_that_are_too_much(text: str) -> None:
    with pytest.raises(Malformed):
        transaction_context(text)


async def test_a_context_with_a_name_twice_is_named_and_refused(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        for name in ("request_details", "request_context"):
            answer = await made.ask(access, key=key, **{name: '{"a":1,"a":2}'})
            assert error_of(answer) == (400, "invalid_request")
            assert name in answer.json()["error_description"]


async def test_hiding_a_token_in_it_for_whoever_reads_it(tmp_path: Path) -> None:
    """The draft: it must not contain the access token; a reader could use it elsewhere."""
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        for hidden in (
            {"token": access},
            {"nested": {"deep": [f"Bearer {access}"]}},
            {access: 1},
            {"svid": made.server.svid()},
        ):
            answer = await made.ask(access, key=key, request_details=json.dumps(hidden))
            assert error_of(answer) == (400, "invalid_request")
        # Escapes of JSON do not hide it either.
        escaped = json.dumps({"token": access}).replace("eyJ", "\\u0065yJ")
        assert json.loads(escaped) == {"token": access}
        answer = await made.ask(access, key=key, request_context=escaped)
        assert error_of(answer) == (400, "invalid_request")


async def test_one_that_is_longer_than_anybody_reads(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        long = json.dumps({"a": "x" * 2_000})
        scope = " ".join(f"mcp:git/{'t' * 60}{n}" for n in range(60))
        answer = await made.ask(
            await made.access(key),
            key=key,
            scope=scope,
            request_details=long,
            request_context=long,
        )
        assert error_of(answer) == (400, "invalid_request")
        assert await made.issued("transaction-token") == []


async def test_one_for_elsewhere_or_for_nothing(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        for audience in (made.server.resource, made.server.issuer, "other.example", f"{DOMAIN} x"):
            answer = await made.ask(access, key=key, audience=audience)
            assert error_of(answer) == (400, "invalid_target")
        answer = await made.ask(access, key=key, resource=made.server.resource)
        assert error_of(answer) == (400, "invalid_target")
        for name in ("audience", "scope", "subject_token", "subject_token_type"):
            answer = await made.ask(access, key=key, **{name: ...})
            assert error_of(answer) == (400, "invalid_request"), name
        for name in ("actor_token", "actor_token_type", "dpop_jkt", "task", "intent"):
            answer = await made.ask(access, key=key, **{name: "x"})
            assert error_of(answer) == (400, "invalid_request"), name


async def test_asking_without_proof_of_who_asks(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        nobody: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
        for more in (nobody, {**nobody, "client_id": PUBLIC}, {**nobody, "client_id": CLIENT}):
            assert error_of(await made.ask(access, key=key, **more)) == (401, "invalid_client")
        # A transaction token is no proof of who presents it.
        token = await made.transaction(key)
        as_proof = {"client_assertion": token, "client_assertion_type": ...}
        answer = await made.ask(access, key=key, **as_proof)
        assert error_of(answer) == (401, "invalid_client")
        as_bearer = await made.server.post(
            "/oauth/token",
            {"grant_type": "client_credentials"},
            headers={"authorization": f"Bearer {token}"},
        )
        assert error_of(as_bearer) == (401, "invalid_client")


async def test_a_thief_turns_a_bound_token_into_one_that_is_not(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        stolen = await made.access(Key())
        for thief in (None, Key()):
            answer = await made.ask(stolen, key=thief, client=NEXT)
            assert error_of(answer) == (400, "invalid_dpop_proof")


async def test_subjects_of_which_no_scope_or_no_run_is_known(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        server, key = made.server, Key()
        plain = await server.plane.identity.mint(workload=AGENT, author=OPERATOR, jkt=key.jkt)
        token = await made.transaction(key)
        subjects = (
            (plain.token, {}),
            (server.svid(), {"subject_token_type": JWT}),
            (server.svid(), {}),
            (token, {}),  # as an access token
            (await made.access(key), {"subject_token_type": TRANSACTION_TOKEN}),
            (
                '{"sub":"x"}',
                {"subject_token_type": "urn:ietf:params:oauth:token-type:unsigned_json"},
            ),
            (
                server.assertion(),
                {"subject_token_type": "urn:ietf:params:oauth:token-type:self_signed"},
            ),
            ("r", {"subject_token_type": "urn:ietf:params:oauth:token-type:refresh_token"}),
            ("x.y.z", {"subject_token_type": TRANSACTION_TOKEN}),
        )
        before = len(await made.issued("transaction-token"))
        for subject, more in subjects:
            answer = await made.ask(subject, key=key, **more)
            assert error_of(answer) == (400, "invalid_request"), more
        assert len(await made.issued("transaction-token")) == before


async def test_a_forged_one_is_replaced(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        token = await made.transaction(Key())
        claims = unverified_claims(token)
        keys = made.server.plane.keys.published()["keys"]
        head = {"alg": "ES256", "typ": "txntoken+jwt"}
        forged = [by_hand({**head, "kid": key["kid"]}, claims, Key()) for key in keys]
        forged.append(by_hand({**head, "jwk": Key().public_jwk}, claims, Key()))
        forged.append(token.rsplit(".", 1)[0] + ".")
        # Signed by Midflight, and with a key of another purpose.
        forged.append(made.server.plane.parts.token_signer.sign({"typ": "txntoken+jwt"}, claims))
        forged.append(made.server.plane.parts.svid_signer.sign({"typ": "txntoken+jwt"}, claims))
        for text in forged:
            assert error_of(await made.replace(text)) == (400, "invalid_request")


REVOKED: dict[str, tuple[Callable[[dict[str, Any]], Scope], str, str]] = {
    # What is revoked, who asks then, and why it is refused: who asks is not revoked where it is
    # what he has that must not go on.
    "run": (lambda c: Scope(kind=ScopeKind.RUN, id=c["txn"]), NEXT, "invalid_request"),
    "token": (lambda c: Scope(kind=ScopeKind.TOKEN, id=c["jti"]), NEXT, "invalid_request"),
    "subject": (lambda _: Scope(kind=ScopeKind.WORKLOAD, id=AGENT), NEXT, "invalid_request"),
    "requester": (lambda _: Scope(kind=ScopeKind.WORKLOAD, id=OTHER), CLIENT, "invalid_request"),
    "client": (lambda _: Scope(kind=ScopeKind.WORKLOAD, id=OTHER), NEXT, "unauthorized_client"),
}


@pytest.mark.parametrize(("scope", "client", "error"), REVOKED.values(), ids=REVOKED)
async def test_going_on_after_a_revocation(
    tmp_path: Path, scope: Callable[[dict[str, Any]], Scope], client: str, error: str
) -> None:
    async with drafts(tmp_path) as made:
        token = await made.transaction(Key())
        token = (await made.replace(token, client=NEXT)).json()["access_token"]
        assert (await made.replace(token, client=client)).status_code == 200
        await made.server.plane.interruption.revoke(
            scope(unverified_claims(token)), reason="test", author=OPERATOR, until=None
        )
        assert error_of(await made.replace(token, client=client)) == (400, error)


async def test_going_on_after_the_run_was_closed(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        token = (await made.ask(access, key=key)).json()["access_token"]
        await made.server.plane.runs.close_run(unverified_claims(token)["txn"], author=OPERATOR)
        assert error_of(await made.ask(access, key=key)) == (400, "invalid_request")
        assert error_of(await made.replace(token)) == (400, "invalid_request")


async def test_a_run_is_revoked_while_its_token_is_made(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        key = Key()
        access = await made.access(key)
        plane = made.server.plane
        run = unverified_claims(access)["txn"]
        made_token = plane.oauth.authorization._exchange._transactions
        signer = made_token._signer

        class Slow:
            async def mint(self, header: Any, claims: Any) -> str:
                await plane.interruption.revoke(
                    Scope(kind=ScopeKind.RUN, id=run), reason="x", author=OPERATOR, until=None
                )
                return await signer.mint(header, claims)

            def public_jwks(self) -> dict[str, Any]:
                return signer.public_jwks()

        made_token._signer = Slow()
        answer = await made.ask(access, key=key)
        assert error_of(answer) == (400, "invalid_request")


async def test_who_was_launched_for_one_run_asks_for_another(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        server, key = made.server, Key()
        mine, other = await server.gateway.open_run(), await server.gateway.open_run()
        minted = await server.plane.identity.mint(
            workload=AGENT, run=other, author=OPERATOR, jkt=key.jkt
        )
        launched = {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
            "client_assertion": server.svid(txn=mine),
        }
        answer = await made.ask(minted.token, key=key, **launched)
        assert error_of(answer) == (400, "unauthorized_client")
        launched["client_assertion"] = server.svid(txn=other)
        assert (await made.ask(minted.token, key=key, **launched)).status_code == 200


async def test_a_chain_without_an_end(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        token = await made.transaction(Key())
        for step, client in enumerate((NEXT, CLIENT, NEXT, CLIENT)):
            answer = await made.replace(token, client=client)
            if step == 3:
                assert error_of(answer) == (400, "invalid_request")
                return
            token = answer.json()["access_token"]


async def test_refusals_are_on_record_and_tokens_are_not(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        token = await made.transaction(Key(), scope="mcp:git")
        assert error_of(await made.replace(token, scope="mcp"))[1] == "invalid_scope"
        await made.server.plane.ledger.flush()
        tail = await made.server.plane.ledger.tail(1_000)
        seen = [f.record for f in tail if isinstance(f.record, Observed)]
        assert any("invalid_scope" in str(record.details.get("why")) for record in seen)
        assert token.split(".")[1] not in str([f.record for f in tail])
