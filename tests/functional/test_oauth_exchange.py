"""Token exchange through the endpoint: runs, child runs, actors, and what a scope leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from identity_kit import Key
from oauth_kit import (
    ACCESS_TOKEN,
    JWT,
    OTHER,
    TOKEN_EXCHANGE,
    OAuthServer,
    oauth_server,
)

from gateways import AGENT, OPERATOR
from midflight.domain.identity import Caller
from midflight.domain.records import Issued
from midflight.services.guard import Refused
from midflight.testing import ListSink, call
from servers.sdk_server import over_http

pytestmark = pytest.mark.anyio


def claims_of(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    token = answer.json()["access_token"]
    return pyjwt.decode(token, options={"verify_signature": False})


async def again(server: OAuthServer, key: Key, token: str, **form: str) -> Any:
    return await server.token(
        key=key,
        grant_type=TOKEN_EXCHANGE,
        subject_token=token,
        subject_token_type=ACCESS_TOKEN,
        **form,
    )


async def test_an_svid_opens_a_run_and_its_token_narrows_within_it(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        first = await server.exchanged(key)
        parent = pyjwt.decode(first["access_token"], options={"verify_signature": False})
        assert first["issued_token_type"] == ACCESS_TOKEN
        assert parent["cnf"] == {"jkt": key.jkt}
        assert (parent["sub"], parent["client_id"], parent["scope"]) == (AGENT, AGENT, "mcp")
        assert "act" not in parent
        run = await server.plane.runs.show(parent["txn"])
        assert run.intent is None
        less = claims_of(await again(server, key, first["access_token"], scope="mcp:git"))
        assert (less["txn"], less["scope"]) == (parent["txn"], "mcp:git")
        assert less["exp"] <= parent["exp"]
        await server.plane.ledger.flush()
        tail = await server.plane.ledger.tail(1_000)
        issued = [f.record for f in tail if isinstance(f.record, Issued)]
        kept = [r for r in issued if r.what == "access-token"]
        assert [r.id for r in kept] == [parent["jti"], less["jti"]]
        assert [r.proof for r in kept] == ["oauth:jwt-svid", "oauth:access-token"]


async def test_a_client_that_acts_for_another_workload_is_named_in_the_chain(
    tmp_path: Path,
) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        answer = await server.token(
            key=key,
            **server.authenticated(
                grant_type=TOKEN_EXCHANGE,
                subject_token=server.svid(OTHER),
                subject_token_type=JWT,
                intent="Sort the issues.",
            ),
        )
        claims = claims_of(answer)
        assert (claims["sub"], claims["act"]) == (OTHER, {"sub": AGENT})
        assert (await server.plane.runs.show(claims["txn"])).intent == "Sort the issues."
        token = answer.json()["access_token"]
        assert (await server.tools(token, key)).status_code == 200
        deeper = claims_of(
            await server.token(
                key=key,
                **server.authenticated(
                    grant_type=TOKEN_EXCHANGE,
                    subject_token=token,
                    subject_token_type=ACCESS_TOKEN,
                ),
            )
        )
        assert deeper["act"] == {"sub": AGENT, "act": {"sub": AGENT}}


async def with_intent(server: OAuthServer, key: Key) -> dict[str, Any]:
    """A token of a run that has an intent, opened by an operator."""
    run = await server.gateway.open_run()
    minted = await server.plane.identity.mint(workload=AGENT, run=run, author=OPERATOR, jkt=key.jkt)
    return {"token": minted.token, "run": run}


async def test_a_task_makes_a_child_run_with_less(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        parent = await with_intent(server, key)
        child = claims_of(
            await again(server, key, parent["token"], task="Read the log.", scope="mcp:git")
        )
        assert child["txn"] != parent["run"]
        run = await server.plane.runs.show(child["txn"])
        assert (run.parent, run.narrowed.only) == (parent["run"], frozenset({"git"}))
        await server.plane.runs.close_run(parent["run"], author=OPERATOR)
        seen = await server.post("/oauth/introspect", server.authenticated(token="x"))
        assert seen.json() == {"active": False}
        over = (await server.plane.runs.show(child["txn"])).state.value
        assert over == "closed"


async def test_a_run_is_handed_to_another_workload_bound_to_its_key(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, theirs = Key(), Key()
        parent = await with_intent(server, key)
        answer = await again(
            server,
            key,
            parent["token"],
            task="Read the log.",
            actor_token=server.svid(OTHER),
            actor_token_type=JWT,
            dpop_jkt=theirs.jkt,
        )
        claims = claims_of(answer)
        assert (claims["sub"], claims["cnf"]) == (OTHER, {"jkt": theirs.jkt})
        assert (await server.plane.runs.show(claims["txn"])).parent == parent["run"]
        token = answer.json()["access_token"]
        assert (await server.tools(token, key)).status_code == 401
        assert (await server.tools(token, theirs)).status_code == 200


async def test_a_scope_hides_tools_and_refuses_them(tmp_path: Path) -> None:
    async with over_http() as url:
        upstreams = (
            {"name": "one", "url": url, "reach": "closed"},
            {"name": "two", "url": url, "reach": "closed"},
        )
        async with oauth_server(tmp_path, upstreams=upstreams) as server:
            await server.gateway.pin_all()
            key = Key()
            whole = (await server.exchanged(key))["access_token"]
            every = (await server.tools(whole, key)).json()["result"]["tools"]
            tool = next(
                t.name
                for t in server.plane.catalogue.listing()
                if t.upstream == "one" and t.kind.value == "tool"
            )
            half = (await server.exchanged(key, scope="mcp:one"))["access_token"]
            shown = (await server.tools(half, key)).json()["result"]["tools"]
            assert 0 < len(shown) == len(every) // 2
            single = (await server.exchanged(key, scope=f"mcp:one/{tool}"))["access_token"]
            assert len((await server.tools(single, key)).json()["result"]["tools"]) == 1
            for scope, upstream in ((("mcp:one",), "two"), ((f"mcp:two/{tool}",), "one")):
                caller = Caller(
                    workload=AGENT,
                    run=None,
                    token="tok",
                    proof="dpop",
                    expires_at=2**33,
                    scope=scope,
                )
                done = await server.plane.guard.perform(
                    call(tool, upstream=upstream), caller, sink=ListSink()
                )
                assert isinstance(done, Refused)
                assert done.decision.code == "scope"


async def test_who_was_launched_for_a_run_gets_tokens_of_that_run_alone(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        run, other = await server.gateway.open_run(), await server.gateway.open_run()

        async def exchanged(**form: str) -> Any:
            return await server.token(
                key=key, grant_type=TOKEN_EXCHANGE, subject_token_type=JWT, **form
            )

        assert claims_of(await exchanged(subject_token=server.svid(txn=run)))["txn"] == run
        reworded = await exchanged(subject_token=server.svid(txn=run), intent="Another.")
        assert reworded.json()["error"] == "unauthorized_client"
        beside = await exchanged(
            subject_token=server.svid(txn=other),
            client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
            client_assertion=server.svid(txn=run),
        )
        assert beside.json()["error"] == "unauthorized_client"
        await server.plane.runs.close_run(run, author=OPERATOR)
        over = await exchanged(subject_token=server.svid(txn=run))
        assert over.json()["error"] == "invalid_grant"
