"""The ID token of a person at the token exchange: whose it must be, for whom, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt as pyjwt
import pytest
from draft_kit import error_of
from identity_kit import Key
from login_kit import PERSON, LoginProvider, login_provider
from oauth_kit import (
    ACCESS_TOKEN,
    CLIENT,
    JWT,
    PUBLIC,
    TOKEN_EXCHANGE,
    OAuthServer,
    oauth_server,
)

from gateways import AGENT
from midflight.domain.records import Issued

pytestmark = pytest.mark.anyio

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


@contextlib.asynccontextmanager
async def with_login(
    folder: Path, monkeypatch: pytest.MonkeyPatch, **login: Any
) -> AsyncIterator[tuple[OAuthServer, LoginProvider]]:
    monkeypatch.setenv("LOGIN_SECRET", "only this test has it")
    async with login_provider() as provider:
        settings = {
            "issuer": provider.issuer,
            "client_id": "midflight",
            "client_secret": "env:LOGIN_SECRET",
            **login,
        }
        async with oauth_server(folder, oauth={"login": settings}) as server:
            yield server, provider


async def exchange(server: OAuthServer, token: str, **changes: Any) -> Any:
    form: dict[str, Any] = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": token,
        "subject_token_type": ID_TOKEN,
        **server.authenticated(),
        **changes,
    }
    key = form.pop("key", None) or Key()
    form = {name: value for name, value in form.items() if value is not ...}
    return await server.token(key=key, **form)


async def test_an_honest_one_opens_a_run_by_that_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        key = Key()
        answer = await exchange(server, provider.id_token(), key=key, intent="Sort the issues.")
        assert answer.status_code == 200, answer.text
        token = answer.json()["access_token"]
        claims = pyjwt.decode(token, options={"verify_signature": False})
        # The person acts through the client, as the client's workload.
        assert (claims["sub"], claims["client_id"]) == (AGENT, CLIENT)
        assert claims["cnf"] == {"jkt": key.jkt}
        assert "refresh_token" not in answer.json()
        run = await server.plane.runs.show(claims["txn"])
        assert run.intent == "Sort the issues."
        assert (await server.tools(token, key)).status_code == 200
        await server.plane.ledger.flush()
        tail = await server.plane.ledger.tail(1_000)
        issued = [f.record for f in tail if isinstance(f.record, Issued)]
        (record,) = [r for r in issued if r.what == "access-token"]
        assert record.details["by"] == PERSON
        assert record.proof == f"oauth:oidc:{provider.issuer}"


async def test_a_copy_is_exchanged_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        token = provider.id_token()
        answers = await asyncio.gather(*(exchange(server, token) for _ in range(5)))
        assert sorted(answer.status_code for answer in answers) == [200] + [400] * 4
        assert error_of(await exchange(server, token)) == (400, "invalid_request")
        # One without an id is known by what is signed.
        without = provider.id_token(jti=...)
        assert (await exchange(server, without)).status_code == 200
        assert error_of(await exchange(server, without)) == (400, "invalid_request")
        assert len(await server.plane.runs.list_runs()) == 2


BENT: dict[str, dict[str, Any]] = {
    "for another client": {"aud": "somebody-else"},
    "for the authorization server": {"aud": "ISSUER"},
    "for others, too": {"aud": ["midflight", "somebody-else"]},
    "for nobody": {"aud": ...},
    "given to another client": {"azp": "somebody-else"},
    "of another issuer": {"iss": "https://elsewhere.example"},
    "of this server": {"iss": "ISSUER"},
    "of nobody": {"iss": ...},
    "expired": {"exp": -31},
    "without an end": {"exp": ...},
    "with an end in words": {"exp": "later"},
    "for two days": {"exp": 2 * 86_400},
    "issued long ago": {"iat": -700},
    "issued in the future": {"iat": 120},
    "without a beginning": {"iat": ...},
    "without a person": {"sub": ...},
    "with a person of no name": {"sub": ""},
    "with a name that is too long": {"sub": "x" * 257},
    "with the name of a workload": {"sub": AGENT},
    "with the name of a workload in capitals": {"sub": AGENT.upper()},
    "with the name of a person of another issuer": {"sub": "https://login.example.test#u-7311"},
    "with such a name in capitals": {"sub": "HTTPS://login.example.test#u-7311"},
}


async def test_one_that_is_not_what_it_has_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        now = int(time.time())
        for case, changes in BENT.items():
            claims = {
                name: now + value
                if isinstance(value, int)
                else (server.issuer if value == "ISSUER" else value)
                for name, value in changes.items()
            }
            answer = await exchange(server, provider.id_token(**claims))
            assert answer.status_code in {400, 401}, case
            assert "access_token" not in answer.text
        assert await server.plane.runs.list_runs() == []
        assert (await exchange(server, provider.id_token())).status_code == 200


async def test_one_that_somebody_else_signed_or_that_is_of_another_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        other = Key()
        head, payload, _ = provider.id_token().split(".")
        for token in (
            provider.id_token(key=other),
            provider.id_token(key=other, header={"jwk": other.public_jwk}),
            provider.id_token(header={"jku": "https://evil.example/keys"}),
            provider.id_token(header={"kid": "p2"}),
            provider.id_token(header={"typ": "at+jwt"}),
            provider.id_token(header={"typ": "oauth-id-jag+jwt"}),
            provider.id_token(header={"typ": "logout+jwt"}),
            f"{head}.{payload}.",
            "x.y.z",
        ):
            answer = await exchange(server, token)
            assert error_of(answer) == (400, "invalid_request")
        # Nor is one taken under another name, though everything else about it holds.
        for kind in (JWT, ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:id-jag"):
            answer = await exchange(server, provider.id_token(), subject_token_type=kind)
            assert answer.status_code in {400, 401}, kind
        assert await server.plane.runs.list_runs() == []


async def test_a_client_that_proves_nothing_or_has_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        nobody: dict[str, Any] = {"client_assertion": ..., "client_assertion_type": ...}
        for more in (nobody, {**nobody, "client_id": PUBLIC}, {**nobody, "client_id": CLIENT}):
            token = provider.id_token()
            assert error_of(await exchange(server, token, **more)) == (401, "invalid_client")
        form = {
            **server.authenticated(),
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": provider.id_token(),
            "subject_token_type": ID_TOKEN,
        }
        assert error_of(await server.token(**form)) == (400, "invalid_request")
        assert await server.plane.runs.list_runs() == []


async def test_an_address_that_nobody_has_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch, claim="email") as (server, provider):
        for claims in (
            {},
            {"email": "olivia@example.org"},
            {"email": "olivia@example.org", "email_verified": "true"},
            {"email": "olivia@example.org", "email_verified": False},
            {"email": "a" * 257, "email_verified": True},
        ):
            answer = await exchange(server, provider.id_token(**claims))
            assert error_of(answer) == (400, "invalid_request"), claims
        good = provider.id_token(email="olivia@example.org", email_verified=True)
        assert (await exchange(server, good)).status_code == 200


async def test_a_name_that_is_a_workloads_or_of_another_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        for name in (
            "spiffe://midflight.internal/agents/one",
            "SPIFFE://midflight.internal/agents/one",
            "https://login.example.org#olivia",
        ):
            answer = await exchange(server, provider.id_token(sub=name))
            assert error_of(answer) == (400, "invalid_request"), name
        assert await server.plane.runs.list_runs() == []
        for name in ("https://people.example.org/olivia", "olivia#1"):
            assert (await exchange(server, provider.id_token(sub=name))).status_code == 200


async def test_made_up_keys_do_not_flood_the_provider(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_login(tmp_path, monkeypatch) as (server, provider):
        for n in range(5):
            await exchange(server, provider.id_token(header={"kid": f"made-up-{n}"}))
        assert provider.asked.count("/keys") == 1
