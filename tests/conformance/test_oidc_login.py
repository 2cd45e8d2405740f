"""People log in at an OpenID provider that others wrote (npm `oidc-provider`)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, urlencode, urljoin, urlsplit

import httpx2
import pytest
from identity_kit import Key
from oauth_kit import (
    EDITOR,
    TOKEN_EXCHANGE,
    Attempt,
    OAuthServer,
    oauth_server,
    ticket_of,
)

from conformance.official_suite import HERE, NODE
from gateways import AGENT, OPERATOR
from midflight.domain.errors import Unauthenticated

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.oidc_provider]

SECRET = "a secret that only this test has, and long enough"


@contextlib.asynccontextmanager
async def provider(callback: str) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        str(NODE),
        str(HERE / "oidc_login_provider.mjs"),
        callback,
        SECRET,
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


@contextlib.asynccontextmanager
async def server_with_login(
    folder: Path, monkeypatch: pytest.MonkeyPatch, port: int
) -> AsyncIterator[tuple[OAuthServer, str]]:
    monkeypatch.setenv("LOGIN_SECRET", SECRET)
    callback = f"http://127.0.0.1:{port}/oauth/callback"
    async with provider(callback) as issuer:
        login = {"issuer": issuer, "client_id": "midflight", "client_secret": "env:LOGIN_SECRET"}
        async with oauth_server(folder, port=port, oauth={"login": login}) as server:
            yield server, issuer


async def at_provider(http: httpx2.AsyncClient, where: str, person: str) -> str:
    """What a browser does at the provider; the URL that it is sent back to."""
    for _ in range(20):
        answer = await http.get(where)
        if answer.status_code == 200:
            action = re.search(r'action="([^"]+)"', answer.text)
            prompt = re.search(r'name="prompt" value="([^"]+)"', answer.text)
            assert action is not None, answer.text
            assert prompt is not None, answer.text
            form = {"prompt": prompt[1], "login": person, "password": "any"}
            answer = await http.post(urljoin(where, action[1]), data=form)
        assert answer.is_redirect, re.findall(r"<pre>.*?</pre>", answer.text)
        where = urljoin(where, answer.headers["location"])
        if urlsplit(where).path == "/oauth/callback":
            return where
    raise AssertionError(where)


async def test_a_person_of_the_provider_lets_a_client_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    async with server_with_login(tmp_path, monkeypatch, free_tcp_port) as (server, issuer):
        http, attempt = server.http, Attempt(server)
        page = await http.get(f"{server.url}/oauth/authorize", params=attempt.query)
        assert issuer in page.text
        assert f"form-action 'self' {issuer}" in page.headers["content-security-policy"]
        form = {"ticket": ticket_of(page.text)}
        away = await http.post(f"{server.url}/oauth/login", data=form)
        asked = parse_qs(urlsplit(away.headers["location"]).query)
        assert asked["code_challenge_method"] == ["S256"]
        assert asked["nonce"]
        back = await at_provider(http, away.headers["location"], OPERATOR.name)
        # As browsers do after a visit elsewhere: strict cookies are left out.
        async with httpx2.AsyncClient(trust_env=False) as bare:
            step = await bare.get(back)
        assert "again=1" in step.text
        assert "set-cookie" not in step.headers
        signed_in = await http.get(back)
        assert signed_in.status_code == 303, signed_in.text
        consent = await http.get(server.url + signed_in.headers["location"])
        assert OPERATOR.name in consent.text
        done = await server.answer(consent)
        code = parse_qs(urlsplit(done.headers["location"]).query)["code"][0]
        answer = await server.token(**attempt.form(code))
        assert answer.status_code == 200, answer.text
        (run,) = await server.plane.runs.list_runs()
        assert run.workload == EDITOR
        # The way back is good once, and in the browser that began it.
        assert (await http.get(back)).status_code in {401, 403}
        with pytest.raises(Unauthenticated):
            await server.plane.oauth.people.come_back(state="x", code="y", issuer=None, browser="z")


async def test_the_way_back_in_another_browser_or_from_another_issuer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    async with server_with_login(tmp_path, monkeypatch, free_tcp_port) as (server, issuer):
        http = server.http
        for change in ("browser", "issuer"):
            page = await http.get(f"{server.url}/oauth/authorize", params=Attempt(server).query)
            form = {"ticket": ticket_of(page.text)}
            away = await http.post(f"{server.url}/oauth/login", data=form)
            back = await at_provider(http, away.headers["location"], "mallory")
            if change == "issuer":
                assert f"iss={issuer.replace(':', '%3A').replace('/', '%2F')}" in back
                back = back.replace("&iss=http", "&iss=https")
                answer = await http.get(back)
            else:
                async with httpx2.AsyncClient(trust_env=False) as other:
                    answer = await other.get(f"{back}&again=1")
            assert answer.status_code == 401
            assert "set-cookie" not in answer.headers


async def test_an_id_token_of_the_provider_is_exchanged_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    """What a client has from its own sign-in there, as RFC 8693 takes it."""
    async with server_with_login(tmp_path, monkeypatch, free_tcp_port) as (server, issuer):
        callback = f"{server.url}/oauth/callback"
        verifier = secrets.token_urlsafe(48)
        digest = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": "midflight",
            "redirect_uri": callback,
            "scope": "openid",
            "state": "s-1",
            "nonce": "n-1",
            "code_challenge": base64.urlsafe_b64encode(digest)[:-1].decode(),
            "code_challenge_method": "S256",
        }
        found = (await server.http.get(f"{issuer}/.well-known/openid-configuration")).json()
        away = f"{found['authorization_endpoint']}?{urlencode(query)}"
        back = await at_provider(server.http, away, OPERATOR.name)
        answer = await server.http.post(
            found["token_endpoint"],
            data={
                "grant_type": "authorization_code",
                "code": parse_qs(urlsplit(back).query)["code"][0],
                "redirect_uri": callback,
                "code_verifier": verifier,
            },
            auth=("midflight", quote_plus(SECRET)),
        )
        assert answer.status_code == 200, answer.text
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": answer.json()["id_token"],
            "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        }
        key = Key()
        given = await server.token(key=key, **server.authenticated(**form))
        assert given.status_code == 200, given.text
        assert (await server.tools(given.json()["access_token"], key)).status_code == 200
        again = await server.token(key=key, **server.authenticated(**form))
        assert (again.status_code, again.json()["error"]) == (400, "invalid_request")
        (run,) = await server.plane.runs.list_runs()
        assert run.workload == AGENT
