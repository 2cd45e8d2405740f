"""Attacks on the token endpoint: assertions, exchange, binding, forms, and what a token may do."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from identity_kit import Key, by_hand
from oauth_kit import (
    ACCESS_TOKEN,
    ASSERTION,
    CLIENT,
    JWT,
    OTHER,
    TOKEN_EXCHANGE,
    OAuthServer,
    oauth_server,
)

from gateways import AGENT, OPERATOR
from midflight.domain.authorization import Client
from midflight.domain.records import Observed
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio


def error_of(answer: Any) -> tuple[int, str]:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error", "error_description"}
    assert "Traceback" not in answer.text
    return answer.status_code, answer.json()["error"]


async def credentials(server: OAuthServer, assertion: str, **form: str) -> Any:
    return await server.token(
        grant_type="client_credentials",
        client_assertion_type=ASSERTION,
        client_assertion=assertion,
        **form,
    )


async def test_a_client_assertion_is_replayed(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        assertion = server.assertion()
        assert (await credentials(server, assertion)).status_code == 200
        assert error_of(await credentials(server, assertion)) == (401, "invalid_client")


FOREIGN = [
    {"aud": "https://other.example"},
    {"aud": "TOKEN_URL"},  # audience injection: what a client makes for another server's URL
    {"aud": ["ISSUER", "https://other.example"]},
    {"aud": []},
    {"iss": "somebody"},
    {"sub": "somebody"},
    {"exp": 1},
    {"exp": "soon"},
    {"exp": ...},
    {"exp": 99_999_999_999},
    {"nbf": 99_999_999_999},
    {"jti": ...},
    {"jti": ""},
]


async def test_a_client_assertion_for_somebody_or_something_else(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        names = {"TOKEN_URL": server.token_url, "ISSUER": server.issuer}
        for claims in FOREIGN:
            said: dict[str, Any] = {}
            for name, value in claims.items():
                if isinstance(value, list):
                    said[name] = [names.get(each, each) for each in value]
                else:
                    said[name] = names.get(value, value) if isinstance(value, str) else value
            answer = await credentials(server, server.assertion(**said))
            assert error_of(answer) == (401, "invalid_client"), claims


async def test_a_client_assertion_signed_by_nobody_or_another_key(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        other = Key()
        good = server.assertion()
        head, payload, _ = good.split(".")
        none = by_hand({"alg": "none"}, {"sub": CLIENT}, other).rsplit(".", 1)[0] + "."
        embedded = by_hand(
            {"alg": "ES256", "kid": "k1", "jwk": other.public_jwk}, {"sub": CLIENT}, other
        )
        for forged in (
            server.assertion(key=other),
            none,
            embedded,
            f"{head}.{payload}.",
            f"{head}.{payload}.AAAA",
            "x.y.z",
            "a" * 10_000,
        ):
            assert error_of(await credentials(server, forged)) == (401, "invalid_client")


async def test_credentials_of_the_wrong_kind(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        basic = await server.post(
            "/oauth/token",
            {"grant_type": "client_credentials"},
            headers={"authorization": "Basic YTpi"},
        )
        assert error_of(basic) == (401, "invalid_client")
        assert "www-authenticate" in basic.headers
        for form in (
            {"client_id": CLIENT},
            {"client_id": "editor"},
            {"client_id": "nobody"},
            {"client_id": CLIENT, "client_secret": "x"},
            {},
        ):
            answer = await server.token(grant_type="client_credentials", **form)
            assert error_of(answer) == (401, "invalid_client")


async def test_parameters_that_are_there_twice_or_in_another_form(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        url = server.token_url
        form = {"content-type": "application/x-www-form-urlencoded"}
        twice = b"grant_type=client_credentials&grant_type=client_credentials"
        answers = [
            await server.http.post(url, content=twice, headers=form),
            await server.http.post(url, content=b"resource=a&resource=b", headers=form),
            await server.http.post(url, content=b"grant_type=%zz", headers=form),
            await server.http.post(url, content=b"grant_type=%ff", headers=form),
            await server.http.post(url, content=b"grant_type=\xff", headers=form),
            await server.http.post(url, content=b"a=%00", headers=form),
            await server.http.post(
                url, content=b"&".join(b"a%d=1" % i for i in range(50)), headers=form
            ),
            await server.http.post(
                f"{url}?grant_type=client_credentials", content=b"", headers=form
            ),
            await server.http.get(url),
        ]
        for answer in answers:
            assert error_of(answer) == (400, "invalid_request"), answer.text
        huge = await server.http.post(url, content=b"a=" + b"x" * 100_000, headers=form)
        assert error_of(huge) == (413, "invalid_request")
        for kind in ("application/json", "text/plain", "multipart/form-data; boundary=x"):
            answer = await server.http.post(
                url, content=b'{"grant_type":"client_credentials"}', headers={"content-type": kind}
            )
            assert error_of(answer) == (415, "invalid_request")


async def test_an_exchange_without_a_key(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        answer = await server.token(
            grant_type=TOKEN_EXCHANGE, subject_token=server.svid(), subject_token_type=JWT
        )
        assert error_of(answer) == (400, "invalid_request")


async def test_a_stolen_token_is_exchanged_for_the_thiefs_key(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, thief = Key(), Key()
        stolen = (await server.exchanged(key))["access_token"]
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": stolen,
            "subject_token_type": ACCESS_TOKEN,
        }
        assert error_of(await server.token(key=thief, **form)) == (400, "invalid_dpop_proof")
        # Nor with the word of the thief as an authenticated client.
        as_client = server.authenticated(**form)
        assert error_of(await server.token(key=thief, **as_client)) == (400, "invalid_dpop_proof")
        assert (await server.token(key=key, **form)).status_code == 200


async def test_the_binding_is_stripped(tmp_path: Path) -> None:
    """A bound token as a bearer token, and one with another key's proof."""
    async with oauth_server(tmp_path) as server:
        key = Key()
        token = (await server.exchanged(key))["access_token"]
        bearer = await server.http.post(
            server.resource, json={}, headers={"authorization": f"Bearer {token}"}
        )
        assert bearer.status_code == 401
        assert (await server.tools(token, Key())).status_code == 401
        assert (await server.tools(token, key)).status_code == 200


async def test_a_key_proof_is_replayed_or_for_another_place(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        proof = server.proof(key)
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": JWT}

        async def attempt(one: str, svid: str) -> Any:
            return await server.post("/oauth/token", {**form, "subject_token": svid}, proof=one)

        assert (await attempt(proof, server.svid())).status_code == 200
        for bad in (
            proof,
            server.proof(key, server.resource),
            server.proof(key, htm="GET"),
            server.proof(key, iat=int(time.time()) - 600),
            "x.y.z",
        ):
            assert error_of(await attempt(bad, server.svid())) == (400, "invalid_dpop_proof")


async def test_scope_is_widened(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        await server.plane.oauth.clients.add(
            Client(
                id=CLIENT,
                workload=AGENT,
                name="Build bot",
                keys=({**server.key.public_jwk, "kid": "k1"},),
                scope=("effect:read", "mcp:git"),
            ),
            OPERATOR,
        )
        for scope in (
            "mcp",
            "mcp:git",
            "mcp:mail effect:read",
            "effect:read",
            "admin",
            "mcp:git  ",
        ):
            answer = await server.token(
                key=key,
                **server.authenticated(
                    grant_type=TOKEN_EXCHANGE,
                    subject_token=server.svid(),
                    subject_token_type=JWT,
                    scope=scope,
                ),
            )
            assert error_of(answer) == (400, "invalid_scope"), scope
            answer = await server.token(
                **server.authenticated(grant_type="client_credentials", scope=scope)
            )
            assert error_of(answer) == (400, "invalid_scope"), scope
        narrow = (await server.exchanged(key, scope="mcp:git/git_log effect:read"))["access_token"]
        for scope in ("mcp", "mcp:git effect:read", "mcp:git/git_log", "mcp:git/push effect:read"):
            answer = await server.token(
                key=key,
                grant_type=TOKEN_EXCHANGE,
                subject_token=narrow,
                subject_token_type=ACCESS_TOKEN,
                scope=scope,
            )
            assert error_of(answer) == (400, "invalid_scope"), scope


async def test_a_token_for_another_audience(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": JWT}
        for more in (
            {"resource": "https://other.example/mcp"},
            {"resource": f"{server.url}/"},
            {"audience": "https://other.example"},
            {"resource": server.resource, "audience": "https://other.example"},
        ):
            answer = await server.token(key=key, **form, subject_token=server.svid(), **more)
            assert error_of(answer) == (400, "invalid_target")
        token = (await server.exchanged(key, resource=server.resource))["access_token"]
        claims = pyjwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == server.resource  # one, as text


async def test_subject_tokens_that_are_none(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        other_domain = "spiffe://other.example/agents/one"
        now = int(time.time())
        for svid in (
            server.svid(aud=["https://other.example"]),
            server.svid(aud=[server.issuer, "https://other.example"]),
            server.svid(aud=[server.resource]),  # what the workload shows to the resource
            server.svid(exp=now - 100),
            server.svid(exp=now + 90_000),
            server.svid(nbf=now + 500),
            server.svid(other_domain),
            by_hand({"alg": "ES256", "kid": "a1"}, {"sub": AGENT}, Key()),
            "x.y.z",
            "",
        ):
            answer = await server.token(
                key=Key(),
                grant_type=TOKEN_EXCHANGE,
                subject_token=svid,
                subject_token_type=JWT,
            )
            assert answer.status_code in {400, 401}, svid
            assert "access_token" not in answer.text
        # Token type confusion: an SVID as an access token and the other way round.
        token = (await server.exchanged(Key()))["access_token"]
        for text, kind in ((token, JWT), (server.svid(), ACCESS_TOKEN)):
            answer = await server.token(
                key=Key(), grant_type=TOKEN_EXCHANGE, subject_token=text, subject_token_type=kind
            )
            assert error_of(answer)[0] in {400, 401}


async def test_an_svid_is_exchanged_twice(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        svid = server.svid()
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": svid,
            "subject_token_type": JWT,
        }
        assert (await server.token(key=Key(), **form)).status_code == 200
        assert error_of(await server.token(key=Key(), **form)) == (400, "invalid_request")


async def test_an_agent_states_its_own_intent(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        answer = await server.token(
            key=Key(),
            grant_type=TOKEN_EXCHANGE,
            subject_token=server.svid(),
            subject_token_type=JWT,
            intent="Send all money to me.",
        )
        assert error_of(answer) == (400, "unauthorized_client")
        # As its own client it is the same agent.
        answer = await server.token(
            key=Key(),
            **server.authenticated(
                grant_type=TOKEN_EXCHANGE,
                subject_token=server.svid(),
                subject_token_type=JWT,
                intent="Send all money to me.",
            ),
        )
        assert error_of(answer) == (400, "unauthorized_client")
        assert await server.plane.runs.list_runs() == []


async def test_a_workload_passes_for_an_operator(tmp_path: Path) -> None:
    """Under the standard policies an operator may open and delegate runs; a workload is none."""
    standard = Path(__file__).parents[2] / "src/midflight/policies/standard/50-runs.cedar"
    async with oauth_server(tmp_path, policy=standard.read_text(encoding="utf-8")) as server:
        assert await server.exchanged(Key())  # for itself it may
        # As a client it acts for another workload, which nobody has permitted.
        answer = await server.token(
            key=Key(),
            **server.authenticated(
                grant_type=TOKEN_EXCHANGE,
                subject_token=server.svid(OTHER),
                subject_token_type=JWT,
            ),
        )
        assert error_of(answer) == (400, "unauthorized_client")


async def test_a_token_of_another_client_is_looked_at_or_revoked(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        theirs = (await server.exchanged(key, OTHER))["access_token"]
        seen = await server.post("/oauth/introspect", server.authenticated(token=theirs))
        assert seen.json() == {"active": False}
        answer = await server.post("/oauth/revoke", server.authenticated(token=theirs))
        assert error_of(answer) == (400, "invalid_grant")
        assert (await server.tools(theirs, key)).status_code == 200
        for path in ("/oauth/introspect", "/oauth/revoke"):
            answer = await server.post(path, {"token": theirs})
            assert error_of(answer) == (401, "invalid_client")
        garbage = await server.post("/oauth/revoke", server.authenticated(token="garbage"))
        assert garbage.status_code == 200


@pytest.mark.parametrize("kind", ["run", "workload", "owner", "token", "everything"])
async def test_what_is_revoked_is_not_active_in_the_same_moment(tmp_path: Path, kind: str) -> None:
    async with oauth_server(tmp_path) as server:
        key = Key()
        token = (await server.exchanged(key))["access_token"]
        claims = pyjwt.decode(token, options={"verify_signature": False})
        before = await server.post("/oauth/introspect", server.authenticated(token=token))
        assert before.json()["active"] is True
        names = {
            "run": claims["txn"],
            "workload": AGENT,
            "owner": "team-one",
            "token": claims["jti"],
            "everything": "",
        }
        await server.plane.interruption.revoke(
            Scope(kind=ScopeKind(kind), id=names[kind]), reason="test", author=OPERATOR
        )
        after = await server.post("/oauth/introspect", server.authenticated(token=token))
        assert after.json() == {"active": False}
        answer = await server.token(
            key=key,
            grant_type=TOKEN_EXCHANGE,
            subject_token=token,
            subject_token_type=ACCESS_TOKEN,
        )
        assert error_of(answer)[0] == 400


async def test_refusals_are_on_record_without_what_was_presented(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        marker = "planted-marker-7261"
        await server.token(
            grant_type=marker,
            client_assertion=marker,
            client_assertion_type=marker,
            subject_token=marker,
        )
        await credentials(server, marker)
        await server.token(
            key=Key(), grant_type=TOKEN_EXCHANGE, subject_token=marker, subject_token_type=JWT
        )
        await server.plane.ledger.flush()
        tail = await server.plane.ledger.tail(10_000)
        seen = [f.record for f in tail if isinstance(f.record, Observed)]
        assert any("oauth" in str(r.details.get("why")) for r in seen)
        assert marker not in str([f.record for f in tail])
