"""Attacks on the way of a person: codes, redirects, PKCE, pages, refresh tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import msgspec
import pytest
from identity_kit import Key
from oauth_kit import (
    BACK,
    CLIENT,
    EDITOR,
    PUBLIC,
    REDIRECT,
    Attempt,
    OAuthServer,
    code_of,
    oauth_server,
    ticket_of,
)

from gateways import AGENT, OPERATOR
from midflight.domain.authorization import Client
from midflight.domain.errors import Malformed, Unauthenticated
from midflight.domain.records import Observed
from midflight.services import authorization_people

pytestmark = pytest.mark.anyio


async def refusals(server: OAuthServer) -> list[str]:
    await server.plane.ledger.flush()
    tail = await server.plane.ledger.tail(10_000)
    records = [found.record for found in tail]
    return [r.details["why"] for r in records if isinstance(r, Observed) and "why" in r.details]


def told(location: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}


RESEMBLING = [
    "",
    "https://evil.example/callback",
    "http://127.0.0.1.evil.example/callback",
    "http://127.0.0.1@evil.example/callback",
    "http://user:pw@127.0.0.1/callback",
    "http://127.0.0.1:80@evil.example/callback",
    "http://127.0.0.1/callback/../other",
    "http://127.0.0.1/%2e%2e/callback",
    "http://127.0.0.1/Callback",
    "HTTP://127.0.0.1/callback",
    "http://127.0.0.1/callback?next=https://evil.example",
    "http://127.0.0.1/callback#code",
    "http://127.0.0.1/callback/",
    "http://localhost/callback",
    "http://[::1]/callback",
    "https://127.0.0.1/callback",
    "http://127.0.0.1\\@evil.example/callback",
    "http://127.0.0.1:99999999/callback",
    "javascript:alert(1)//127.0.0.1/callback",
    "data:text/html,x",
    "//127.0.0.1/callback",
    "http://127.0.0.1:1/callback\r\nSet-Cookie: a=b",
]


async def test_a_redirect_uri_that_only_resembles_the_registered_one(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for uri in RESEMBLING:
            answer = await server.http.get(
                f"{server.url}/oauth/authorize", params=Attempt(server, redirect_uri=uri).query
            )
            assert answer.status_code == 400, uri
            assert "location" not in answer.headers, uri
        assert await refusals(server)


DOWNGRADES = [
    {"code_challenge_method": "plain"},
    {"code_challenge_method": ""},
    {"code_challenge": ""},
    {"code_challenge": "short"},
    {"response_type": "token"},
    {"response_mode": "fragment"},
    {"request": "eyJhbGciOiJub25lIn0.e30."},
    {"request_uri": "https://evil.example/request"},
    {"scope": "admin"},
    {"resource": "https://other.example/mcp"},
]


async def test_a_downgraded_request_for_a_code(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for changes in DOWNGRADES:
            answer = await server.http.get(
                f"{server.url}/oauth/authorize", params=Attempt(server, **changes).query
            )
            assert answer.status_code == 303, changes
            back = told(answer.headers["location"])
            assert answer.headers["location"].startswith(f"{BACK}?")
            assert back["error"], changes
            assert (back["state"], back["iss"]) == ("s-1", server.issuer)
            assert "code" not in back


async def test_a_code_that_is_used_twice_takes_back_what_came_of_it(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server)
        code = await code_of(server, attempt)
        first = (await server.token(key=key, **attempt.form(code))).json()
        assert (await server.tools(first["access_token"], key)).status_code == 200
        again = await server.token(key=Key(), **attempt.form(code))
        assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
        refused = await server.tools(first["access_token"], key)
        assert "evoked" in refused.text
        refresh = await server.token(
            key=key,
            grant_type="refresh_token",
            client_id=PUBLIC,
            refresh_token=first["refresh_token"],
        )
        assert refresh.json()["error"] == "invalid_grant"
        await server.plane.ledger.flush()
        tail = await server.plane.ledger.tail(10_000)
        assert "code.replayed" in [f.record.what for f in tail if isinstance(f.record, Observed)]


INJECTIONS = [
    {"code_verifier": "a" * 43},
    {"code_verifier": ""},
    {"redirect_uri": REDIRECT},
    {"redirect_uri": ""},
    {"client_id": "other"},
    {"resource": "https://other.example/mcp"},
]


async def test_a_stolen_code_is_injected_elsewhere(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        await server.plane.oauth.clients.add(
            Client(id="other", workload=AGENT, name="Other", redirect_uris=(REDIRECT,)), OPERATOR
        )
        for changes in INJECTIONS:
            attempt = Attempt(server)
            server.http.cookies.clear()
            code = await code_of(server, attempt)
            answer = await server.token(key=Key(), **attempt.form(code, **changes))
            assert answer.status_code == 400, changes
            assert answer.json()["error"] in {"invalid_grant", "invalid_target"}
            assert "access_token" not in answer.text


async def test_a_code_for_a_key_is_redeemed_with_another(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        attempt = Attempt(server, dpop_jkt=Key().jkt)
        code = await code_of(server, attempt)
        for key in (None, Key()):
            answer = await server.token(key=key, **attempt.form(code))
            assert answer.json()["error"] == "invalid_grant"


async def test_a_stolen_refresh_token_ends_the_grant(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server)
        code = await code_of(server, attempt)
        first = (await server.token(key=key, **attempt.form(code))).json()
        form = {
            "grant_type": "refresh_token",
            "client_id": PUBLIC,
            "refresh_token": first["refresh_token"],
        }
        second = (await server.token(key=key, **form)).json()
        again = await server.token(key=key, **form)  # the old one, once more
        assert again.json()["error"] == "invalid_grant"
        rotated = await server.token(key=key, **{**form, "refresh_token": second["refresh_token"]})
        assert rotated.json()["error"] == "invalid_grant"
        for token in (first, second):
            assert "evoked" in (await server.tools(token["access_token"], key)).text


async def test_a_refresh_token_without_its_key_is_worth_nothing(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for thief in (None, Key()):
            key, attempt = Key(), Attempt(server)
            code = await code_of(server, attempt)
            first = (await server.token(key=key, **attempt.form(code))).json()
            answer = await server.token(
                key=thief,
                grant_type="refresh_token",
                client_id=PUBLIC,
                refresh_token=first["refresh_token"],
            )
            assert answer.json()["error"] == "invalid_grant"


async def test_a_refresh_token_asks_for_more(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server, scope="mcp:git")
        code = await code_of(server, attempt)
        first = (await server.token(key=key, **attempt.form(code))).json()
        form = {
            "grant_type": "refresh_token",
            "client_id": PUBLIC,
            "refresh_token": first["refresh_token"],
        }
        answer = await server.token(key=key, **form, scope="mcp")
        assert answer.json()["error"] == "invalid_scope"
        # By mistake, perhaps: the token is not spent, and the grant stands.
        second = await server.token(key=key, **form)
        assert second.status_code == 200, second.text
        # But a used one is a used one, whatever it asks for.
        answer = await server.token(key=key, **form, scope="mcp")
        assert answer.json()["error"] == "invalid_grant"
        form["refresh_token"] = second.json()["refresh_token"]
        assert (await server.token(key=key, **form)).json()["error"] == "invalid_grant"


async def test_a_thief_asks_for_more_to_learn_whether_a_refresh_token_is_good(
    tmp_path: Path,
) -> None:
    async with oauth_server(tmp_path) as server:
        key, attempt = Key(), Attempt(server, scope="mcp:git")
        code = await code_of(server, attempt)
        first = (await server.token(key=key, **attempt.form(code))).json()
        form = {
            "grant_type": "refresh_token",
            "client_id": PUBLIC,
            "refresh_token": first["refresh_token"],
        }
        answer = await server.token(key=Key(), **form, scope="mcp")
        assert answer.json()["error"] == "invalid_grant"
        assert "evoked" in (await server.tools(first["access_token"], key)).text


async def test_another_site_answers_the_question(tmp_path: Path) -> None:
    """Cross-site request forgery: the ticket of one browser, sent by another or from elsewhere."""
    async with oauth_server(tmp_path) as server:
        page = await server.log_in(Attempt(server).query)
        foreign = {"sec-fetch-site": "cross-site"}
        headers: list[dict[str, str]] = [foreign, {"origin": "https://evil.example"}]
        headers.append({"origin": "null"})
        for header in headers:
            answer = await server.http.post(
                f"{server.url}/oauth/consent",
                data={"ticket": ticket_of(page.text), "decision": "allow"},
                headers=header,
            )
            assert answer.status_code == 403
        cookies = dict(server.http.cookies)
        server.http.cookies.clear()
        answer = await server.answer(page)  # nobody is logged in
        assert answer.status_code == 401
        # Somebody else who is logged in holds a ticket that was not shown to him.
        other = await server.log_in(Attempt(server).query)
        assert other.status_code == 200
        mine = dict(server.http.cookies)
        assert mine != cookies
        answer = await server.answer(page)
        assert answer.status_code == 403
        assert await server.plane.runs.list_runs() == []


async def test_a_session_cookie_is_strict_and_unreadable(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        page = await server.http.get(f"{server.url}/oauth/authorize", params=Attempt(server).query)
        code, _ = server.plane.oauth.people.new_code(OPERATOR)
        back = await server.http.post(
            f"{server.url}/oauth/login", data={"ticket": ticket_of(page.text), "code": code}
        )
        cookie = back.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Domain" not in cookie


async def test_guessing_the_login_code(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        people = server.plane.oauth.people
        code, _ = people.new_code(OPERATOR)
        for _ in range(5):
            with pytest.raises(Unauthenticated):
                people.by_code("AAAAA-AAAAA")
        with pytest.raises(Unauthenticated):
            people.by_code(code)  # void: it was guessed at
        code, _ = people.new_code(OPERATOR)
        people.by_code(code)
        with pytest.raises(Unauthenticated):
            people.by_code(code)


async def test_a_client_with_a_hostile_name(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for name in ("bell\x07", "\u202eevil", "", "x" * 101):
            with pytest.raises(Malformed):
                await server.plane.oauth.clients.add(
                    Client(id="c", workload=AGENT, name=name), OPERATOR
                )
        await server.plane.oauth.clients.add(
            Client(
                id="hostile",
                workload=AGENT,
                name='<script>alert(1)</script>" onload="x',
                redirect_uris=(REDIRECT,),
            ),
            OPERATOR,
        )
        page = await server.log_in(Attempt(server, client_id="hostile").query)
        assert page.status_code == 200
        assert "<script" not in page.text
        assert '" onload' not in page.text


UNREGISTRABLE = [
    "http://example.org/callback",
    "https://*.example.org/callback",
    "https://example.org/a/../b",
    "https://user@example.org/",
    "https://example.org/#x",
    "javascript:alert(1)",
    "file:///etc/passwd",
    "https:///nohost",
    "urn:ietf:wg:oauth:2.0:oob",
]


async def test_a_redirect_uri_that_must_not_be_registered(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        for uri in UNREGISTRABLE:
            with pytest.raises(Malformed):
                await server.plane.oauth.clients.add(
                    Client(id="c", workload=AGENT, name="C", redirect_uris=(uri,)), OPERATOR
                )


async def test_a_confidential_client_leaves_its_key_away(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        form: dict[str, Any] = {"grant_type": "authorization_code", "client_id": CLIENT}
        answer = await server.token(key=Key(), **form, code="x", code_verifier="y")
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


async def test_a_client_that_was_cut_down_goes_on_as_before(tmp_path: Path) -> None:
    async with oauth_server(tmp_path) as server:
        key, clients = Key(), server.plane.oauth.clients
        first, second = Attempt(server), Attempt(server)
        code, late = await code_of(server, first), await code_of(server, second)
        granted = await server.token(key=key, **first.form(code))
        assert granted.json()["scope"] == "mcp"

        async def registered(**changes: Any) -> None:
            client = Client(id=PUBLIC, workload=EDITOR, name="Editor", redirect_uris=(REDIRECT,))
            await clients.add(msgspec.structs.replace(client, **changes), OPERATOR)

        await registered(scope=("mcp:git",))
        cut = await server.token(key=key, **second.form(late))
        assert cut.json()["scope"] == "mcp:git"
        refresh = {"grant_type": "refresh_token", "client_id": PUBLIC}
        narrowed = await server.token(
            key=key, **refresh, refresh_token=granted.json()["refresh_token"]
        )
        assert narrowed.json()["scope"] == "mcp:git"
        await registered(workload=AGENT)
        answer = await server.token(
            key=key, **refresh, refresh_token=narrowed.json()["refresh_token"]
        )
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


async def test_a_flood_of_requests_forgets_no_question_that_somebody_was_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(authorization_people, "MAX_HELD", 5)
    async with oauth_server(tmp_path) as server:
        page = await server.log_in(Attempt(server).query)
        async with httpx2.AsyncClient(trust_env=False) as stranger:  # without the cookie
            for _ in range(10):
                await stranger.get(f"{server.url}/oauth/authorize", params=Attempt(server).query)
        back = await server.answer(page)
        assert "code" in told(back.headers["location"])
