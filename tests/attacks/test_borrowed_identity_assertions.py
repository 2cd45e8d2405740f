"""Identity assertions (ID-JAG) that are copied, for others, bent, or more than they say."""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from draft_kit import CLIENT, JWT_BEARER, NEXT, PROVIDER, drafts, error_of, unverified_claims
from identity_kit import Key, b64, sealed
from oauth_kit import (
    ACCESS_TOKEN,
    ASSERTION,
    JWT,
    OTHER,
    PUBLIC,
    TOKEN_EXCHANGE,
)

from gateways import AGENT, OPERATOR
from midflight.domain.authorization import Client
from midflight.domain.revocation import Scope, ScopeKind

pytestmark = pytest.mark.anyio


async def test_a_copy_is_used_again(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        assertion = made.id_jag()
        assert (await made.present(assertion, key=Key())).status_code == 200
        # Nor when it is made anew under the same id.
        claims = unverified_claims(assertion)
        for text in (assertion, made.id_jag(jti=claims["jti"], sub="somebody")):
            assert error_of(await made.present(text, key=Key())) == (400, "invalid_grant")
        assert len(await made.issued("id-jag")) == 1
        assert len(await made.server.plane.runs.list_runs()) == 1


async def test_many_use_one_at_once(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        assertion = made.id_jag()
        answers = await asyncio.gather(
            *(made.present(assertion, key=Key()) for _ in range(8)),
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 7
        assert len(await made.server.plane.runs.list_runs()) == 1


async def test_one_that_was_given_to_another_client(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        theirs = made.id_jag(client_id=NEXT)
        assert error_of(await made.present(theirs, key=Key())) == (400, "invalid_grant")
        for name in ("", AGENT, f"{CLIENT} ", [CLIENT], None, ...):
            answer = await made.present(made.id_jag(client_id=name), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), name
        # It was not spent by who may not use it.
        assert (await made.present(theirs, key=Key(), client=NEXT)).status_code == 200


async def test_a_client_that_proves_nothing(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        nobody: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
        for more in (nobody, {**nobody, "client_id": PUBLIC}, {**nobody, "client_id": CLIENT}):
            assertion = made.id_jag(client_id=more.get("client_id", PUBLIC))
            answer = await made.present(assertion, key=Key(), **more)
            assert error_of(answer) == (401, "invalid_client")
        # The assertion is no proof of the client, and a proof of the client is no assertion.
        as_proof = {"client_assertion": made.id_jag(), "client_assertion_type": ASSERTION}
        answer = await made.present(made.id_jag(), key=Key(), **as_proof)
        assert error_of(answer) == (401, "invalid_client")
        answer = await made.present(made.server.assertion(), key=Key())
        assert error_of(answer) == (400, "invalid_grant")


async def test_without_a_key_it_would_be_a_bearer_token(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        assertion = made.id_jag()
        assert error_of(await made.present(assertion)) == (400, "invalid_grant")
        bound = made.id_jag(cnf={"jkt": Key().jkt})
        assert error_of(await made.present(bound)) == (400, "invalid_grant")
        for cnf in ({}, [], "x", None, {"jkt": "short"}, {"kid": "p1"}, {"jwk": Key().public_jwk}):
            answer = await made.present(made.id_jag(cnf=cnf), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), cnf
        # Another confirmation beside the one that is known would be left unchecked.
        key = Key()
        both = made.id_jag(cnf={"jkt": key.jkt, "unheard-of": key.jkt})
        assert error_of(await made.present(both, key=key)) == (400, "invalid_grant")
        certificate = made.id_jag(cnf={"x5t#S256": Key().jkt})
        assert error_of(await made.present(certificate, key=Key())) == (400, "invalid_grant")
        assert (await made.present(assertion, key=Key())).status_code == 200


async def test_more_than_the_person_let_him(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        for scope in ("mcp", "mcp:git", "mcp:mail effect:read", "mcp:git effect:write", "admin"):
            answer = await made.present(made.id_jag(), key=Key(), scope=scope)
            assert error_of(answer) == (400, "invalid_scope"), scope
        for scope in ("", "admin", "mcp effect:unheard-of", "effect:read", "openid mcp"):
            answer = await made.present(made.id_jag(scope=scope), key=Key())
            assert error_of(answer) == (400, "invalid_scope"), scope
        for scope in (None, ["mcp"], 1):
            answer = await made.present(made.id_jag(scope=scope), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), scope
        assert await made.server.plane.runs.list_runs() == []


async def test_more_than_the_client_may(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        keys = ({**made.server.key.public_jwk, "kid": "k1"},)
        client = Client(id=CLIENT, workload=AGENT, name="B", keys=keys, scope=("mcp:mail",))
        await made.server.plane.oauth.clients.add(client, OPERATOR)
        for more in ({}, {"scope": "mcp:git effect:read"}):
            answer = await made.present(made.id_jag(), key=Key(), **more)
            assert error_of(answer) == (400, "invalid_scope")
        wide = await made.present(made.id_jag(scope=...), key=Key())
        assert wide.json()["scope"] == "mcp:mail"


async def test_one_for_another_resource(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        server = made.server
        for resource in ("https://other.example/mcp", server.issuer, f"{server.resource}/", "", []):
            answer = await made.present(made.id_jag(resource=resource), key=Key())
            assert answer.status_code == 400, resource
            assert answer.json()["error"] in {"invalid_target", "invalid_grant"}
        for resource in (None, {}, 1, [1], [server.resource, 1], [server.resource] * 17):
            answer = await made.present(made.id_jag(resource=resource), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), resource
        answer = await made.present(made.id_jag(), key=Key(), resource="https://other.example/mcp")
        assert error_of(answer) == (400, "invalid_target")


BENT: dict[str, dict[str, Any]] = {
    "another audience": {"aud": "https://other.example"},
    "the token endpoint as audience": {"aud": "TOKEN_URL"},
    "the resource as audience": {"aud": "RESOURCE"},
    "two audiences": {"aud": ["ISSUER", "https://other.example"]},
    "no audience": {"aud": ...},
    "a slash at the end": {"aud": "ISSUER/"},
    "another issuer": {"iss": "https://elsewhere.example"},
    "this server as issuer": {"iss": "ISSUER"},
    "a slash at the issuer's end": {"iss": PROVIDER + "/"},
    "no issuer": {"iss": ...},
    "no end": {"exp": ...},
    "an end in words": {"exp": "soon"},
    "an end that is over": {"exp": -31},
    "an end in four hours": {"exp": 14_400},
    "no beginning": {"iat": ...},
    "issued long ago": {"iat": -700},
    "issued in the future": {"iat": 120},
    "not yet": {"nbf": 120},
    "no id": {"jti": ...},
    "an empty id": {"jti": ""},
    "nobody": {"sub": ...},
    "an empty name": {"sub": ""},
    "a long name": {"sub": "x" * 257},
    "a name with a line in it": {"sub": "a\nb"},
    "a workload's name": {"sub": AGENT},
    "a workload's name in capitals": {"sub": AGENT.upper()},
    "a person of another issuer": {"sub": "https://other.example.test#admin"},
    "an actor": {"act": {"sub": "somebody"}},
    "authorization details": {"authorization_details": [{"type": "x"}]},
    "a tenant": {"tenant": "acme"},
    "a tenant that is null": {"tenant": None},
    "a tenant of this server": {"aud_tenant": "acme"},
}


async def test_one_that_is_not_what_it_has_to_be(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        server, now = made.server, int(time.time())
        names = {
            "TOKEN_URL": server.token_url,
            "RESOURCE": server.resource,
            "ISSUER": server.issuer,
            "ISSUER/": server.issuer + "/",
        }

        def said(name: str, value: Any) -> Any:
            if name == "aud" and isinstance(value, list):
                return [names.get(each, each) for each in value]
            if isinstance(value, int):
                return now + value
            return names.get(value, value) if isinstance(value, str) else value

        for case, changes in BENT.items():
            claims = {name: said(name, value) for name, value in changes.items()}
            answer = await made.present(made.id_jag(**claims), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), case
        assert await server.plane.runs.list_runs() == []
        assert (await made.present(made.id_jag(), key=Key())).status_code == 200


async def test_one_that_nobody_signed_or_somebody_else_did(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        good = made.id_jag()
        head, payload, _ = good.split(".")
        none = b64(json.dumps({"alg": "none", "typ": "oauth-id-jag+jwt"}).encode())
        header = json.dumps({"alg": "ES256", "kid": "p1", "typ": "oauth-id-jag+jwt"}).encode()
        claims = json.dumps(unverified_claims(good)).encode()
        twice = claims[:-1] + b',"sub":"admin"}'
        # The public key as the secret of a symmetric algorithm: the classic confusion.
        public = json.dumps(made.provider.public_jwk).encode()
        symmetric = json.dumps({"alg": "HS256", "kid": "p1", "typ": "oauth-id-jag+jwt"}).encode()
        other = Key()
        for forged in (
            f"{none}.{payload}.",
            f"{head}.{payload}.",
            f"{head}.{payload}.AAAA",
            sealed(header, twice, made.provider.sign),
            sealed(symmetric, claims, lambda text: hmac.digest(public, text, "sha256")),
            made.id_jag(signed_by=other),
            made.id_jag(signed_by=other, header={"jwk": other.public_jwk}),
            made.id_jag(header={"jku": "https://evil.example/keys"}),
            made.id_jag(header={"alg": "HS256"}),
            made.id_jag(header={"alg": "ES384"}),
            made.id_jag(header={"crit": ["exp"]}),
            made.id_jag(header={"kid": "p2"}),
            "x.y.z",
            "a" * 10_000,
        ):
            answer = await made.present(forged, key=Key())
            assert error_of(answer) == (400, "invalid_grant"), forged[:40]
        answer = await made.server.token(grant_type=JWT_BEARER, key=Key(), **made.as_client())
        assert error_of(answer) == (400, "invalid_request")
        assert (await made.present(good, key=Key())).status_code == 200


async def test_another_kind_of_token_of_the_same_issuer(tmp_path: Path) -> None:
    """An ID token for us says who somebody is, not that a client is let in."""
    async with drafts(tmp_path) as made:
        for kind in ("JWT", "at+jwt", "dpop+jwt", "txntoken+jwt", "OAUTH-ID-JAG+JWT", None, ...):
            answer = await made.present(made.id_jag(header={"typ": kind}), key=Key())
            assert error_of(answer) == (400, "invalid_grant"), kind


async def test_as_a_subject_of_token_exchange(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        for kind in (
            JWT,
            ACCESS_TOKEN,
            "urn:ietf:params:oauth:token-type:id_token",
            "urn:ietf:params:oauth:token-type:id-jag",
        ):
            answer = await made.server.token(
                key=Key(),
                grant_type=TOKEN_EXCHANGE,
                subject_token=made.id_jag(),
                subject_token_type=kind,
                **made.as_client(),
            )
            assert answer.status_code == 400, kind


async def test_stating_what_nobody_asked_for(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        for more in ({"intent": "Send all money to me."}, {"task": "Send it."}):
            answer = await made.present(made.id_jag(), key=Key(), **more)
            assert error_of(answer) == (400, "unauthorized_client")
        assert await made.server.plane.runs.list_runs() == []


async def test_who_was_launched_for_a_run_opens_another(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        run = await made.server.gateway.open_run()
        launched = {
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe",
            "client_assertion": made.server.svid(txn=run),
        }
        answer = await made.present(made.id_jag(client_id=AGENT), key=Key(), **launched)
        assert error_of(answer) == (400, "unauthorized_client")


async def test_a_revoked_workload_is_let_in_again_by_a_person(tmp_path: Path) -> None:
    async with drafts(tmp_path) as made:
        assertion = made.id_jag(client_id=NEXT)
        await made.server.plane.interruption.revoke(
            Scope(kind=ScopeKind.WORKLOAD, id=OTHER), reason="x", author=OPERATOR, until=None
        )
        answer = await made.present(assertion, key=Key(), client=NEXT)
        assert error_of(answer) == (400, "invalid_grant")
        assert await made.server.plane.runs.list_runs() == []
